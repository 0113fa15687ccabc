//! The journal's one writing task and its bounded queue. While more waits to be written, what a commit made is told by a
//! task of its own, in the order of commits, and the database goes on with the next.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::FutureExt as _;
use tokio::sync::{mpsc, oneshot};

use super::{
    append::{Append, Committed},
    batch::{self, Batch, Memory, Unwritten, Written},
    fence::NodeEpoch,
    metrics::JournalMetrics,
    port::{AfterCommit, Commit},
};
use crate::{
    base::{
        random::Random,
        tasks::Tasks,
        trace::{self, Trace},
    },
    domain::{
        codes::Code,
        error::{Error, Result},
    },
    store::{Db, StoreError},
};

/// How often the database is asked about a commit whose answer was lost, while nothing else is to be written.
const SETTLE: Duration = Duration::from_millis(500);

/// Commits that may wait to be told of; the writing task waits for the oldest before it goes on.
const UNTOLD: usize = 2;

/// Bounds of the journal.
#[derive(Clone, Copy, Debug)]
pub struct JournalOptions {
    /// Appends that may wait; one more is refused with `mailbox_full`.
    pub queue: usize,
    /// Appends of one commit at most.
    pub batch: usize,
}

impl Default for JournalOptions {
    fn default() -> Self {
        Self { queue: 20_000, batch: 1_000 }
    }
}

type Done = Box<dyn FnOnce(Result<Committed>) + Send>;

struct Job {
    append: Append,
    done: Done,
}

/// Handle to the journal. Cheap to clone.
#[derive(Clone)]
pub struct Journal {
    queue: mpsc::Sender<Job>,
    failing: Arc<AtomicBool>,
    random: Random,
}

impl Journal {
    /// Starts the writing task. `after` is told of every commit.
    pub fn start(
        db: Db,
        node: NodeEpoch,
        options: JournalOptions,
        random: Random,
        after: Vec<Arc<dyn AfterCommit>>,
        metrics: JournalMetrics,
        tasks: &Tasks,
    ) -> Self {
        let (queue, jobs) = mpsc::channel(options.queue);
        let failing = Arc::new(AtomicBool::new(false));
        let teller = Teller::start(after, tasks);
        let writer = Writer {
            db,
            node,
            options,
            random: random.clone(),
            teller,
            metrics,
            failing: Arc::clone(&failing),
            doubtful: None,
            memory: Memory::default(),
        };
        tasks.spawn("journal", writer.run(jobs, tasks.stopping()));
        Self { queue, failing, random }
    }

    /// Hands an append over; `done` is called exactly once, after the commit (or with the error).
    pub fn submit(&self, mut append: Append, done: impl FnOnce(Result<Committed>) + Send + 'static) {
        append.trace = Some(trace::current().unwrap_or_else(|| Trace::begin(&self.random)));
        let job = Job { append, done: Box::new(done) };
        match self.queue.try_send(job) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(job)) => {
                (job.done)(Err(Error::new(Code::MailboxFull, "too much is waiting to be stored, try again")));
            }
            Err(mpsc::error::TrySendError::Closed(job)) => {
                (job.done)(Err(Error::unavailable("the journal has stopped")));
            }
        }
    }

    /// Appends and waits for the commit.
    pub async fn append(&self, append: Append) -> Result<Committed> {
        let (sender, receiver) = oneshot::channel();
        self.submit(append, move |outcome| {
            // A waiter that went away does not undo what is committed.
            let _ = sender.send(outcome);
        });
        receiver.await.unwrap_or_else(|_| Err(Error::unavailable("the journal dropped an append")))
    }

    /// True when the database would not take the last commit.
    pub fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Acquire)
    }

    /// The database was seen to take commits again.
    pub fn forgive(&self) {
        self.failing.store(false, Ordering::Release);
    }

    /// Appends that may still be queued without refusal.
    pub fn capacity(&self) -> usize {
        self.queue.capacity()
    }
}

struct Writer {
    db: Db,
    node: NodeEpoch,
    options: JournalOptions,
    random: Random,
    teller: Teller,
    metrics: JournalMetrics,
    failing: Arc<AtomicBool>,
    /// A commit whose answer was lost. Nothing is written until it is known whether it took place, since subscribers
    /// must hear of it first.
    doubtful: Option<Commit>,
    memory: Memory,
}

impl Writer {
    /// Runs until the server stops, and then until what was accepted before is written.
    async fn run(mut self, mut jobs: mpsc::Receiver<Job>, stopping: impl Future<Output = ()>) {
        let mut batch = Vec::new();
        let mut stopping = pin!(stopping.fuse());
        loop {
            tokio::select! {
                biased;
                taken = jobs.recv_many(&mut batch, self.options.batch) => if taken == 0 { return },
                () = &mut stopping => {
                    jobs.close();
                    continue;
                }
                () = tokio::time::sleep(SETTLE), if self.doubtful.is_some() => {
                    if let Err(error) = self.settle().await {
                        tracing::warn!(%error, "whether the last commit took place is not known yet");
                    }
                    continue;
                }
            }
            let (appends, waiters): (Vec<_>, Vec<_>) =
                batch.drain(..).map(|Job { append, done }| (append, done)).unzip();
            self.commit(appends, waiters, &jobs).await;
        }
    }

