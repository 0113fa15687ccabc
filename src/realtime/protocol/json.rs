//! Replies as JSON text. Written by hand: empty fields are left out exactly as the reference implementation does, and
//! raw data is copied without being read.

use bytes::Bytes;

use super::{
    ClientInfo, ConnectResult, Empty, Error, HistoryResult, Presence, PresenceResult, Publication, Push,
    Reply, SubscribeResult,
};

/// Writes one reply, without a newline at its end.
pub(super) fn write_reply(out: &mut Vec<u8>, reply: &Reply) {
    object(out, |o| {
        o.number("id", reply.id.into());
        o.message("error", reply.error.as_ref(), error);
        o.message("push", reply.push.as_ref(), push);
        o.message("connect", reply.connect.as_ref(), connect);
        o.message("subscribe", reply.subscribe.as_ref(), subscribe);
        for (name, value) in
            [("unsubscribe", &reply.unsubscribe), ("publish", &reply.publish), ("ping", &reply.ping)]
        {
            o.message(name, value.as_ref(), |_, Empty {}| ());
        }
        o.message("presence", reply.presence.as_ref(), presence);
        o.message("presence_stats", reply.presence_stats.as_ref(), |o, stats| {
            o.number_always("num_clients", stats.num_clients.into());
            o.number_always("num_users", stats.num_users.into());
        });
        o.message("history", reply.history.as_ref(), history);
        o.message("rpc", reply.rpc.as_ref(), |o, result| o.raw("data", &result.data));
        o.message("refresh", reply.refresh.as_ref(), |o, result| {
            o.text("client", &result.client);
            o.text("version", &result.version);
            o.flag("expires", result.expires);
            o.number("ttl", result.ttl.into());
        });
        o.message("sub_refresh", reply.sub_refresh.as_ref(), |o, result| {
            o.flag("expires", result.expires);
            o.number("ttl", result.ttl.into());
        });
    });
}

/// Writes `{"push":{"channel":C,"pub":{..}}}`, or with `id` for a number in place of the name.
pub(super) fn write_publication_push(out: &mut Vec<u8>, channel: &str, id: i64, value: &Publication) {
    object(out, |o| {
        o.nested("push", |o| {
            if id == 0 {
                o.text("channel", channel);
            } else {
                o.signed("id", id);
            }
            o.nested("pub", |o| publication(o, value));
        });
    });
}

fn error(o: &mut Object, error: &Error) {
    o.number("code", error.code.into());
    o.text("message", &error.message);
    o.flag("temporary", error.temporary);
}

fn push(o: &mut Object, push: &Push) {
    if push.id != 0 {
        o.signed("id", push.id);
    }
    o.text("channel", &push.channel);
    o.message("pub", push.publication.as_ref(), publication);
    o.message("join", push.join.as_ref(), info);
    o.message("leave", push.leave.as_ref(), info);
    o.message("unsubscribe", push.unsubscribe.as_ref(), |o, end| {
        o.number("code", end.code.into());
        o.text("reason", &end.reason);
    });
    o.message("message", push.message.as_ref(), |o, message| o.raw("data", &message.data));
    o.message("subscribe", push.subscribe.as_ref(), |o, begin| {
        o.flag("recoverable", begin.recoverable);
        o.text("epoch", &begin.epoch);
        o.number("offset", begin.offset);
        o.flag("positioned", begin.positioned);
        o.raw("data", &begin.data);
    });
    o.message("disconnect", push.disconnect.as_ref(), |o, end| {
        o.number("code", end.code.into());
        o.text("reason", &end.reason);
        o.flag("reconnect", end.reconnect);
    });
}

fn info(o: &mut Object, presence: &Presence) {
    o.message("info", presence.info.as_ref(), client_info);
}

fn client_info(o: &mut Object, info: &ClientInfo) {
    o.text_always("user", &info.user);
    o.text_always("client", &info.client);
    o.raw("conn_info", &info.conn_info);
    o.raw("chan_info", &info.chan_info);
}

fn publication(o: &mut Object, publication: &Publication) {
    o.raw("data", &publication.data);
    o.message("info", publication.info.as_ref(), client_info);
    o.number("offset", publication.offset);
    if !publication.tags.is_empty() {
        o.nested("tags", |o| publication.tags.iter().for_each(|(name, value)| o.text_always(name, value)));
    }
    o.flag("delta", publication.delta);
}

fn publications(o: &mut Object, all: &[Publication]) {
    o.key("publications");
    o.out.push(b'[');
    for (index, one) in all.iter().enumerate() {
        if index > 0 {
            o.out.push(b',');
        }
        object(o.out, |o| publication(o, one));
    }
    o.out.push(b']');
}

fn connect(o: &mut Object, result: &ConnectResult) {
    o.text("client", &result.client);
    o.text("version", &result.version);
    o.flag("expires", result.expires);
    o.number("ttl", result.ttl.into());
    o.raw("data", &result.data);
    if !result.subs.is_empty() {
        o.nested("subs", |o| {
            result.subs.iter().for_each(|(channel, sub)| o.nested(channel, |o| subscribe(o, sub)));
        });
    }
    o.number("ping", result.ping.into());
    o.flag("pong", result.pong);
    o.text("session", &result.session);
    o.text("node", &result.node);
}

