//! 9 limits, 10 messages that a client's library cuts up by itself.

use super::{
    super::raw::{BINARY, Back, FIN, TEXT, Wire, frame},
    Case, cases, echo, end, more, run, text,
};

/// Longest message of the server's options.
const LIMIT: usize = 65_536;

/// A message in fragments of that size.
fn cut(wire: Wire, payload: &[u8], size: usize) -> Vec<u8> {
    let count = payload.len().div_ceil(size);
    let fragment = |(index, piece)| {
        let first = if index == 0 { wire.opcode() } else { 0 };
        let last = if index + 1 == count { FIN } else { 0 };
        frame(first | last, piece)
    };
    payload.chunks(size).enumerate().flat_map(fragment).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn long_messages() {
    let mut cases = Vec::new();
    for (wire, family) in [(Wire::Json, "9.3"), (Wire::Protobuf, "9.4")] {
        for size in [64, 256, 1_024, 1_300, 4_096, 16_384, 32_768, 65_535] {
            let (payload, data) = wire.echo_of(9, LIMIT);
            let sent = [cut(wire, &payload, size)];
            let name = format!("{family}, 10.1 {LIMIT} bytes in fragments of {size}");
            cases.push(Case::new(name, wire, sent, [Back::Echo(9, data)]));
        }
        let (payload, data) = wire.echo_of(9, 1_000);
        let sent = [cut(wire, &payload, 1)];
        cases.push(Case::new(format!("{family} in fragments of a byte"), wire, sent, [Back::Echo(9, data)]));
        let (payload, _) = wire.echo_of(9, LIMIT + 1);
        let sent = [cut(wire, &payload, 1_300)];
        let name = format!("{family} fragments that are too long together");
        cases.push(Case::new(name, wire, sent, [Back::Close(1009)]));
    }
    run(cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_messages() {
    let mut cases = Vec::new();
    for (wire, family) in [(Wire::Json, "9.7"), (Wire::Protobuf, "9.8")] {
        for length in [64, 256, 1_024] {
            let echoes = (2..302).map(|id| (id, wire.echo_of(id, length)));
            let (sent, back): (Vec<_>, Vec<_>) = echoes
                .map(|(id, (payload, data))| (frame(FIN | wire.opcode(), &payload), Back::Echo(id, data)))
                .unzip();
            cases.push(Case::new(format!("{family} 300 messages of {length} bytes"), wire, sent, back));
        }
    }
    run(cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lengths_that_nobody_can_mean() {
    let declared = |first: u8, length: u64| [&[first, 0xff][..], &length.to_be_bytes(), &[0; 4]].concat();
    run(cases! {
        "9 a byte beyond the limit, declared": [declared(FIN | TEXT, 65_537)] => [Back::Close(1009)];
        "9 four gigabytes": [declared(FIN | TEXT, 1 << 32)] => [Back::Close(1009)];
        "9 the largest length": [declared(FIN | BINARY, i64::MAX.cast_unsigned())] => [Back::Close(1009)];
        "9 a length with its highest bit": [declared(FIN | TEXT, u64::MAX)] => [Back::Close(1009)];
        "9 a fragment that is too long by itself": [declared(TEXT, 65_537)] => [Back::Close(1009)];
        "9 one that is too long with those before": [frame(TEXT, &vec![b' '; 60_000]), more([b' '; 5_000]), end([b' '; 5_000])]
            => [Back::Close(1009)];
        "9 a command before": [text(echo(2, "x")), declared(FIN | TEXT, 1 << 40)]
            => [super::echoed(2, "x"), Back::Close(1009)];
    })
    .await;
}
