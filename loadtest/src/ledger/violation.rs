//! A broken promise, with what led to it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// The promise.
    pub property: &'static str,
    /// The stream, message, ring ... that it was broken for.
    pub subject: String,
    /// How.
    pub what: String,
    /// What is known, in order.
    pub trail: Vec<String>,
}

/// A violation as a result file keeps it.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Finding {
    /// The promise.
    pub property: String,
    /// What it was broken for.
    pub subject: String,
    /// How.
    pub what: String,
    /// What is known, in order.
    pub trail: Vec<String>,
}

impl Violation {
    /// A violation; boxed, since it is rare and large.
    #[expect(clippy::unnecessary_box_returns, reason = "an error of many results, so it stays small")]
    pub fn new(
        property: &'static str,
        subject: impl Into<String>,
        what: impl Into<String>,
        trail: Vec<String>,
    ) -> Box<Self> {
        Box::new(Self { property, subject: subject.into(), what: what.into(), trail })
    }
}

impl From<Violation> for Finding {
    fn from(violation: Violation) -> Self {
        let Violation { property, subject, what, trail } = violation;
        Self { property: property.to_owned(), subject, what, trail }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is broken for {}: {}", self.property, self.subject, self.what)?;
        for step in &self.trail {
            write!(f, "\n    {step}")?;
        }
        Ok(())
    }
}
