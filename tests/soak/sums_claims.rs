//! The judge of a queue that drops is judged: each rule finds what breaks it in a made-up run, and the nearest one that
//! keeps it passes.

use std::time::Duration;

use crate::{
    history::{
        Entry, Event, Receipt,
        verdict::{Kind, Verdict},
    },
    sums::{Bounds, Life, Page, Rest, judge_sums},
};

const BOUNDS: Bounds = Bounds { window: 2, rate: 10.0, live: "quick/" };

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn name(sequence: u64) -> (&'static str, String) {
    ("plain/a", sequence.to_string())
}

fn published(at: u64, number: u64) -> Entry {
    let (topic, payload) = name(number);
    Entry { at: ms(at), event: Event::Published { topic: topic.into(), payload: payload.into() } }
}

fn accepted(at: u64, number: u64) -> Entry {
    let (topic, payload) = name(number);
    Entry { at: ms(at), event: Event::Accepted { topic: topic.into(), payload: payload.into() } }
}

fn received_on(topic: &str, at: u64, connection: u64, sequence: u64) -> Entry {
    let (topic, id) = (topic.into(), Some(format!("s-{sequence}").into()));
    let payload = sequence.to_string().into();
    Entry { at: ms(at), event: Event::Received(Receipt { connection, topic, payload, id, is_ours: false }) }
}

fn received(at: u64, sequence: u64) -> Entry {
    received_on("plain/a", at, 1, sequence)
}

fn page(accepted: u64, acknowledged: u64, dropped: u64, waiting: u64) -> Page {
    Page { accepted, acknowledged, heard: acknowledged, dropped, by: [dropped, 0, 0], waiting }
}

fn life(number: u64, pages: &[Page], last: u64, waiting: &[u64]) -> Life {
    Life {
        born: ms(1000 * number),
        killed: ms(1000 * number + 900),
        pages: pages.to_vec(),
        is_settled: true,
        rest: Rest { last, waiting: waiting.iter().copied().collect() },
    }
}

/// Six accepted in the first life: 1 was received and acknowledged, 2 dropped, the others wait.
fn six() -> Vec<Entry> {
    let sent = (1..=6).flat_map(|number| [published(10 * number, number), accepted(10 * number + 5, number)]);
    sent.chain([received(100, 1)]).collect()
}

fn first() -> Life {
    life(0, &[page(4, 0, 0, 4), page(6, 1, 1, 4)], 6, &[3, 4, 5, 6])
}

#[track_caller]
fn finds(expected: &[Kind], lives: &[Life], mut entries: Vec<Entry>) -> Verdict {
    entries.sort_by_key(|entry| entry.at);
    let mut verdict = Verdict::default();
    judge_sums(lives, &entries, BOUNDS, &mut verdict);
    assert_eq!(verdict.kinds(), expected, "{verdict}");
    verdict
}

#[test]
fn what_is_received_dropped_and_counted_or_waiting_passes() {
    let verdict = finds(&[], &[first()], six());
    assert_eq!(verdict.figure("dropped, and never received"), 1);
    assert_eq!(verdict.figure("lives whose last page agrees with the file"), 1);
    assert_eq!(verdict.figure("accepted messages that were not received"), 5);
}

#[test]
fn what_is_gone_uncounted_is_found_and_what_went_after_the_last_page_is_not() {
    // The sums of a gateway that deletes one when it is sent: 2 is gone as if acknowledged.
    let deleted = life(0, &[page(6, 2, 0, 4)], 6, &[3, 4, 5, 6]);
    finds(&[Kind::Uncounted], &[deleted], six());
    // Dropped, in no sum.
    finds(&[Kind::Uncounted], &[life(0, &[page(6, 1, 0, 4)], 6, &[3, 4, 5, 6])], six());
    finds(&[], &[life(0, &[page(5, 1, 0, 4)], 6, &[3, 4, 5, 6])], six());
}

#[test]
fn what_is_counted_as_dropped_is_not_also_received_but_for_a_window_of_each_connection() {
    let arrive = |count| six().into_iter().chain((2..=count).map(|number| received(100 + number, number)));
    // Three are gone and received, and counted as dropped: two of them may be of a line that broke.
    let gone = |dropped, acknowledged| [life(0, &[page(6, acknowledged, dropped, 3)], 6, &[4, 5, 6])];
    finds(&[], &gone(2, 1), arrive(3).collect());
    finds(&[Kind::Uncounted], &gone(3, 0), arrive(3).collect());
}

