//! Keys of an application's backend that stand at an address: fetched, and fetched again when they change.

use std::sync::{Arc, Mutex};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rsa::{RsaPrivateKey, pkcs8::EncodePrivateKey as _, traits::PublicKeyParts as _};
use serde_json::{Value, json};
use switchboard::{config::BackendTokens, domain::ids::OrgId, realtime::Options};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::{Client, Server, namespaces};

/// A pair with a name.
struct Pair {
    name: &'static str,
    private: RsaPrivateKey,
}

impl Pair {
    fn new(name: &'static str) -> Self {
        Self { name, private: RsaPrivateKey::new(&mut rsa::rand_core::OsRng, 2_048).unwrap() }
    }

    fn public(&self) -> Value {
        let number = |number: &rsa::BigUint| URL_SAFE_NO_PAD.encode(number.to_bytes_be());
        let (n, e) = (number(self.private.n()), number(self.private.e()));
        json!({ "kty": "RSA", "use": "sig", "alg": "RS256", "kid": self.name, "n": n, "e": e })
    }

    fn sign(&self, claims: &Value) -> String {
        let pem = self.private.to_pkcs8_pem(rsa::pkcs8::LineEnding::LF).unwrap();
        let header = Header { kid: Some(self.name.to_owned()), ..Header::new(Algorithm::RS256) };
        encode(&header, claims, &EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap()).unwrap()
    }
}

/// An address that answers with `document`.
async fn publish(document: Arc<Mutex<Value>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let body = document.lock().unwrap().to_string();
            let head =
                format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            let _ = socket.read(&mut [0; 4_096]).await;
            let _ = socket.write_all(format!("{head}{body}").as_bytes()).await;
        }
    });
    format!("http://{address}/keys")
}

/// Connects as an SDK does: what is temporary is tried again.
async fn connect(server: &Server, token: &str) -> Value {
    loop {
        let mut client = Client::open(server.address).await;
        let reply = client.call(json!({ "connect": { "token": token } })).await;
        if reply["error"]["temporary"] != true {
            return reply;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_fetched_keys_open_the_door() {
    let (first, second) = (Pair::new("first"), Pair::new("second"));
    let document = Arc::new(Mutex::new(json!({ "keys": [first.public()] })));
    let url = publish(document.clone()).await;
    let backend = BackendTokens {
        organization: OrgId(1),
        algorithms: vec!["RS256".to_owned()],
        jwks_url: url,
        issuer: "shop".to_owned(),
        ..BackendTokens::default()
    };
    let server = Server::with(Options { tokens: vec![backend], ..namespaces::options() }).await;
    let claims = json!({ "sub": "42", "iss": "shop" });
    let reply = connect(&server, &first.sign(&claims)).await;
    assert!(reply["connect"]["client"].is_string(), "{reply}");
    // The backend changes its key: the new one is looked for when a token names it.
    *document.lock().unwrap() = json!({ "keys": [second.public()] });
    let reply = connect(&server, &second.sign(&claims)).await;
    assert!(reply["connect"]["client"].is_string(), "{reply}");
    // The old one is dead, and so is who only claims to be the backend.
    let impostor = Pair::new("second");
    let mut client = Client::open(server.address).await;
    client.send_text(&json!({ "id": 1, "connect": { "token": impostor.sign(&claims) } }).to_string()).await;
    assert_eq!(client.closed().await, 3_500);
}
