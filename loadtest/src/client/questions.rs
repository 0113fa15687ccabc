//! What a client has asked and not been answered yet.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::socket::Answer;
use crate::failure::Failure;

/// How long an answer may take, once the question is on its way.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// What is to be done with an answer.
pub enum Question {
    /// The session is open, or not.
    SignIn,
    /// Somebody waits for it.
    Ask(Answer),
    /// A place in a channel (by index) is taken; somebody may wait for that.
    Place(usize, Option<Answer>),
}

/// Open questions by number, which is the order of asking.
#[derive(Default)]
pub struct Questions {
    open: BTreeMap<u32, (Question, Instant)>,
    last: u32,
}

impl Questions {
    /// Something is asked now; gives its number.
    pub fn ask(&mut self, question: Question, now: Instant) -> u32 {
        self.last += 1;
        self.open.insert(self.last, (question, now));
        self.last
    }

    /// The question that an answer is to, and when it was asked.
    pub fn answered(&mut self, number: u32) -> Option<(Question, Instant)> {
        self.open.remove(&number)
    }

    /// Nobody will answer any more.
    pub fn forget(&mut self, why: &Failure) {
        for (_, (question, _)) in std::mem::take(&mut self.open) {
            if let Question::Ask(answer) | Question::Place(_, Some(answer)) = question {
                let _ = answer.send(Err(why.clone()));
            }
        }
    }

    /// Tells those who have waited too long. Gives the next time at which somebody may have: whoever asks after `now` has
    /// not by then.
    pub fn give_up(&mut self, now: Instant) -> Instant {
        let is_late = |question: &Question, asked: Instant| {
            // A place that is given late is given all the same.
            matches!(question, Question::Ask(_)) && asked + PATIENCE <= now
        };
        for (_, (question, _)) in self.open.extract_if(.., |_, (question, asked)| is_late(question, *asked)) {
            if let Question::Ask(answer) = question {
                let _ = answer.send(Err(Failure::TimedOut));
            }
        }
        let mut waiting = self.open.values().filter(|(question, _)| matches!(question, Question::Ask(_)));
        waiting.next().map_or(now, |(_, asked)| *asked) + PATIENCE
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[test]
    fn whoever_waits_too_long_is_told_and_the_rest_goes_on_waiting() {
        let (mut questions, began) = (Questions::default(), Instant::now());
        let (answer, mut early) = oneshot::channel();
        questions.ask(Question::Ask(answer), began);
        let place = questions.ask(Question::Place(3, None), began);
        let (answer, mut late) = oneshot::channel();
        let second = began + Duration::from_secs(1);
        let number = questions.ask(Question::Ask(answer), second);

        assert_eq!(questions.give_up(second), began + PATIENCE);
        assert!(early.try_recv().is_err(), "the time was not over yet");
        assert_eq!(questions.give_up(began + PATIENCE), second + PATIENCE);
        assert_eq!(early.try_recv().unwrap(), Err(Failure::TimedOut));
        assert!(late.try_recv().is_err());
        assert!(matches!(questions.answered(place), Some((Question::Place(3, None), _))));
        assert!(matches!(questions.answered(number), Some((Question::Ask(_), asked)) if asked == second));
        assert!(questions.answered(number).is_none());
        let later = second + PATIENCE;
        assert_eq!(questions.give_up(later), later + PATIENCE);
    }

    #[test]
    fn at_the_end_everybody_is_told() {
        let mut questions = Questions::default();
        let (answer, mut asked) = oneshot::channel();
        questions.ask(Question::Ask(answer), Instant::now());
        let (answer, mut place) = oneshot::channel();
        questions.ask(Question::Place(0, Some(answer)), Instant::now());
        questions.ask(Question::SignIn, Instant::now());
        questions.forget(&Failure::Left);
        assert_eq!(asked.try_recv().unwrap(), Err(Failure::Left));
        assert_eq!(place.try_recv().unwrap(), Err(Failure::Left));
    }
}