#[test]
fn an_acknowledgement_that_was_read_for_what_is_counted_as_dropped_is_found() {
    let mut heard = life(0, &[page(6, 1, 1, 4)], 6, &[3, 4, 5, 6]);
    heard.pages[0].heard = 2;
    let received_both = || six().into_iter().chain([received(110, 2)]).collect();
    finds(&[Kind::Uncounted], std::slice::from_ref(&heard), received_both());
    heard.pages[0].heard = 1;
    finds(&[], &[heard], received_both());
}

#[test]
fn the_sums_of_every_page_add_up() {
    let mut wrong = first();
    wrong.pages[0].waiting = 3;
    finds(&[Kind::Uncounted], &[wrong], six());
    let mut elsewhere = first();
    elsewhere.pages[1].by = [0, 0, 1];
    finds(&[], std::slice::from_ref(&elsewhere), six());
    elsewhere.pages[1].by = [0; 3];
    finds(&[Kind::Uncounted], &[elsewhere], six());
}

#[test]
fn what_waited_over_a_kill_is_in_the_sums_of_the_next_life() {
    let arrivals = (3..=6).map(|number| received(1100 * number - 1000 * number + 1000, number));
    let after = |waited: u64| life(1, &[page(0, waited, 0, 0)], 6, &[]);
    finds(&[], &[first(), after(4)], six().into_iter().chain(arrivals.clone()).collect());
    finds(&[Kind::Uncounted], &[first(), after(3)], six().into_iter().chain(arrivals).collect());
}

#[test]
fn an_acceptance_without_a_row_is_found() {
    let one_more = [published(200, 7), accepted(210, 7)];
    finds(&[Kind::Lost], &[first()], six().into_iter().chain(one_more).collect());
    // Nobody was told of it, which a kill explains and nothing else does.
    let untold = six().into_iter().chain([published(200, 7)]).collect::<Vec<_>>();
    let with_seven = life(0, &[], 7, &[3, 4, 5, 6, 7]);
    finds(&[Kind::Lost], std::slice::from_ref(&with_seven), untold.clone());
    let killed = Life { is_settled: false, killed: ms(500), ..with_seven.clone() };
    let next = Life { born: ms(600), ..with_seven };
    finds(&[], &[killed, next], untold);
}

#[test]
fn a_file_that_goes_back_is_found() {
    finds(&[Kind::Lost], &[first(), life(1, &[], 5, &[3, 4, 5])], six());
    finds(&[Kind::Foreign], &[first(), life(1, &[], 6, &[2, 3, 4, 5, 6])], six());
}

#[test]
fn a_backlog_that_comes_faster_than_its_pace_is_found() {
    // 10 a second, 1 saved up, 2 of an earlier connection, and the one that is always allowed.
    let waited: Vec<u64> = (1..=9).collect();
    let before = Life { is_settled: false, ..life(0, &[], 9, &waited) };
    let after = Life { is_settled: false, ..life(1, &[], 9, &[]) };
    let arrive = |count: u64| (1..=count).map(|number| received(1001 + number, number)).collect();
    finds(&[], &[before.clone(), after.clone()], arrive(4));
    finds(&[Kind::Hurried], &[before, after], arrive(5));
}

#[test]
fn live_messages_may_overtake_what_waited_and_nothing_else_may_overtake() {
    let plain = |sequence| received_on("plain/a", 1000, 1, sequence);
    let quick = |sequence| received_on("quick/a", 1000, 1, sequence);
    let order = |entries: Vec<Entry>, expected: &[Kind]| drop(finds(expected, &[], entries));
    order(vec![quick(9), plain(1), quick(2), quick(10), plain(3)], &[]);
    order(vec![plain(2), plain(1)], &[Kind::Reordered]);
    order(vec![quick(10), plain(1), quick(9)], &[]);
    // 9 waited, for it comes after 10; and did not, for it overtakes 5. And so on.
    order(vec![quick(10), plain(1), quick(9), plain(5)], &[Kind::Reordered]);
    order(vec![quick(5), plain(4), quick(6), quick(8), quick(7)], &[Kind::Reordered]);
    order(vec![quick(8), quick(5), plain(4), quick(6), plain(9)], &[Kind::Reordered]);
    // On another connection the backlog ends elsewhere.
    order(vec![plain(2), received_on("plain/a", 1000, 2, 1)], &[]);
}
