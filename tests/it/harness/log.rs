//! The log of all tests, at the finest level of our own modules: written down to be searched for secrets, and the
//! source of what is known about statements: how many a request took, and every text that ran.

use std::{
    collections::{HashMap, HashSet},
    fmt::{Debug, Write as _},
    fs::File,
    io::Write as _,
    sync::{LazyLock, Mutex, MutexGuard, Once, PoisonError},
};

use switchboard::store::Dialect;
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{
    Layer,
    filter::{LevelFilter, Targets},
    layer::{Context, SubscriberExt as _},
    registry::LookupSpan,
    util::SubscriberInitExt as _,
};

use super::notes;

/// Requests whose id begins like this have their statements counted.
pub const COUNTED: &str = "counted-";

/// A text that ran.
#[derive(Clone, Debug)]
pub struct Ran {
    pub text: String,
    /// Types of the placeholders, as PostgreSQL spells them.
    pub types: String,
    /// Where in the source it was begun.
    pub place: String,
}

static COUNTS: LazyLock<Mutex<HashMap<String, Vec<String>>>> = LazyLock::new(Mutex::default);
static COMPLAINTS: Mutex<Vec<String>> = Mutex::new(Vec::new());
static FRESH: LazyLock<Mutex<HashMap<Dialect, Vec<Ran>>>> = LazyLock::new(Mutex::default);

/// Listens, from the first call on.
pub fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let ours = Targets::new()
            .with_target("switchboard", Level::TRACE)
            .with_target("it", Level::TRACE)
            .with_default(LevelFilter::INFO);
        let layer = Recorder { file: Mutex::new(notes::append("log.txt")), seen: Mutex::default() };
        tracing_subscriber::registry().with(layer.with_filter(ours)).init();
    });
}

/// The statements of the request with that id.
pub fn statements_of(id: &str) -> Vec<String> {
    locked(&COUNTS).remove(id).unwrap_or_default()
}

/// How many warnings and errors, of all tests so far, hold all of these words.
pub fn complaints(words: &[&str]) -> usize {
    locked(&COMPLAINTS).iter().filter(|line| words.iter().all(|word| line.contains(word))).count()
}

/// The texts of the product that ran on that engine and that nobody took yet.
pub fn take_texts(dialect: Dialect) -> Vec<Ran> {
    locked(&FRESH).remove(&dialect).unwrap_or_default()
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Recorder {
    file: Mutex<File>,
    seen: Mutex<HashSet<(Dialect, String)>>,
}

/// A span's fields as text.
struct Fields(String);
/// The id of a request's span.
struct RequestId(String);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Recorder {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut words = Words::default();
        attributes.record(&mut words);
        let span = context.span(id).expect("a span that is being made");
        if let Some(request) = words.values.remove("request.id").filter(|id| id.starts_with(COUNTED)) {
            span.extensions_mut().insert(RequestId(request));
        }
        span.extensions_mut().insert(Fields(words.line));
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let mut words = Words::default();
        values.record(&mut words);
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            fields.0.push_str(&words.line);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut words = Words::default();
        event.record(&mut words);
        let is_statement =
            *event.metadata().level() == Level::TRACE && words.values.contains_key("db.statement");
        if is_statement {
            let request = context
                .event_scope(event)
                .into_iter()
                .flatten()
                .find_map(|span| span.extensions().get::<RequestId>().map(|request| request.0.clone()));
            self.statement(words, request);
            return;
        }
        let mut line = format!("{} {}", event.metadata().level(), event.metadata().target());
        for span in context.event_scope(event).into_iter().flatten() {
            line.push_str(" | ");
            line.push_str(span.name());
            if let Some(fields) = span.extensions().get::<Fields>() {
                line.push_str(&fields.0);
            }
        }
        line.push_str(&words.line);
        line.push('\n');
        if *event.metadata().level() <= Level::WARN {
            locked(&COMPLAINTS).push(line.clone());
        }
        locked(&self.file).write_all(line.as_bytes()).expect("the log can be written");
    }
}

impl Recorder {
    /// Texts are the program's own: they are not looked through for secrets.
    fn statement(&self, mut words: Words, request: Option<String>) {
        let mut take = |name: &str| words.values.remove(name).unwrap_or_default();
        let ran = Ran { text: take("db.statement"), types: take("db.types"), place: take("code.location") };
        let dialect =
            if take("db.system") == Dialect::Sqlite.name() { Dialect::Sqlite } else { Dialect::Postgres };
        if let Some(request) = request {
            locked(&COUNTS).entry(request).or_default().push(ran.text.clone());
        }
        // Tests have statements of their own.
        if !ran.place.starts_with("tests/") && locked(&self.seen).insert((dialect, ran.text.clone())) {
            locked(&FRESH).entry(dialect).or_default().push(ran);
        }
    }
}

/// Fields as one line, and by name.
#[derive(Default)]
struct Words {
    line: String,
    values: HashMap<&'static str, String>,
}

impl Visit for Words {
    fn record_str(&mut self, field: &Field, value: &str) {
        let _ = write!(self.line, " {}={value}", field.name());
        self.values.insert(field.name(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}
