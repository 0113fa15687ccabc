//! Faults planted on purpose, so that the loss checker of `loadtest` is seen to catch them, and so that it is seen that
//! honest ones lose nothing. `failpoint!` is nothing at all without the cargo feature `failpoints`, which no release
//! is built with.
//!
//! The environment's `FAILPOINTS` says which of them strike and when, as the crate `fail` reads it:
//! `journal.acknowledge-early=20*off->1*return` strikes at the 21st chance alone, `journal.slow-commit=5%return(300)` at
//! one in twenty, for 300 ms.
//!
//! | point | what happens | may anything be lost |
//! |---|---|---|
//! | `journal.commit-error` | a commit fails, nothing of it is there | no |
//! | `journal.unknown-commit` | a commit succeeds, but the database's answer is lost | no |
//! | `journal.slow-commit` | a commit takes so many milliseconds longer | no |
//! | `journal.torn-batch` | the process dies between the statements of a commit (PostgreSQL: before its end) | no |
//! | `journal.acknowledge-early` | a commit is acknowledged, then it is lost | yes |
//! | `hub.drop-push` | one subscriber is not sent one event | yes |
//! | `hub.swap-pushes` | one subscriber is sent two events in the wrong order | yes |

/// Does `$fault` where a fault is planted at `$point` and strikes now. `|argument|` is the number that it was given, or 0.
macro_rules! failpoint {
    ($point:literal, |$argument:ident| $fault:expr) => {
        #[cfg(feature = "failpoints")]
        if let Some($argument) = $crate::base::failpoint::strikes($point) {
            $fault
        }
    };
    ($point:literal, $fault:expr) => {
        #[cfg(feature = "failpoints")]
        if $crate::base::failpoint::strikes($point).is_some() {
            $fault
        }
    };
}
pub(crate) use failpoint;

/// Plants what `FAILPOINTS` says, until the process ends, and says so in the log.
#[cfg(feature = "failpoints")]
pub fn plant() {
    // The end of a scenario would clear its faults.
    std::mem::forget(fail::FailScenario::setup());
    let faults = fail::list();
    if !faults.is_empty() {
        tracing::warn!(?faults, "faults are planted");
    }
}

/// Whether a fault strikes, and the number that it was given.
#[cfg(feature = "failpoints")]
pub fn strikes(point: &str) -> Option<u64> {
    fail::fail_point!(point, |argument: Option<String>| {
        Some(argument.and_then(|text| text.parse().ok()).unwrap_or_default())
    });
    None
}
