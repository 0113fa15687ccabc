//! The admin socket in the data folder: one command as a line of JSON, its output as lines, then how it ended.

use std::{
    io::{self, BufRead as _, Write},
    os::unix::{fs::PermissionsExt as _, net::UnixStream as Client},
    path::Path,
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{UnixListener, UnixStream, unix::OwnedWriteHalf},
    sync::mpsc,
};

use super::{AdminError, Command, LINES, execute};
use crate::{base::tasks::Tasks, service::Services};

const COMMAND_LIMIT: u64 = 64 * 1024;
const COMMAND_TIME: Duration = Duration::from_secs(10);

/// What the server answers.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    /// A line of output.
    Line(String),
    /// The command was refused.
    Failed(String),
    /// The command is done.
    Done,
}

/// Takes commands at `path` until the server stops. Only the holder of the folder's lock may call this: what stands
/// there was left by a process that is gone.
pub(in crate::app) fn listen(path: &Path, services: Arc<Services>, tasks: &Tasks) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    let (stopping, path, spawner) = (tasks.stopping(), path.to_owned(), tasks.clone());
    tasks.spawn("admin.socket", async move {
        tokio::select! {
            () = stopping => {}
            () = accept(listener, &services, &spawner) => {}
        }
        // A command that finds no socket tries the lock, which says what is going on.
        let _ = std::fs::remove_file(path);
    });
    Ok(())
}

async fn accept(listener: UnixListener, services: &Arc<Services>, tasks: &Tasks) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let services = Arc::clone(services);
                tasks.spawn("admin.command", async move {
                    if let Err(error) = serve(stream, &services).await {
                        tracing::info!(%error, "an admin command's client went away");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "admin socket");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve(stream: UnixStream, services: &Services) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut text = String::new();
    let mut reader = BufReader::new(reader.take(COMMAND_LIMIT));
    tokio::time::timeout(COMMAND_TIME, reader.read_line(&mut text)).await??;
    let command: Command = match serde_json::from_str(&text) {
        Ok(command) => command,
        Err(error) => return answer(&mut writer, &Answer::Failed(error.to_string())).await,
    };
    let (lines, mut printed) = mpsc::channel(LINES);
    let print = async {
        while let Some(line) = printed.recv().await {
            answer(&mut writer, &Answer::Line(line)).await?;
        }
        io::Result::Ok(())
    };
    let run = async {
        let outcome = execute::execute(services, command, &lines).await;
        drop(lines);
        outcome
    };
    let (outcome, printed) = tokio::join!(run, print);
    printed?;
    let end = match outcome {
        Ok(()) => Answer::Done,
        Err(error) => Answer::Failed(AdminError::from(error).to_string()),
    };
    answer(&mut writer, &end).await
}

async fn answer(writer: &mut OwnedWriteHalf, answer: &Answer) -> io::Result<()> {
    let mut text = serde_json::to_vec(answer)?;
    text.push(b'\n');
    writer.write_all(&text).await
}

/// The server's end of the socket; `None` when no server listens there.
pub(super) fn connect(path: &Path) -> io::Result<Option<Client>> {
    match Client::connect(path) {
        Ok(stream) => Ok(Some(stream)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Sends a command and prints what comes back.
pub(super) fn ask(mut stream: Client, command: &Command, out: &mut impl Write) -> Result<(), AdminError> {
    let mut text = serde_json::to_vec(command).map_err(io::Error::from)?;
    text.push(b'\n');
    stream.write_all(&text)?;
    for line in io::BufReader::new(stream).lines() {
        match serde_json::from_str(&line?).map_err(io::Error::from)? {
            Answer::Line(line) => writeln!(out, "{line}")?,
            Answer::Done => return Ok(()),
            Answer::Failed(reason) => return Err(AdminError::Refused(reason)),
        }
    }
    Err(AdminError::Refused("the server went away before the command was done".to_owned()))
}
