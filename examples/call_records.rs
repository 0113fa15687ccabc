//! Writes the record of every call that ends to a file, one JSON object per line, exactly once.
//!
//! ```sh
//! cargo run --example call_records -- nats://127.0.0.1:4222 calls.jsonl
//! ```
//!
//! NATS delivers at least once: a message comes again when its acknowledgement was lost, or when the server published
//! it twice around a crash. So a record is written and on the disk *before* its message is acknowledged, and an event
//! whose id is in the file already is acknowledged and passed over. Kill this program, NATS or Switchboard whenever
//! you like, and start it again.

use std::{
    collections::HashSet,
    env,
    error::Error,
    fs::{File, OpenOptions},
    io::{BufRead, BufReader, Seek, SeekFrom, Write},
    time::Duration,
};

use async_nats::{
    Client, ConnectOptions,
    jetstream::{self, Message, consumer::pull},
};
use futures_util::StreamExt;
use serde_json::{Value, json};

type Failure = Box<dyn Error + Send + Sync>;

/// The stream that Switchboard publishes to.
const STREAM: &str = "SWITCHBOARD";
/// The name under which NATS remembers how far we are.
const DURABLE: &str = "call-records";
/// Ends of calls, of all organisations.
const SUBJECT: &str = "switchboard.*.session.*.call.ended";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let mut arguments = env::args().skip(1);
    let url = arguments.next().unwrap_or_else(|| "nats://127.0.0.1:4222".to_owned());
    let path = arguments.next().unwrap_or_else(|| "calls.jsonl".to_owned());
    let mut records = Records::open(&path)?;
    let client = ConnectOptions::new().retry_on_initial_connect().connect(url).await?;
    loop {
        // NATS may be away, or Switchboard may not have made its stream yet.
        if let Err(error) = follow(&client, &mut records).await {
            eprintln!("{error}; trying again");
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Takes messages until something breaks.
async fn follow(client: &Client, records: &mut Records) -> Result<(), Failure> {
    let stream = jetstream::new(client.clone()).get_stream(STREAM).await?;
    let wanted = pull::Config {
        durable_name: Some(DURABLE.to_owned()),
        filter_subject: SUBJECT.to_owned(),
        ack_wait: Duration::from_secs(10),
        ..pull::Config::default()
    };
    let consumer = stream.get_or_create_consumer(DURABLE, wanted).await?;
    let mut messages = consumer.stream().heartbeat(Duration::from_secs(1)).messages().await?;
    while let Some(message) = messages.next().await {
        let message = message?;
        records.take(&message)?;
        message.double_ack().await?;
    }
    Ok(())
}

/// The file, and the ids of the events in it.
struct Records {
    file: File,
    known: HashSet<String>,
}

impl Records {
    /// Reads what is there. A last line that was cut off by a crash is removed: its message was not acknowledged.
    fn open(path: &str) -> Result<Self, Failure> {
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let (mut known, mut whole) = (HashSet::new(), 0);
        let mut reader = BufReader::new(&file);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line)? > 0 && line.ends_with(b"\n") {
            let record: Value = serde_json::from_slice(&line)?;
            known.insert(record["event"].as_str().unwrap_or_default().to_owned());
            whole += line.len() as u64;
            line.clear();
        }
        file.set_len(whole)?;
        file.seek(SeekFrom::Start(whole))?;
        Ok(Self { file, known })
    }

    /// Writes the record of an event, unless it is there; when this returns it is on the disk.
    fn take(&mut self, message: &Message) -> Result<(), Failure> {
        let event: Value = serde_json::from_slice(&message.payload)?;
        let id = event["id"].as_str().ok_or("an event without an id")?;
        if self.known.contains(id) {
            return Ok(());
        }
        let record = json!({
            "event": id,
            "time": event["time"],
            "organization": event["orgid"],
            "session": event["subject"],
            "call": event["data"]["data"],
        });
        self.file.write_all(format!("{record}\n").as_bytes())?;
        self.file.sync_data()?;
        self.known.insert(id.to_owned());
        Ok(())
    }
}
