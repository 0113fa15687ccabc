//! 7 the closing handshake.

use super::{
    super::raw::{Back, CLOSE, FIN, Wire, frame},
    Case, begin, cases, echo, echoed, end, ping, run, text,
};

fn close(payload: impl AsRef<[u8]>) -> Vec<u8> {
    frame(FIN | CLOSE, payload.as_ref())
}

fn close_with(code: u16, reason: &[u8]) -> Vec<u8> {
    close([&code.to_be_bytes(), reason].concat())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_with_and_after_a_close() {
    let long = "*".repeat(60_000);
    run(cases! {
        "7.1.1 a command, then a close": [text(echo(2, "x")), close_with(1000, b"")] => [echoed(2, "x"), Back::Close(1000)];
        "7.1.2 a close after the close": [close_with(1000, b""), close_with(1001, b"")] => [Back::Close(1000)];
        "7.1.3 a ping after the close": [close_with(1000, b""), ping("x")] => [Back::Close(1000)];
        "7.1.4 a command after the close": [close_with(1000, b""), text(echo(2, "x"))] => [Back::Close(1000)];
        "7.1.5 a close within a message": [begin("{"), close_with(1000, b""), end("}")] => [Back::Close(1000)];
        "7.1.6 a long command, a close, a ping": [text(echo(2, &long)), close_with(1000, b""), ping("x")]
            => [echoed(2, &long), Back::Close(1000)];
        "7.1.7 what is no frame after the close": [close_with(1000, b""), vec![0xff; 20]] => [Back::Close(1000)];
        "7.3.1 a close without a code": [close("")] => [Back::Close(1000)];
        "7.3.2 half a code": [close([3])] => [Back::Close(1002)];
        "7.3.3 a code without a reason": [close_with(1000, b"")] => [Back::Close(1000)];
        "7.3.4 a code with a reason": [close_with(1000, b"Hello World!")] => [Back::Close(1000)];
        "7.3.5 the longest reason": [close_with(1000, &[b'*'; 123])] => [Back::Close(1000)];
        "7.3.6 a reason that is too long": [close_with(1000, &[b'*'; 124])] => [Back::Close(1002)];
        "7.5.1 a reason that is not UTF-8": [close_with(1000, b"\xce\xba\xe1\xbd\xb9\xed\xa0\x80edited")]
            => [Back::Close(1007)];
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn codes() {
    let mut cases = Vec::new();
    let allowed =
        [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999];
    let refused = [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535];
    let codes = allowed.map(|code| (code, code)).into_iter().chain(refused.map(|code| (code, 1002)));
    for (code, answer) in codes {
        for (wire, family) in [(Wire::Json, "7.7, 7.9"), (Wire::Protobuf, "7.13")] {
            for reason in ["", "a reason"] {
                let name = format!("{family} code {code} {reason}");
                let sent = [close_with(code, reason.as_bytes())];
                cases.push(Case::new(name, wire, sent, [Back::Close(answer)]));
            }
        }
    }
    run(cases).await;
}
