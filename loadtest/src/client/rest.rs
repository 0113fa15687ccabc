//! REST: one pooled client, JSON in and out.

use std::time::Duration;

use reqwest::{Client, Method, Response, header};
use serde_json::Value;

use crate::failure::{Failure, Outcome};

/// A server's REST side. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Rest {
    client: Client,
    base: String,
    api_key: Option<String>,
}

impl Rest {
    /// For the server at `base`, without a slash at its end.
    pub fn new(base: &str, api_key: Option<String>) -> Outcome<Self> {
        let client = Client::builder()
            .timeout(Duration::from_secs(120))
            .connect_timeout(Duration::from_secs(5))
            .build()
            .map_err(|error| Failure::Unexpected(error.to_string()))?;
        Ok(Self { client, base: base.trim_end_matches('/').to_owned(), api_key })
    }

    /// The server's address.
    pub fn base(&self) -> &str {
        &self.base
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        token: &str,
        body: Option<(&str, Vec<u8>)>,
    ) -> Outcome<Response> {
        let mut request = self.client.request(method, format!("{}{path}", self.base));
        if !token.is_empty() {
            request = request.header(header::AUTHORIZATION, token);
        }
        if let Some(key) = &self.api_key {
            request = request.header("x-helplightning-api-key", key);
        }
        if let Some((kind, body)) = body {
            request = request.header(header::CONTENT_TYPE, kind).body(body);
        }
        let response = request.send().await.map_err(|error| lost(&error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status().as_u16();
        let text = response.text().await.unwrap_or_default();
        let said = serde_json::from_str::<Value>(&text).unwrap_or_default();
        let code = said["code"].as_u64().and_then(|code| u32::try_from(code).ok()).unwrap_or(status.into());
        let name = said["name"].as_str().or(said["message"].as_str()).unwrap_or("").to_owned();
        Err(Failure::Refused(code, name))
    }

    /// One operation. An empty answer is null.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        token: &str,
        body: Option<&Value>,
    ) -> Outcome<Value> {
        let body = body.map(|body| ("application/json", body.to_string().into_bytes()));
        let response = self.send(method, path, token, body).await?;
        let bytes = response.bytes().await.map_err(|error| lost(&error))?;
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        Ok(serde_json::from_slice(&bytes)?)
    }

    /// Reads something.
    pub async fn get(&self, path: &str, token: &str) -> Outcome<Value> {
        self.call(Method::GET, path, token, None).await
    }

    /// Posts something.
    pub async fn post(&self, path: &str, token: &str, body: &Value) -> Outcome<Value> {
        self.call(Method::POST, path, token, Some(body)).await
    }

    /// Uploads a file as a form with a name and a media type.
    pub async fn upload(&self, path: &str, token: &str, name: &str, content: &[u8]) -> Outcome<Value> {
        const BORDER: &str = "loadtest-border-6fd1a2c39b";
        let mut form = Vec::with_capacity(content.len() + 512);
        for (field, value) in [("name", name), ("mime_type", "application/octet-stream")] {
            let part =
                format!("--{BORDER}\r\ncontent-disposition: form-data; name=\"{field}\"\r\n\r\n{value}\r\n");
            form.extend(part.into_bytes());
        }
        let head = format!(
            "--{BORDER}\r\ncontent-disposition: form-data; name=\"attachment\"; filename=\"{name}\"\r\n\r\n"
        );
        form.extend(head.into_bytes());
        form.extend(content);
        form.extend(format!("\r\n--{BORDER}--\r\n").into_bytes());
        let kind = format!("multipart/form-data; boundary={BORDER}");
        let response = self.send(Method::POST, path, token, Some((&kind, form))).await?;
        let bytes = response.bytes().await.map_err(|error| lost(&error))?;
        Ok(serde_json::from_slice(&bytes)?)
    }

    /// The content behind a path that needs no token, such as a signed address or `/metrics`.
    pub async fn content(&self, path: &str) -> Outcome<Vec<u8>> {
        let response = self.send(Method::GET, path, "", None).await?;
        Ok(response.bytes().await.map_err(|error| lost(&error))?.to_vec())
    }
}

fn lost(error: &reqwest::Error) -> Failure {
    if error.is_timeout() { Failure::TimedOut } else { Failure::Disconnected }
}
