//! Opening a WebSocket.

use tokio::net::TcpStream;
use tokio_tungstenite::{
    client_async_tls_with_config,
    tungstenite::{client::IntoClientRequest as _, http::HeaderValue, protocol::WebSocketConfig},
};

use super::{socket::Endpoint, websocket::Socket};
use crate::failure::{Failure, Outcome};

/// Bytes per read: a handshake's answer is short.
const READ_BUFFER: usize = 1024;

/// Opens a socket.
pub(super) async fn handshake(endpoint: &Endpoint) -> Outcome<Socket> {
    let unreadable = |error: String| Failure::Unexpected(error);
    let mut request = endpoint.url.as_str().into_client_request().map_err(|e| unreadable(e.to_string()))?;
    let mut header = |name: &'static str, value: &str| match HeaderValue::from_str(value) {
        Ok(value) => {
            request.headers_mut().insert(name, value);
            Ok(())
        }
        Err(error) => Err(unreadable(error.to_string())),
    };
    if let Some(protocol) = endpoint.format.sub_protocol() {
        header("sec-websocket-protocol", protocol)?;
    }
    for (name, value) in &endpoint.headers {
        header(name, value)?;
    }
    let uri = request.uri();
    let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("wss") { 443 } else { 80 });
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let stream = TcpStream::connect((host, port)).await.map_err(|_| Failure::Disconnected)?;
    stream.set_nodelay(true).map_err(|_| Failure::Disconnected)?;
    let config = WebSocketConfig::default().read_buffer_size(READ_BUFFER);
    let opened = client_async_tls_with_config(request, stream, Some(config), None).await;
    match opened {
        // No server speaks before the client has signed in, so that nothing is left in what is dropped here.
        Ok((socket, _)) => Ok(Socket::new(socket.into_inner())),
        Err(tokio_tungstenite::tungstenite::Error::Http(response)) => {
            Err(Failure::Refused(u32::from(response.status().as_u16()), "handshake".to_owned()))
        }
        Err(_) => Err(Failure::Disconnected),
    }
}
