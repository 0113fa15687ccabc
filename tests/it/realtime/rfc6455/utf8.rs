//! 6 texts in UTF-8, right and wrong, whole and cut within characters.

use super::{
    super::raw::{Back, Wire},
    Case, begin, end, more, ping, ponged, run, text,
};

/// Bytes within a command, with what they are an example of.
type Sequences = &'static [(&'static str, &'static [u8])];

const VALID: Sequences = &[
    ("6.2 letters of Latin scripts", "Hello-µ@ßöäüàá-UTF-8!!".as_bytes()),
    ("6.5 Greek", "κόσμε".as_bytes()),
    ("6.7 the first character of two bytes", b"\xc2\x80"),
    ("6.7 the first character of three bytes", b"\xe0\xa0\x80"),
    ("6.7 the first character of four bytes", b"\xf0\x90\x80\x80"),
    ("6.9 the last character of one byte", b"\x7f"),
    ("6.9 the last character of two bytes", b"\xdf\xbf"),
    ("6.9 the last character of three bytes", b"\xef\xbf\xbf"),
    ("6.9 the last character of four bytes", b"\xf4\x8f\xbf\xbf"),
    ("6.11 before the surrogates", b"\xed\x9f\xbf"),
    ("6.11 after the surrogates", b"\xee\x80\x80"),
    ("6.11 the replacement character", b"\xef\xbf\xbd"),
    ("6.22 non-characters", b"\xef\xbf\xbe\xf0\x9f\xbf\xbe\xf0\x9f\xbf\xbf\xf0\xaf\xbf\xbe\xf1\x8f\xbf\xbf"),
    ("6.22 more of them", b"\xf2\x8f\xbf\xbe\xf3\x8f\xbf\xbf\xf3\xbf\xbf\xbe\xef\xb7\x90"),
    ("6.23 unassigned and private ones", b"\xef\xbf\xbc\xf3\xb0\x80\x80\xee\x80\x80\xf4\x80\x80\x80"),
];

