//! 1 framing, 2 pings and pongs, 3 reserved bits, 4 opcodes, 5 fragments.

use super::{
    super::raw::{BINARY, Back, CLOSE, CONTINUATION, FIN, PING, PONG, TEXT, Wire, frame},
    Case, begin, cases, echo, echoed, end, more, ping, pong, ponged, run, text,
};

/// Longest message of the server's options.
const LIMIT: usize = 65_536;

#[tokio::test(flavor = "multi_thread")]
async fn lengths() {
    let mut cases = cases! {
        "1.1.1 an empty text is no command": [text("")] => [Back::Close(3501)];
        "1.1.2 the shortest text: an answer to the server's ping": [text("{}")] => [];
        "1.1.3 the shortest command": [text(Wire::Json.ping(2))] => [Back::Reply(2)];
        "1.3.1 binary where text was agreed": [frame(FIN | BINARY, b"{}")] => [Back::Close(1003)];
    };
    cases.push(Case::new(
        "1.3.2 text where binary was agreed",
        Wire::Protobuf,
        [text("{}")],
        [Back::Close(1003)],
    ));
    let empty = frame(FIN | BINARY, b"");
    cases.push(Case::new(
        "1.2.1 an empty message is no command",
        Wire::Protobuf,
        [empty],
        [Back::Close(3501)],
    ));
    cases.push(Case::new("1.2.2 the shortest message", Wire::Protobuf, [frame(FIN | BINARY, b"\0")], []));
    for (wire, family) in [(Wire::Json, "1.1"), (Wire::Protobuf, "1.2")] {
        for length in [124, 125, 126, 127, 128, 65_535, LIMIT] {
            // No Protobuf message has a length that its own prefix skips.
            let (payload, data) = wire.echo_of(9, length);
            let sent = [frame(FIN | wire.opcode(), &payload)];
            cases.push(Case::new(format!("{family} {length} bytes"), wire, sent, [Back::Echo(9, data)]));
        }
        let (payload, _) = wire.echo_of(9, LIMIT + 1);
        let sent = [frame(FIN | wire.opcode(), &payload)];
        cases.push(Case::new(format!("{family} beyond the limit"), wire, sent, [Back::Close(1009)]));
    }
    run(cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pings_and_pongs() {
    let mut cases = cases! {
        "2.1 an empty ping": [ping("")] => [ponged("")];
        "2.2 a ping with text": [ping("Hello, world!")] => [ponged("Hello, world!")];
        "2.3 a ping with bytes": [ping([0x00, 0xff, 0xfe, 0xfd, 0xfc, 0xfb, 0x00, 0xff])]
            => [ponged([0x00, 0xff, 0xfe, 0xfd, 0xfc, 0xfb, 0x00, 0xff])];
        "2.4 the longest ping": [ping([0xfe; 125])] => [ponged([0xfe; 125])];
        "2.5 a ping that is too long": [ping([0xfe; 126])] => [Back::Close(1002)];
        "2.5 a pong that is too long": [pong([0xfe; 126])] => [Back::Close(1002)];
        "2.7 a pong that nobody asked for": [pong("")] => [];
        "2.8 one with a payload": [pong("unsolicited")] => [];
        "2.9 a pong, then a ping": [pong("unsolicited"), ping("asked")] => [ponged("asked")];
        "2.10 a ping between commands": [text(echo(2, "a")), ping("b"), text(echo(3, "c"))]
            => [echoed(2, "a"), ponged("b"), echoed(3, "c")];
    };
    let many: Vec<_> = (0..10).map(|number| ping(format!("payload {number}"))).collect();
    let back: Vec<_> = (0..10).map(|number| ponged(format!("payload {number}"))).collect();
    cases.push(Case::new("2.11 ten pings, ten pongs in their order", Wire::Json, many.clone(), back.clone()));
    cases.push(Case::new("2.12 the same in binary", Wire::Protobuf, many, back));
    run(cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reserved_bits() {
    let mut cases = Vec::new();
    for bits in 1..8_u8 {
        for opcode in [TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG] {
            let sent = [text(echo(2, "before")), frame(FIN | bits << 4 | opcode, b""), ping("never")];
            let back = [echoed(2, "before"), Back::Close(1002)];
            cases.push(Case::new(format!("3.{bits} opcode {opcode}"), Wire::Json, sent, back));
        }
    }
    run(cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn opcodes() {
    let mut cases = Vec::new();
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        for (payload, wire) in [("", Wire::Json), ("with a payload", Wire::Json), ("", Wire::Protobuf)] {
            let before = frame(FIN | wire.opcode(), &wire.echo(2, "before"));
            let sent = [before, frame(FIN | opcode, payload.as_bytes()), ping("never")];
            let back = [echoed(2, "before"), Back::Close(1002)];
            cases.push(Case::new(format!("4 opcode {opcode} {payload} {wire:?}"), wire, sent, back));
        }
    }
    run(cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fragments() {
    let whole = echo(2, "fragment one, fragment two");
    let (one, two) = whole.split_at(45);
    let pieces: Vec<_> = whole.chunks(15).collect();
    let [p1, p2, p3, p4, p5] = pieces[..] else { panic!("{} pieces", pieces.len()) };
    let answer = || echoed(2, "fragment one, fragment two");
    let mut cases = cases! {
        "5.1 a ping in two fragments": [frame(PING, b"a"), end("b")] => [Back::Close(1002)];
        "5.2 a pong in two fragments": [frame(PONG, b"a"), end("b")] => [Back::Close(1002)];
        "5.2 a close in two fragments": [frame(CLOSE, b"\x03"), end([0xe8])] => [Back::Close(1002)];
        "5.3 a text in two fragments": [begin(one), end(two)] => [answer()];
        "5.6 a ping between them": [begin(one), ping("between"), end(two)] => [ponged("between"), answer()];
        "5.6 a pong between them": [begin(one), pong("between"), end(two)] => [answer()];
        "5.7 empty fragments": [begin(""), more(one), more(""), more(two), end("")] => [answer()];
        "5.9 the end of nothing": [end("x"), text(echo(2, "x"))] => [Back::Close(1002)];
        "5.10 the end of nothing, empty": [end("")] => [Back::Close(1002)];
        "5.12 more of nothing": [more("x"), text(echo(2, "x"))] => [Back::Close(1002)];
        "5.13 more of nothing, empty": [more("")] => [Back::Close(1002)];
        "5.15 more of what has ended": [begin(one), end(two), more("x"), text(echo(3, "x"))]
            => [answer(), Back::Close(1002)];
        "5.16 more of nothing twice": [more("x"), text("x"), end("x")] => [Back::Close(1002)];
        "5.18 a new text within another": [begin(one), begin(two)] => [Back::Close(1002)];
        "5.18 a whole text within another": [begin(one), text(echo(3, "x"))] => [Back::Close(1002)];
        "5.18 a binary message within a text": [begin(one), frame(FIN | BINARY, two)] => [Back::Close(1002)];
        "5.19 five fragments with pings between them":
            [begin(p1), more(p2), ping("1"), more(p3), more(p4), ping("2"), end(p5)]
            => [ponged("1"), ponged("2"), answer()];
        "5.20 a message after a fragmented one": [begin(one), end(two), text(echo(3, "x"))]
            => [answer(), echoed(3, "x")];
        "5.21 a binary message in fragments, where text was agreed": [frame(BINARY, one), end(two)]
            => [Back::Close(1003)];
    };
    let binary = Wire::Protobuf.echo(2, "fragment one, fragment two");
    let mut sent: Vec<_> = binary.iter().map(|byte| more([*byte])).collect();
    sent[0] = frame(BINARY, &binary[..1]);
    sent.push(end(""));
    cases.push(Case::new("5.22 a byte in each fragment", Wire::Protobuf, sent, [answer()]));
    run(cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn masks_and_lengths_that_are_not_allowed() {
    let unmasked =
        |first: u8, payload: &[u8]| [&[first, u8::try_from(payload.len()).unwrap()][..], payload].concat();
    let long = |form: &[u8], payload: &[u8]| [&[FIN | TEXT][..], form, &[0; 4], payload].concat();
    run(cases! {
        "5.2 an unmasked text": [unmasked(FIN | TEXT, b"{}")] => [Back::Close(1002)];
        "5.2 an unmasked ping": [unmasked(FIN | PING, b"")] => [Back::Close(1002)];
        "5.2 an unmasked close": [unmasked(FIN | CLOSE, &[3, 0xe8])] => [Back::Close(1002)];
        "5.2 a mask of zeros": [[&[FIN | PING, 0x82, 0, 0, 0, 0][..], b"hi"].concat()] => [ponged("hi")];
        "5.2 two bytes for a length of 125": [long(&[0xfe, 0, 125], &[b' '; 125])] => [Back::Close(1002)];
        "5.2 two bytes for a length of 2": [long(&[0xfe, 0, 2], b"{}")] => [Back::Close(1002)];
        "5.2 eight bytes for a length of 65535": [long(&[0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff], b"")] => [Back::Close(1002)];
        "5.2 eight bytes for a length of 2": [long(&[0xff, 0, 0, 0, 0, 0, 0, 0, 2], b"{}")] => [Back::Close(1002)];
    })
    .await;
}
