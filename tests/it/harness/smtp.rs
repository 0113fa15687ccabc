//! A real SMTP server (`aiosmtpd`, from `tests/requirements.txt`) that shows what it got.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use serde_json::Value;

use super::notes;

/// The server; it ends when this is dropped.
pub struct SmtpSink {
    child: Child,
    port: u16,
    messages: mpsc::Receiver<Value>,
}

impl SmtpSink {
    /// Starts one; `None`, noted, where the Python on the PATH has no `aiosmtpd`.
    pub fn start() -> Option<Self> {
        let known = Command::new("python3").args(["-c", "import aiosmtpd"]).stderr(Stdio::null()).status();
        if !known.is_ok_and(|status| status.success()) {
            notes::left_out("sending e-mail (python3 has no aiosmtpd, see tests/requirements.txt)");
            return None;
        }
        let mut child = Command::new("python3")
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/smtp_sink.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let port = lines.next().expect("it prints its port").unwrap().parse().unwrap();
        let (sender, messages) = mpsc::channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if sender.send(serde_json::from_str(&line).unwrap()).is_err() {
                    return;
                }
            }
        });
        Some(Self { child, port, messages })
    }

    /// For `notices.smtp_url`.
    pub fn url(&self) -> String {
        format!("smtp://127.0.0.1:{}?tls=none", self.port)
    }

    /// The next message: `{to, headers, parts}`.
    pub fn next(&self) -> Value {
        self.messages.recv_timeout(Duration::from_secs(10)).expect("a message arrives")
    }

    /// True when nothing has arrived that was not taken.
    pub fn is_empty(&self) -> bool {
        self.messages.try_recv().is_err()
    }
}

impl Drop for SmtpSink {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
