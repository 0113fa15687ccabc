//! The log: pretty on a terminal, one JSON object a line otherwise. Set up once, by the program (never by a library
//! user or a test that wants to read the log).

use std::io::{IsTerminal as _, stderr};

use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _};

/// How a line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Pretty when standard error is a terminal, JSON otherwise.
    Auto,
    /// For people.
    Pretty,
    /// For machines.
    Json,
}

/// Targets that tell secrets at finer levels than these: the client of NATS logs the address
/// that it connects to with its password.
const DISCREET: &[&str] = &["async_nats=info", "async_nats::connector=info"];

/// Starts the log on standard error with `filter` (a level, or targets with levels); the environment's `RUST_LOG`
/// wins over it. Neither makes a library tell secrets. A second call changes nothing.
pub fn start(filter: &str, format: Format) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(filter));
    let filter = DISCREET
        .iter()
        .fold(filter, |filter, text| filter.add_directive(text.parse().expect("a directive of ours")));
    let terminal = stderr().is_terminal();
    let pretty = format == Format::Pretty || (format == Format::Auto && terminal);
    let registry = tracing_subscriber::registry().with(filter);
    let started = if pretty {
        registry.with(fmt::layer().with_ansi(terminal).with_writer(stderr)).try_init()
    } else {
        let layer = fmt::layer().json().flatten_event(true).with_current_span(true).with_span_list(false);
        registry.with(layer.with_writer(stderr)).try_init()
    };
    if started.is_err() {
        tracing::debug!("the log was started before");
    }
}
