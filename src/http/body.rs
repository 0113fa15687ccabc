//! Reading request bodies from the socket, within their limits of size and time.

use std::time::Duration;

use actix_web::{dev::Payload, error::PayloadError};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use tokio::time::{Instant, timeout_at};

use super::upload::Feed;
use crate::domain::{
    codes::Code,
    error::{Error, Result},
};

/// Reads a whole body of at most `limit` bytes; `declared` is its `Content-Length`.
pub(super) async fn read(
    payload: &mut Payload,
    declared: u64,
    limit: usize,
    within: Duration,
) -> Result<Bytes> {
    if declared > limit as u64 {
        return Err(too_large(limit as u64));
    }
    let until = Instant::now() + within;
    let Some(first) = next(payload, until, within).await? else { return Ok(Bytes::new()) };
    let Some(second) = next(payload, until, within).await? else { return check(first, limit) };
    let mut body = BytesMut::from(check(first, limit)?);
    let mut chunk = Some(second);
    while let Some(more) = chunk {
        if body.len() + more.len() > limit {
            return Err(too_large(limit as u64));
        }
        body.extend_from_slice(&more);
        chunk = next(payload, until, within).await?;
    }
    Ok(body.freeze())
}

/// Hands a body on, piece by piece, until its end, an error, or nobody wants more of it.
pub(super) async fn pump(mut payload: Payload, feed: Feed, limit: u64, within: Duration) {
    let until = Instant::now() + within;
    let mut size = 0;
    loop {
        let piece = match next(&mut payload, until, within).await {
            Ok(None) => return,
            Ok(Some(piece)) => {
                size += piece.len() as u64;
                if size > limit { Err(too_large(limit)) } else { Ok(piece) }
            }
            Err(error) => Err(error),
        };
        let last = piece.is_err();
        if feed.send(piece).await.is_err() || last {
            return;
        }
    }
}

async fn next(payload: &mut Payload, until: Instant, within: Duration) -> Result<Option<Bytes>> {
    match timeout_at(until, payload.next()).await {
        Ok(None) => Ok(None),
        Ok(Some(Ok(piece))) => Ok(Some(piece)),
        Ok(Some(Err(PayloadError::Overflow))) => Err(too_large(0)),
        Ok(Some(Err(error))) => Err(Error::invalid("body: ended too early").because(error)),
        Err(_) => {
            Err(Error::new(Code::Timeout, format!("body: did not arrive within {} s", within.as_secs())))
        }
    }
}

fn check(body: Bytes, limit: usize) -> Result<Bytes> {
    if body.len() > limit { Err(too_large(limit as u64)) } else { Ok(body) }
}

/// Beyond `limit` bytes.
pub(super) fn too_large(limit: u64) -> Error {
    Error::new(Code::TooLarge, format!("body: larger than {limit} bytes"))
}
