//! The same list against brokers that other people wrote, as a table for `docs/broker-hazards.md`.
//!
//! It fails only when ours does: what the others do of it is their affair, and our reason.

use crate::{
    ALL,
    foreign::Foreign,
    target::{Hazard, Ours, Verdict},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "takes minutes and Debian's mosquitto: `-- --ignored --nocapture table`"]
async fn table_of_who_held() {
    let wanted = std::env::var("HEARTHLINK_HAZARD").unwrap_or_default();
    // A verdict is no news for stderr.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let mut ours_failed = Vec::new();
    let mut rows = Vec::new();
    let mut held = [0; 3];
    for hazard in ALL.iter().filter(|hazard| hazard.name.contains(&wanted)) {
        let ours = ours(hazard).await;
        let rumqttd = foreign(hazard, Foreign::rumqttd(hazard.clients)).await;
        let mosquitto = foreign(hazard, Foreign::mosquitto(hazard.clients)).await;
        if ours != Verdict::Held {
            ours_failed.push(hazard.name);
        }
        let cells = [ours, rumqttd, mosquitto];
        for (count, verdict) in held.iter_mut().zip(&cells) {
            *count += usize::from(*verdict == Verdict::Held);
        }
        let [ours, rumqttd, mosquitto] = cells.map(|verdict| cell(&verdict));
        let row = format!("| {} | {ours} | {rumqttd} | {mosquitto} |", hazard.name.replace('_', " "));
        // At once, since the whole takes minutes.
        eprintln!("{row}");
        rows.push(row);
    }
    std::panic::set_hook(hook);
    println!("\n| hazard | hearthlink | rumqttd 0.20 | Mosquitto |\n| --- | --- | --- | --- |");
    println!("{}", rows.join("\n"));
    println!("| held, of {} | {} | {} | {} |", rows.len(), held[0], held[1], held[2]);
    assert!(ours_failed.is_empty(), "ours failed: {}", ours_failed.join(", "));
}

async fn ours(hazard: &Hazard) -> Verdict {
    let ours = Ours::start(hazard.clients).await;
    let verdict = hazard.judge(&ours.target).await;
    ours.stop().await;
    verdict
}

async fn foreign(hazard: &Hazard, mut broker: Foreign) -> Verdict {
    let verdict = hazard.judge(&broker.target).await;
    let words = broker.last_words();
    match verdict {
        Verdict::Dead(how) => Verdict::Dead(words.unwrap_or(how)),
        Verdict::Wrong(how) if words.is_some() => {
            Verdict::Wrong(format!("{how}; {}", words.unwrap_or_default()))
        }
        Verdict::Wrong(_) | Verdict::Held if !broker.is_running() => {
            Verdict::Dead("the process ended".to_owned())
        }
        verdict => verdict,
    }
}

/// A verdict in one line of Markdown.
fn cell(verdict: &Verdict) -> String {
    let text = verdict.to_string().replace("assertion `left == right` failed: ", "").replace('|', "\\|");
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let line = lines.join("; ").replace("left: ", "got ").replace("right: ", "not ");
    // Packets are shown by first byte and body; `None` is the end of the connection.
    let line = line.replace("got None", "got the end").replace("not None", "not the end");
    match line.char_indices().nth(160) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}