    async fn commit(&mut self, appends: Vec<Append>, waiters: Vec<Done>, queue: &mpsc::Receiver<Job>) {
        match self.write(&appends).await {
            Ok(Written { outcomes, commit }) => {
                let answers = waiters.into_iter().zip(outcomes).collect();
                self.teller.tell(News { commit, answers, appends }, queue.is_empty()).await;
            }
            Err(error) if appends.len() > 1 && !error.is_unavailable() && self.doubtful.is_none() => {
                // A data error in one append must not take its neighbours along: write each alone. A commit that may
                // have taken place is not written again.
                tracing::warn!(error = %error, appends = appends.len(), "batch failed, writing one by one");
                for (append, done) in appends.into_iter().zip(waiters) {
                    let written = self.write(std::slice::from_ref(&append)).await;
                    let news = match written {
                        Ok(Written { mut outcomes, commit }) => {
                            let answers = vec![(done, outcomes.pop().unwrap_or_else(nothing))];
                            News { commit, answers, appends: vec![append] }
                        }
                        Err(error) => News::failed(vec![append], [(done, fail(error))]),
                    };
                    self.teller.tell(news, false).await;
                }
            }
            Err(error) => {
                tracing::error!(error = %error, appends = appends.len(), "commit failed");
                let answers = waiters.into_iter().map(|done| (done, Error::unavailable(&error)));
                let news = News::failed(appends, answers);
                self.teller.tell(news, queue.is_empty()).await;
            }
        }
    }

    async fn write(&mut self, appends: &[Append]) -> Result<Written, StoreError> {
        let started = Instant::now();
        let random = self.random.clone();
        let epochs = move || random.token::<9>();
        let written = match self.settle().await {
            Ok(()) => {
                let batch = Batch { db: &self.db, node: self.node, epochs: &epochs, appends };
                batch.write(&mut self.memory).await
            }
            Err(error) => Err(error.into()),
        };
        let written = written.map_err(|Unwritten { error, doubtful }| {
            self.doubtful = self.doubtful.take().or(doubtful);
            error
        });
        self.metrics.observe(appends.len(), started.elapsed(), written.is_ok());
        self.failing.store(written.as_ref().is_err_and(StoreError::is_unavailable), Ordering::Release);
        written
    }

    /// Finds out whether the commit whose answer was lost took place. Those who waited for it were told that it failed and
    /// will ask again; everybody else hears of it now.
    async fn settle(&mut self) -> Result<(), StoreError> {
        let Some(commit) = &self.doubtful else { return Ok(()) };
        let took_place = match commit.events.first() {
            Some(first) => batch::is_stored(&self.db, first).await?,
            // To drop copies of what was rewritten is never wrong.
            None => true,
        };
        tracing::warn!(took_place, events = commit.events.len(), "a commit was not answered");
        if let Some(commit) = self.doubtful.take()
            && took_place
        {
            self.teller.tell(News { commit, answers: Vec::new(), appends: Vec::new() }, true).await;
        }
        Ok(())
    }
}

/// What became of a commit.
struct News {
    commit: Commit,
    answers: Vec<(Done, Result<Committed>)>,
    /// To be dropped: a thousand of them take a while.
    appends: Vec<Append>,
}

impl News {
    /// Of a commit that did not take place. What was decided upon it is refused from now on, before its waiters know.
    fn failed(appends: Vec<Append>, answers: impl IntoIterator<Item = (Done, Error)>) -> Self {
        for append in &appends {
            append.chain.as_ref().inspect(|chain| chain.break_off());
        }
        let answers = answers.into_iter().map(|(done, error)| (done, Err(error))).collect();
        Self { commit: Commit::default(), answers, appends }
    }

    fn tell(self, ports: &[Arc<dyn AfterCommit>]) {
        if !(self.commit.events.is_empty() && self.commit.rewritten.is_empty()) {
            for port in ports {
                port.committed(&self.commit);
            }
        }
        for (done, outcome) in self.answers {
            done(outcome);
        }
        drop(self.appends);
    }
}

/// Tells of commits in their order.
struct Teller {
    ports: Arc<[Arc<dyn AfterCommit>]>,
    queue: mpsc::Sender<News>,
    untold: Arc<AtomicUsize>,
}

impl Teller {
    fn start(ports: Vec<Arc<dyn AfterCommit>>, tasks: &Tasks) -> Self {
        let (queue, mut news) = mpsc::channel::<News>(UNTOLD);
        let ports: Arc<[_]> = ports.into();
        let untold = Arc::<AtomicUsize>::default();
        let (to, told) = (Arc::clone(&ports), Arc::clone(&untold));
        // It ends when the writing task has.
        tasks.spawn("journal news", async move {
            while let Some(news) = news.recv().await {
                news.tell(&to);
                told.fetch_sub(1, Ordering::Release);
            }
        });
        Self { ports, queue, untold }
    }

    /// Tells at once where nothing waits to be written (`idle`), which saves a switch of threads.
    async fn tell(&self, news: News, idle: bool) {
        if idle && self.untold.load(Ordering::Acquire) == 0 {
            return news.tell(&self.ports);
        }
        self.untold.fetch_add(1, Ordering::Relaxed);
        if let Err(mpsc::error::SendError(news)) = self.queue.send(news).await {
            // The task has panicked.
            news.tell(&self.ports);
        }
    }
}

fn fail(error: StoreError) -> Error {
    tracing::error!(error = %error, "append failed");
    error.into()
}

fn nothing() -> Result<Committed> {
    Err(Error::unavailable("the batch lost an append"))
}
