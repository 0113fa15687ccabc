//! Which request an event came of, from the header of the request to the bus.

use serde_json::{Value, json};

use super::{all_sent, nats};
use crate::harness::{app::Server, db::on_both, nats::NatsServer};

const SENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-";

/// `traceparent` and type of all stored events with that text in their data.
async fn about(bus: &NatsServer, text: &str) -> Vec<(String, String)> {
    let events = nats::stored(bus).await.into_iter().map(|message| {
        assert!(std::str::from_utf8(&message.payload).is_ok());
        serde_json::from_slice::<Value>(&message.payload).unwrap()
    });
    events
        .filter(|event| event["data"].to_string().contains(text))
        .map(|event| {
            let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
            (text("traceparent"), text("type"))
        })
        .collect()
}

on_both! {
    async fn events_say_which_request_they_came_of(db: TestDb) {
        let Some(bus) = NatsServer::start() else { return };
        let server = Server::start_with(db, &format!("[bus]\nurl = \"{}\"\n", bus.url())).await;
        let ben = server.hire("Ben").await;
        server.hire("Ann").await;
        let ann = server.sign_in("ann@acme.test").await;
        let make = |title: &str, trace: &str| {
            let body = json!({ "title": title, "participants": [{ "id": ben }] });
            server.post("/api/v1r1/workboxes", body).with(&ann).header("traceparent", trace)
        };
        make("Followed", SENT).ok().await;
        make("Malformed", &SENT.to_uppercase()).ok().await;
        let lag = || server.post("/api/v1/info/unavailable", json!({})).with(&ann);
        lag().ok().await;
        all_sent(&server.db).await;

        // One request, several streams: all of them name it, and none the span of the one who asked.
        let followed = about(&bus, "Followed").await;
        assert!(followed.len() >= 2, "{followed:?}");
        let (first, _) = &followed[0];
        assert!(first.starts_with(TRACE) && first.ends_with("-01") && first != SENT, "{first}");
        assert!(followed.iter().all(|(trace, _)| trace == first), "{followed:?}");

        // What is not understood begins a trace, as no header does.
        let malformed = about(&bus, "Malformed").await;
        let updated = about(&bus, "user.updated").await;
        assert_eq!(updated.len(), 1, "{updated:?}");
        for (trace, kind) in malformed.iter().chain(&updated) {
            assert!(trace.len() == 55 && trace.ends_with("-00"), "{kind}: {trace}");
            assert!(!trace.starts_with(TRACE), "{kind}: {trace}");
        }
        assert_ne!(malformed[0].0, updated[0].0);
    }
}
