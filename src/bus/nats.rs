//! NATS: JetStream for stored events, plain subjects for ephemeral ones.
//!
//! The stream `SWITCHBOARD` over `switchboard.>` is made when it is absent and brought to the configured limits when it
//! differs; whatever else an operator set on it stays. The connection is re-established for ever; while it is away
//! publishes fail at once instead of piling up. Works with nats-server 2.9 and later.

use std::{
    io,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use async_nats::{
    Client, ConnectOptions, Event, HeaderMap,
    connection::State,
    header::NATS_MESSAGE_ID,
    jetstream::{
        self, Context,
        context::{GetStreamErrorKind, PublishErrorKind},
        message::PublishMessage,
        stream,
    },
};
use futures_util::future::BoxFuture;
use tokio::sync::{Mutex, mpsc};

use super::{Bus, BusError, Message, envelope::CONTENT_TYPE, subject};
use crate::{base::tasks::Tasks, config};

/// Name of the JetStream stream.
pub const STREAM: &str = "SWITCHBOARD";

/// How long JetStream may take to acknowledge.
const ACK_TIMEOUT: Duration = Duration::from_secs(5);
/// For how long JetStream recognises a repeated id: longer than any restart of ours.
const DUPLICATE_WINDOW: Duration = Duration::from_mins(10);
/// Ephemeral messages that may wait for the socket; more are dropped.
const LIVE_QUEUE: usize = 4_096;
const LONGEST_PAUSE: Duration = Duration::from_secs(4);

/// A connection to NATS.
#[derive(Debug)]
pub struct NatsBus {
    client: Client,
    jetstream: Context,
    stream: stream::Config,
    stream_ready: AtomicBool,
    preparing: Mutex<()>,
    live: mpsc::Sender<Message>,
}

impl NatsBus {
    /// Begins to connect; returns at once, NATS may come later. Fails only when the credentials cannot be read.
    pub async fn connect(config: &config::Bus, tasks: &Tasks) -> io::Result<Self> {
        let mut options = ConnectOptions::new()
            .name("switchboard")
            .retry_on_initial_connect()
            .max_reconnects(None)
            .reconnect_delay_callback(pause)
            .event_callback(|event| async move { log(&event) });
        if !config.credentials.as_os_str().is_empty() {
            let text = tokio::fs::read_to_string(&config.credentials).await?;
            options = options.credentials(&text)?;
        }
        let url = config.url.expose();
        options = options.require_tls(url.starts_with("tls://"));
        // The message of a refused URL may repeat it, and it may hold a password.
        let client = options.connect(url).await.map_err(|_| io::Error::other("bus.url cannot be used"))?;
        let jetstream = jetstream::context::ContextBuilder::new()
            .timeout(ACK_TIMEOUT)
            .ack_timeout(ACK_TIMEOUT)
            .build(client.clone());
        let stream = stream::Config {
            name: STREAM.to_owned(),
            subjects: vec![format!("{}.>", subject::STORED)],
            max_age: config.max_age_hours,
            max_bytes: config.max_bytes,
            num_replicas: config.replicas,
            duplicate_window: DUPLICATE_WINDOW.min(config.max_age_hours),
            ..stream::Config::default()
        };
        let (live, queue) = mpsc::channel(LIVE_QUEUE);
        tasks.spawn("bus live", forward_live(client.clone(), queue));
        Ok(Self {
            client,
            jetstream,
            stream,
            stream_ready: AtomicBool::new(false),
            preparing: Mutex::new(()),
            live,
        })
    }

    /// True while the connection stands.
    pub fn is_connected(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    async fn prepare_stream(&self) -> Result<(), BusError> {
        let _one = self.preparing.lock().await;
        if self.stream_ready.load(Ordering::Acquire) {
            return Ok(());
        }
        match self.jetstream.get_stream(STREAM).await {
            Ok(found) => {
                let present = &found.cached_info().config;
                let wanted = stream::Config {
                    subjects: self.stream.subjects.clone(),
                    max_age: self.stream.max_age,
                    max_bytes: self.stream.max_bytes,
                    num_replicas: self.stream.num_replicas,
                    duplicate_window: self.stream.duplicate_window,
                    ..present.clone()
                };
                if wanted != *present {
                    self.jetstream.update_stream(wanted).await.map_err(|error| self.unmade(error))?;
                }
            }
            Err(error) if is_absent(&error.kind()) => {
                let wanted = self.stream.clone();
                self.jetstream.create_stream(wanted).await.map_err(|error| self.unmade(error))?;
            }
            Err(error) => return Err(not_stored(error)),
        }
        self.stream_ready.store(true, Ordering::Release);
        Ok(())
    }

    /// Names what may have to change: NATS only says that it cannot.
    fn unmade(&self, error: impl std::fmt::Display) -> BusError {
        let stream::Config { max_bytes, num_replicas, .. } = self.stream;
        not_stored(format_args!(
            "stream {STREAM} (bus.max_bytes = {max_bytes}, bus.replicas = {num_replicas}): {error}"
        ))
    }

    async fn publish_stored(&self, message: Message) -> Result<(), BusError> {
        if !self.is_connected() {
            return Err(BusError::NotStored("not connected".to_owned()));
        }
        if !self.stream_ready.load(Ordering::Acquire) {
            self.prepare_stream().await?;
        }
        let size = message.payload.len();
        let publish = PublishMessage::build().headers(headers(&message)).payload(message.payload);
        let sent = match self.jetstream.send_publish(message.subject, publish).await {
            Ok(acknowledged) => acknowledged.await.map(drop),
            Err(error) => Err(error),
        };
        sent.map_err(|error| match error.kind() {
            PublishErrorKind::MaxPayloadExceeded => {
                BusError::TooLarge { size, limit: self.client.max_payload() }
            }
            kind => {
                // The stream may have been removed, or the server have lost it: look again next time.
                if kind == PublishErrorKind::StreamNotFound {
                    self.stream_ready.store(false, Ordering::Release);
                }
                not_stored(error)
            }
        })
    }
}

impl Bus for NatsBus {
    fn publish(&self, message: Message) -> BoxFuture<'_, Result<(), BusError>> {
        Box::pin(self.publish_stored(message))
    }

    fn publish_live(&self, message: Message) {
        // Full queue: ephemeral messages are the first to go.
        let _ = self.live.try_send(message);
    }
}

async fn forward_live(client: Client, mut queue: mpsc::Receiver<Message>) {
    while let Some(message) = queue.recv().await {
        if client.connection_state() == State::Connected {
            let headers = headers(&message);
            if let Err(error) = client.publish_with_headers(message.subject, headers, message.payload).await {
                tracing::debug!(%error, "an ephemeral event was dropped");
            }
        }
    }
}

fn headers(message: &Message) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(NATS_MESSAGE_ID, message.id.to_string());
    headers.insert("Content-Type", CONTENT_TYPE);
    headers
}

fn is_absent(kind: &GetStreamErrorKind) -> bool {
    matches!(kind, GetStreamErrorKind::JetStream(error) if error.error_code() == jetstream::ErrorCode::STREAM_NOT_FOUND)
}

fn not_stored(error: impl std::fmt::Display) -> BusError {
    BusError::NotStored(error.to_string())
}

fn pause(attempt: usize) -> Duration {
    let doublings = u32::try_from(attempt.min(6)).unwrap_or(6);
    (Duration::from_millis(50) * 2_u32.pow(doublings)).min(LONGEST_PAUSE)
}

fn log(event: &Event) {
    match event {
        Event::Connected => tracing::info!("the bus is connected"),
        Event::Disconnected => tracing::warn!("the bus is disconnected"),
        Event::ServerError(_) | Event::ClientError(_) => tracing::warn!(%event, "the bus reports an error"),
        other => tracing::info!(event = %other, "the bus reports"),
    }
}