const INVALID: Sequences = &[
    ("6.3 a surrogate within Greek", b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited"),
    ("6.4 beyond the last character", b"\xce\xba\xe1\xbd\xb9\xf4\x90\x80\x80edited"),
    ("6.6 a character cut after one of two bytes", b"\xce"),
    ("6.6 a character cut after one of three bytes", b"\xce\xba\xe1"),
    ("6.6 a character cut after two of three bytes", b"\xce\xba\xe1\xbd"),
    ("6.8 the first sequence of five bytes", b"\xf8\x88\x80\x80\x80"),
    ("6.8 the first sequence of six bytes", b"\xfc\x84\x80\x80\x80\x80"),
    ("6.10 the last sequence of four bytes", b"\xf7\xbf\xbf\xbf"),
    ("6.10 the last sequence of five bytes", b"\xfb\xbf\xbf\xbf\xbf"),
    ("6.10 the last sequence of six bytes", b"\xfd\xbf\xbf\xbf\xbf\xbf"),
    ("6.11 after the last character", b"\xf4\x90\x80\x80"),
    ("6.12 the first continuation byte", b"\x80"),
    ("6.12 the last continuation byte", b"\xbf"),
    ("6.12 two of them", b"\x80\xbf"),
    ("6.12 seven of them", b"\x80\xbf\x80\xbf\x80\xbf\x80"),
    ("6.12 all of them", b"\x80\x81\x82\x83\x90\x91\xa0\xb0\xbe\xbf"),
    ("6.13 starts of two bytes", b"\xc0 \xc1 \xc2 \xd0 \xdf "),
    ("6.13 starts of three bytes", b"\xe0 \xe1 \xe8 \xef "),
    ("6.13 starts of four bytes", b"\xf0 \xf1 \xf4 \xf7 "),
    ("6.13 starts of five bytes", b"\xf8 \xf9 \xfb "),
    ("6.13 starts of six bytes", b"\xfc \xfd "),
    ("6.14 two bytes without their last", b"\xdf"),
    ("6.14 three bytes without their last", b"\xef\xbf"),
    ("6.14 four bytes without their last", b"\xf7\xbf\xbf"),
    ("6.14 five bytes without their last", b"\xfb\xbf\xbf\xbf"),
    ("6.14 six bytes without their last", b"\xfd\xbf\xbf\xbf\xbf"),
    (
        "6.15 all of these",
        b"\xc0\xe0\x80\xf0\x80\x80\xf8\x80\x80\x80\xdf\xef\xbf\xf7\xbf\xbf\xfb\xbf\xbf\xbf",
    ),
    ("6.16 impossible bytes", b"\xfe"),
    ("6.16 the last of them", b"\xff"),
    ("6.16 four of them", b"\xfe\xfe\xff\xff"),
    ("6.17 a slash in two bytes", b"\xc0\xaf"),
    ("6.17 a slash in three bytes", b"\xe0\x80\xaf"),
    ("6.17 a slash in four bytes", b"\xf0\x80\x80\xaf"),
    ("6.17 a slash in five bytes", b"\xf8\x80\x80\x80\xaf"),
    ("6.17 a slash in six bytes", b"\xfc\x80\x80\x80\x80\xaf"),
    ("6.18 the most that two bytes are too many for", b"\xc1\xbf"),
    ("6.18 the same for three bytes", b"\xe0\x9f\xbf"),
    ("6.18 the same for four bytes", b"\xf0\x8f\xbf\xbf"),
    ("6.19 NUL in two bytes", b"\xc0\x80"),
    ("6.19 NUL in three bytes", b"\xe0\x80\x80"),
    ("6.19 NUL in four bytes", b"\xf0\x80\x80\x80"),
    ("6.20 the first surrogate", b"\xed\xa0\x80"),
    ("6.20 the last of the high ones", b"\xed\xaf\xbf"),
    ("6.20 the first of the low ones", b"\xed\xb0\x80"),
    ("6.20 the last surrogate", b"\xed\xbf\xbf"),
    ("6.21 a pair of surrogates", b"\xed\xa0\x80\xed\xb0\x80"),
    ("6.21 another pair", b"\xed\xaf\xbf\xed\xbf\xbf"),
];

/// An echo whose text is exactly these bytes.
fn command(bytes: &[u8]) -> Vec<u8> {
    let around = String::from_utf8(Wire::Json.echo(2, "|")).unwrap();
    let (before, after) = around.split_once('|').unwrap();
    [before.as_bytes(), bytes, after.as_bytes()].concat()
}

/// A message, each byte of which is a fragment, with a ping where the middle is.
fn dissolved(message: &[u8]) -> Vec<u8> {
    let middle = message.len() / 2;
    let fragments = message.iter().enumerate().map(|(index, byte)| match index {
        0 => begin([*byte]),
        index if index == middle => [ping("middle"), more([*byte])].concat(),
        _ => more([*byte]),
    });
    fragments.chain([end("")]).flatten().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn valid_sequences() {
    let mut cases = Vec::new();
    for (name, bytes) in VALID {
        let answer = || Back::Echo(2, String::from_utf8(bytes.to_vec()).unwrap());
        let message = command(bytes);
        cases.push(Case::new(*name, Wire::Json, [text(&message)], [answer()]));
        let back = [ponged("middle"), answer()];
        cases.push(Case::new(format!("{name}, dissolved"), Wire::Json, [dissolved(&message)], back));
    }
    run(cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_sequences() {
    let mut cases = Vec::new();
    for (name, bytes) in INVALID {
        let message = command(bytes);
        cases.push(Case::new(*name, Wire::Json, [text(&message), ping("never")], [Back::Close(1007)]));
        let back = [ponged("middle"), Back::Close(1007)];
        cases.push(Case::new(format!("{name}, dissolved"), Wire::Json, [dissolved(&message)], back));
    }
    run(cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_bytes_are_other_refusals() {
    // Control characters are UTF-8, but no JSON unless they are escaped.
    let cases = (0..0x20).map(|byte| {
        let name = format!("6.7 the control character {byte:#x}");
        Case::new(name, Wire::Json, [text(command(&[byte]))], [Back::Close(3501)])
    });
    run(cases.collect()).await;
}
