//! The runner of walls against a family whose walls are known: it is silent where they hold, and finds holes.

use switchboard::http::{Auth, Family, Op};

use super::{
    client,
    family::{FAMILY, Server, start},
};
use crate::{
    harness::schema::Contract,
    walls::{Request, Response, Target, Whose, walls},
};

struct Rooms {
    server: Server,
    powerless: &'static str,
    foreigner: Option<&'static str>,
    footprint: bool,
}

impl Target for Rooms {
    async fn send(&self, request: Request) -> Response {
        let headers: String =
            request.headers.iter().flat_map(|(name, value)| ["\n", name, ": ", value]).collect();
        let head = format!("{} {}{headers}", request.method, request.path);
        let body = String::from_utf8_lossy(&request.body.unwrap_or_default()).into_owned();
        let response = client::send(self.server.address, &head, &body).await;
        let content_type = response.header("content-type").map(str::to_owned);
        Response { status: response.status, content_type, body: response.body }
    }

    async fn token(&self, kind: Auth, whose: Whose) -> Option<String> {
        let token = match (kind, whose) {
            (Auth::User | Auth::Enterprise, Whose::Expired) => "expired:7",
            (Auth::User, Whose::Master) => "admin:7",
            (Auth::User, Whose::Powerless) => self.powerless,
            (Auth::User, Whose::Foreigner) => return self.foreigner.map(str::to_owned),
            (Auth::Enterprise, Whose::Master) => "partner:7",
            _ => return None,
        };
        Some(token.to_owned())
    }

    fn token_header(&self, _: &Family) -> &'static str {
        "authorization"
    }

    async fn parameter(&self, _: &Op, _: &str) -> String {
        "5".to_owned()
    }

    async fn fingerprint(&self) -> String {
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        if self.footprint { count.to_string() } else { String::new() }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn walls_that_hold_are_passed_in_silence_and_holes_are_found() {
    let contract = Contract::new(&[&FAMILY]);
    let server = start("", &[]).await;
    let mut rooms = Rooms { server, powerless: "poor:7", foreigner: None, footprint: false };
    assert_eq!(walls(&rooms, &[&FAMILY], &contract).await, Vec::<String>::new());

    rooms.powerless = "admin:7";
    let faults = walls(&rooms, &[&FAMILY], &contract).await.join("\n");
    assert!(faults.contains("DELETE /api/v1/rooms/{id} without the permission"), "{faults}");
    (rooms.powerless, rooms.foreigner) = ("poor:7", Some("user:9"));
    let faults = walls(&rooms, &[&FAMILY], &contract).await.join("\n");
    assert!(faults.contains("GET /api/v1/rooms/{room} from another organisation"), "{faults}");
    (rooms.foreigner, rooms.footprint) = (None, true);
    let faults = walls(&rooms, &[&FAMILY], &contract).await.join("\n");
    assert!(faults.contains("left something behind"), "{faults}");
}
