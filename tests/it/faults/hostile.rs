//! Clients of ill will on the real server: each gets the documented answer, and two people who talk notice nothing.

use serde_json::json;

use crate::harness::{db::on_both, device::Device, office::Office};

const SETTINGS: &str = "
    [server]
    drain_seconds = 0
    [realtime]
    ping_seconds = 4
    pong_seconds = 3
    connect_seconds = 1
    max_subscriptions = 4
    commands_per_second = 50
    command_burst = 100
    frame_limit = 4096
";

on_both! {
    async fn nobody_else_notices(db: TestDb) {
        let mut office = Office::open_with(db, SETTINGS).await;
        let channel = office.workbox();
        office.ben.device.follow_all(&channel).await;
        let (address, token) = (office.server.address, office.carl.token.clone());
        let mut expected = Vec::new();
        for (text, code) in [
            ("nonsense".to_owned(), 3501),
            ("[]".to_owned(), 3501),
            (r#"{"id":7}"#.to_owned(), 3501),
            (r#"{"id":7,"launch":{}}"#.to_owned(), 3501),
            (r#"{"id":7,"connect":{"token":"x"}}"#.to_owned(), 3501),
            (r#"{"rpc":{"method":"server.time"}}"#.to_owned(), 3501),
            (format!(r#"{{"id":7,"rpc":{{"method":"message.send","data":"{}"}}}}"#, "x".repeat(5_000)), 1009),
            ("{\"send\":{\"data\":{}}}\n".repeat(160).trim_end().to_owned(), 3013),
        ] {
            let device = Device::connect(address, &token).await;
            device.say(&text);
            expected.push((text, device, code));
        }
        // Connected, and never says who it is; or says something else first; or with a token that is none.
        expected.push(("nothing".to_owned(), Device::open(address).await, 3502));
        let hasty = Device::open(address).await;
        hasty.say(r#"{"id":1,"subscribe":{"channel":"workbox:1"}}"#);
        expected.push(("first something else".to_owned(), hasty, 3501));
        let forged = Device::open(address).await;
        forged.say(r#"{"id":1,"connect":{"token":"eyJhbGciOiJub25lIn0.e30."}}"#);
        expected.push(("a token that is none".to_owned(), forged, 3500));
        // More places than one connection may hold.
        let mut greedy = Device::connect(address, &token).await;
        for number in 0..3 {
            let made = greedy.rpc("workbox.create", json!({ "title": number.to_string() })).await;
            greedy.follow_all(&format!("workbox:{}", made["id"])).await;
        }
        let more = greedy.rpc("workbox.create", json!({ "title": "one more" })).await;
        let reply = greedy.call(json!({ "subscribe": { "channel": format!("workbox:{}", more["id"]) } })).await;
        assert_eq!(reply["error"]["code"], 106, "{reply}");
        // Reads nothing, answers no ping.
        let numb = Device::connect(address, &token).await;
        numb.freeze();
        let online = |server: &crate::harness::app::Server| server.kernel().hub.connection_count();

        for number in 0..20 {
            office.say(&number.to_string()).await;
        }
        for (what, mut device, code) in expected {
            assert_eq!(device.is_closed().await, code, "{what}");
        }
        for kind in ["workbox.created", "guest.invited", "guest.joined"] {
            office.ben.device.sees(&channel, kind).await;
        }
        for number in 0..20 {
            let told = office.ben.device.sees(&channel, "message.created").await;
            assert_eq!(told["data"]["metadata"], format!("{{\"message\":\"{number}\"}}"));
        }
        // The numb one is let go of: five people and the greedy one are left.
        let deadline = tokio::time::Instant::now() + crate::harness::device::PATIENCE;
        while online(&office.server) > 6 {
            assert!(tokio::time::Instant::now() < deadline, "{} connections", online(&office.server));
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        office.say("still here").await;
        office.ben.device.sees(&channel, "message.created").await;
    }
}
