//! Names on NATS: `switchboard.<org>.<stream kind>.<stream id>.<type>`.

use std::fmt::Write as _;

use crate::domain::{event::StreamKind, ids::OrgId};

/// First token of stored events' subjects.
pub const STORED: &str = "switchboard";
/// First token of ephemeral events' subjects.
pub const LIVE: &str = "switchboard-live";

/// The subject of a stored event; `stream_id` is the channel behind its colon, `kind` keeps its dots.
pub fn stored(organization: OrgId, stream: StreamKind, stream_id: &str, kind: &str) -> String {
    subject(STORED, organization, stream, stream_id, kind)
}

/// The subject of an ephemeral event.
pub fn live(organization: OrgId, stream: StreamKind, stream_id: &str, kind: &str) -> String {
    subject(LIVE, organization, stream, stream_id, kind)
}

fn subject(root: &str, organization: OrgId, stream: StreamKind, stream_id: &str, kind: &str) -> String {
    let mut subject = format!("{root}.{organization}.{}.", stream.name());
    encode_part(&mut subject, stream_id);
    for word in kind.split('.') {
        subject.push('.');
        encode_part(&mut subject, word);
    }
    subject
}

/// Percent-encodes what lies outside `[A-Za-z0-9_-]`, with `=` for `%`.
fn encode_part(subject: &mut String, part: &str) {
    for byte in part.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-') {
            subject.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(subject, "={byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_of_the_type_stay_and_nothing_else_separates() {
        assert_eq!(
            stored(OrgId(12), StreamKind::Workbox, "42", "message.created"),
            "switchboard.12.workbox.42.message.created"
        );
        assert_eq!(
            live(OrgId(1), StreamKind::Session, "a.b *>=é", "typing"),
            "switchboard-live.1.session.a=2Eb=20=2A=3E=3D=C3=A9.typing"
        );
    }
}
