//! A simulated serial line: a kind's own talker at this end, an appliance that speaks in bytes at the other.
//!
//! So framing, checksums and the whole exchange (agreeing on a speed, asking for registers) are what runs, and not only
//! `decode`. What it leaves out is time: bytes take none, and whoever does not answer at once does not answer.

use std::time::Duration;

use tokio::time::Instant;

use super::super::{
    Appliance, Frame, WriteError,
    serial::{Heard, Step, Talker},
};

/// Bytes that come sooner after the opening are taken for the end of something.
const SILENCE_AT_FIRST: Duration = Duration::from_millis(100);
/// The most steps of an exchange; a meter in mode C needs two.
const STEPS: usize = 8;

/// Both ends of a line. What the far end says and hears are the bytes of frames, whatever their channel.
pub(crate) struct SimulatedLine {
    talker: Box<dyn Talker>,
    far_end: Box<dyn Appliance>,
    /// When the far end may speak; `None`: it does.
    opens: Option<Instant>,
}

impl SimulatedLine {
    /// A line between a device's talker and `far_end`.
    pub(crate) fn new(talker: Box<dyn Talker>, far_end: impl Appliance + 'static) -> Self {
        Self { talker, far_end: Box::new(far_end), opens: None }
    }

    fn hear(&mut self, said: Vec<Frame>, now: Instant) -> Heard {
        let mut all = Heard::default();
        for bytes in said {
            let Heard { mut frames, next, ended, .. } = self.talker.hear(&bytes.payload, now);
            all.frames.append(&mut frames);
            all.next = next.or(all.next);
            all.ended = ended.or(all.ended);
        }
        all
    }

    /// Sends `step`, and all that comes of it; what the device hears, and how the exchange went.
    fn exchange(&mut self, step: Step, now: Instant) -> (Vec<Frame>, Result<(), WriteError>) {
        let (mut frames, mut next) = (Vec::new(), Some(step));
        for _ in 0..STEPS {
            let Some(step) = next.take() else { break };
            let said = match self.far_end.touch(&Frame::new("line", step.send), now) {
                Ok(said) => said,
                Err(problem) => return (frames, Err(WriteError::NotSent(problem))),
            };
            let mut heard = self.hear(said, now);
            frames.append(&mut heard.frames);
            match (heard.next, heard.ended) {
                (_, Some(result)) => return (frames, result),
                (Some(step), None) => next = Some(step),
                (None, None) if step.answer_within.is_none() => return (frames, Ok(())),
                (None, None) => break,
            }
        }
        frames.append(&mut self.talker.give_up().frames);
        (frames, Err(WriteError::Uncertain("it was sent, and nobody answered".to_owned())))
    }
}

impl Appliance for SimulatedLine {
    fn start(&mut self, now: Instant) -> Vec<Frame> {
        self.talker.begin(now);
        self.opens = Some(now + SILENCE_AT_FIRST);
        Vec::new()
    }

    fn next(&self) -> Option<Instant> {
        self.opens.or_else(|| self.far_end.next().into_iter().chain(self.talker.next()).min())
    }

    fn tick(&mut self, now: Instant) -> Vec<Frame> {
        let is_due = |moment: Option<Instant>| moment.is_some_and(|moment| moment <= now);
        let said = if self.opens.take().is_some() {
            self.far_end.start(now)
        } else if is_due(self.far_end.next()) {
            self.far_end.tick(now)
        } else {
            Vec::new()
        };
        let mut frames = self.hear(said, now).frames;
        if is_due(self.talker.next())
            && let Some(step) = self.talker.ask(now)
        {
            // Who does not answer a question of the line's own is told by a frame.
            frames.append(&mut self.exchange(step, now).0);
        }
        frames
    }

    fn touch(&mut self, frame: &Frame, now: Instant) -> Result<Vec<Frame>, String> {
        let step = self.talker.tell(frame)?;
        let (frames, result) = self.exchange(step, now);
        result.map(|()| frames).map_err(|problem| problem.to_string())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{super::super::StandIn, *};

    /// Asks `?` after a second and takes `!` for the answer.
    struct Asker {
        next: Option<Instant>,
    }

    impl Talker for Asker {
        fn begin(&mut self, now: Instant) {
            self.next = Some(now + Duration::from_secs(1));
        }
        fn hear(&mut self, bytes: &[u8], _now: Instant) -> Heard {
            match bytes {
                b"!" => {
                    Heard { frames: vec![Frame::new("heard", "!")], ended: Some(Ok(())), ..Heard::default() }
                }
                b"more" => Heard { next: self.ask(Instant::now()), ..Heard::default() },
                _ => Heard::default(),
            }
        }
        fn next(&self) -> Option<Instant> {
            self.next
        }
        fn ask(&mut self, _now: Instant) -> Option<Step> {
            self.next = None;
            let answer_within = Some(Duration::from_secs(1));
            Some(Step { send: Bytes::from_static(b"?"), answer_within, ..Step::default() })
        }
        fn tell(&mut self, frame: &Frame) -> Result<Step, String> {
            let answer_within = Some(Duration::from_secs(1));
            Ok(Step { send: frame.payload.clone(), answer_within, ..Step::default() })
        }
        fn give_up(&mut self) -> Heard {
            Heard { frames: vec![Frame::new("garbled", "nobody")], ..Heard::default() }
        }
    }

    fn line(answers: &'static str) -> SimulatedLine {
        let far_end = StandIn::new(0).takes(move |asked: &mut u32, _| {
            *asked += 1;
            let answer = answers.split(' ').nth(*asked as usize - 1).unwrap_or("more");
            Ok(vec![Frame::new("line", answer)])
        });
        SimulatedLine::new(Box::new(Asker { next: None }), far_end)
    }

    #[test]
    fn a_talker_asks_in_its_time_and_who_does_not_answer_is_told() {
        for (answers, heard) in [("!", "!"), ("more !", "!"), ("", "nobody"), ("more", "nobody")] {
            let mut line = line(answers);
            let begun = Instant::now();
            assert_eq!(line.start(begun), []);
            let mut frames = Vec::new();
            while let Some(moment) = line.next() {
                frames.extend(line.tick(moment));
            }
            let said: Vec<_> = frames.iter().map(|frame| frame.text().unwrap()).collect();
            assert_eq!(said, [heard], "{answers}");
        }
    }

    #[test]
    fn a_command_that_nobody_answers_has_an_error() {
        let now = Instant::now();
        assert_eq!(line("!").touch(&Frame::new("x", "go"), now).unwrap(), [Frame::new("heard", "!")]);
        let error = line("").touch(&Frame::new("x", "go"), now).unwrap_err();
        assert!(error.contains("nobody answered"), "{error}");
    }
}