fn subscribe(o: &mut Object, result: &SubscribeResult) {
    o.flag("expires", result.expires);
    o.number("ttl", result.ttl.into());
    o.flag("recoverable", result.recoverable);
    o.text("epoch", &result.epoch);
    if !result.publications.is_empty() {
        publications(o, &result.publications);
    }
    o.flag("recovered", result.recovered);
    o.number("offset", result.offset);
    o.flag("positioned", result.positioned);
    o.raw("data", &result.data);
    o.flag("was_recovering", result.was_recovering);
    o.flag("delta", result.delta);
    if result.id != 0 {
        o.signed("id", result.id);
    }
}

fn presence(o: &mut Object, result: &PresenceResult) {
    o.nested("presence", |o| {
        result.presence.iter().for_each(|(client, info)| o.nested(client, |o| client_info(o, info)));
    });
}

fn history(o: &mut Object, result: &HistoryResult) {
    publications(o, &result.publications);
    o.text_always("epoch", &result.epoch);
    o.number_always("offset", result.offset);
}

struct Object<'a> {
    out: &'a mut Vec<u8>,
    first: bool,
}

fn object(out: &mut Vec<u8>, fields: impl FnOnce(&mut Object)) {
    out.push(b'{');
    fields(&mut Object { out, first: true });
    out.push(b'}');
}

impl Object<'_> {
    fn key(&mut self, name: &str) {
        if !std::mem::replace(&mut self.first, false) {
            self.out.push(b',');
        }
        write_text(self.out, name);
        self.out.push(b':');
    }

    fn nested(&mut self, name: &str, fields: impl FnOnce(&mut Object)) {
        self.key(name);
        object(self.out, fields);
    }

    fn message<T>(&mut self, name: &str, value: Option<&T>, fields: impl FnOnce(&mut Object, &T)) {
        if let Some(value) = value {
            self.nested(name, |o| fields(o, value));
        }
    }

    fn text(&mut self, name: &str, value: &str) {
        if !value.is_empty() {
            self.text_always(name, value);
        }
    }

    fn text_always(&mut self, name: &str, value: &str) {
        self.key(name);
        write_text(self.out, value);
    }

    fn number(&mut self, name: &str, value: u64) {
        if value != 0 {
            self.number_always(name, value);
        }
    }

    fn number_always(&mut self, name: &str, value: u64) {
        self.key(name);
        self.out.extend_from_slice(value.to_string().as_bytes());
    }

    fn signed(&mut self, name: &str, value: i64) {
        self.key(name);
        self.out.extend_from_slice(value.to_string().as_bytes());
    }

    fn flag(&mut self, name: &str, value: bool) {
        if value {
            self.key(name);
            self.out.extend_from_slice(b"true");
        }
    }

    /// Copies JSON text. Line breaks, which separate messages on the wire, can only be white space between tokens
    /// there and are dropped.
    fn raw(&mut self, name: &str, value: &Bytes) {
        if value.is_empty() {
            return;
        }
        self.key(name);
        if value.iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
            self.out.extend(value.iter().filter(|byte| !matches!(byte, b'\n' | b'\r')));
        } else {
            self.out.extend_from_slice(value);
        }
    }
}

fn write_text(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("writing text to memory cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::realtime::protocol::{Encoding, encode_publication, encode_reply};

    fn text(reply: &Reply) -> String {
        String::from_utf8(encode_reply(Encoding::Json, reply).to_vec()).unwrap()
    }

    #[test]
    fn empty_fields_are_left_out() {
        assert_eq!(text(&Reply::default()), "{}");
        let reply = Reply { id: 3, publish: Some(Empty {}), ..Reply::default() };
        assert_eq!(text(&reply), r#"{"id":3,"publish":{}}"#);
        let reply = Reply { id: 1, subscribe: Some(SubscribeResult::default()), ..Reply::default() };
        assert_eq!(text(&reply), r#"{"id":1,"subscribe":{}}"#);
        let reply = Reply { id: 1, history: Some(HistoryResult::default()), ..Reply::default() };
        assert_eq!(text(&reply), r#"{"id":1,"history":{"publications":[],"epoch":"","offset":0}}"#);
    }

    #[test]
    fn publications_by_name_and_by_number() {
        let publication = Publication { data: "{\"a\":\n1}".into(), offset: 5, ..Publication::default() };
        let named = encode_publication(Encoding::Json, "user:\"7", 0, &publication);
        assert_eq!(named, r#"{"push":{"channel":"user:\"7","pub":{"data":{"a":1},"offset":5}}}"#);
        let numbered = encode_publication(Encoding::Json, "user:7", 12, &publication);
        assert_eq!(numbered, r#"{"push":{"id":12,"pub":{"data":{"a":1},"offset":5}}}"#);
    }

    #[test]
    fn protobuf_push_is_length_delimited() {
        use prost::Message as _;
        let publication = Publication { data: "1".into(), offset: 5, ..Publication::default() };
        let bytes = encode_publication(Encoding::Protobuf, "c", 0, &publication);
        let reply = Reply::decode_length_delimited(bytes).unwrap();
        assert_eq!(reply.push.unwrap().publication.unwrap(), publication);
    }
}
