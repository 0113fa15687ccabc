//! Histories that are broken on purpose.

use serde_json::json;

use super::*;

fn event(number: u64, kind: &str, data: &Value) -> Vec<u8> {
    let id = format!("01a204e7-e525-7615-9929-{number:012x}");
    // The id comes first, as the server writes it.
    format!(r#"{{"id":"{id}","type":"{kind}","data":{data}}}"#).into_bytes()
}

fn message(number: u64, id: i64, uuid: &str, text: &str) -> Vec<u8> {
    let metadata = json!({ "message": text }).to_string();
    event(
        number,
        "message.created",
        &json!({ "id": id, "uuid": uuid, "metadata": metadata, "user": { "id": 7 } }),
    )
}

fn receipt(number: u64, received: i64, read: i64) -> Vec<u8> {
    event(
        number,
        "receipt.updated",
        &json!({ "receipts": [{ "user_id": 7, "received_id": received, "read_id": read }] }),
    )
}

fn ring(number: u64, what: &str) -> Vec<u8> {
    event(number, &format!("ring.{what}"), &json!({ "request_id": "r" }))
}

fn call(number: u64, kind: &str) -> Vec<u8> {
    event(number, kind, &json!({ "call_id": "c", "user": { "id": 7 } }))
}

fn fold(events: &[(u64, Vec<u8>)]) -> Result<Fold, Box<Violation>> {
    let mut fold = Fold::new("workbox:1");
    for (offset, data) in events {
        fold.event(*offset, data)?;
    }
    Ok(fold)
}

fn property(events: &[(u64, Vec<u8>)]) -> &'static str {
    let head = events.last().map_or(0, |(offset, _)| *offset);
    fold(events)
        .and_then(|fold| fold.head(head))
        .and_then(|fold| fold.ended())
        .expect_err("nothing was found")
        .property
}

#[test]
fn a_sound_history_passes_and_adds_up() {
    let edited = json!({ "id": 1, "metadata": "{\"message\":\"b\"}" });
    let all = [
        (1, message(1, 1, "u", "a")),
        (2, event(2, "message.edited", &edited)),
        (3, receipt(3, 1, 0)),
        (4, receipt(4, 1, 1)),
        (5, event(5, "message.deleted", &json!({ "id": 1, "metadata": "{}" }))),
        (6, ring(6, "started")),
        (7, ring(7, "accepted")),
        (8, call(8, "call.started")),
        (9, call(9, "participant.joined")),
        (10, call(10, "participant.left")),
        (11, call(11, "call.ended")),
    ];
    let fold = fold(&all).unwrap();
    let fold = fold.head(11).unwrap();
    fold.ended().unwrap();
    let one = &fold.messages[&1];
    assert_eq!((one.text, one.deleted, one.offset, one.person), (hash(b"b"), true, 1, 7));
    assert_eq!(fold.marks[&7], (1, 1));
    assert!(!fold.is_open());
}

#[test]
fn a_hole_is_caught() {
    assert_eq!(property(&[(1, receipt(1, 0, 0)), (3, receipt(3, 0, 0))]), "no gap");
    // The newest event is lost: the head says so.
    let short = fold(&[(1, receipt(1, 0, 0))]).unwrap();
    assert_eq!(short.head(2).unwrap_err().property, "no gap");
}

#[test]
fn an_offset_or_an_event_that_comes_twice_is_caught() {
    assert_eq!(property(&[(1, receipt(1, 0, 0)), (1, receipt(2, 0, 0))]), "no gap");
    assert_eq!(property(&[(1, receipt(1, 0, 0)), (2, receipt(1, 0, 0))]), "nothing twice");
}

#[test]
fn a_message_that_is_stored_twice_is_caught() {
    assert_eq!(property(&[(1, message(1, 1, "u", "a")), (2, message(2, 2, "u", "a"))]), "nothing twice");
    assert_eq!(property(&[(1, message(1, 1, "u", "a")), (2, message(2, 1, "v", "a"))]), "nothing twice");
}

#[test]
fn an_edit_before_its_message_is_caught() {
    let early = event(1, "message.edited", &json!({ "id": 1, "metadata": "{}" }));
    assert_eq!(property(&[(1, early), (2, message(2, 1, "u", "a"))]), "one order");
}

#[test]
fn marks_that_fall_are_caught() {
    assert_eq!(property(&[(1, receipt(1, 5, 5)), (2, receipt(2, 5, 4))]), "watermarks only grow");
}

#[test]
fn rings_without_and_with_too_many_ends_are_caught() {
    assert_eq!(property(&[(1, ring(1, "started"))]), "one outcome per ring");
    let both = [(1, ring(1, "started")), (2, ring(2, "accepted")), (3, ring(3, "cancelled"))];
    assert_eq!(property(&both), "one outcome per ring");
    assert_eq!(property(&[(1, ring(1, "accepted"))]), "one outcome per ring");
}

#[test]
fn calls_and_people_that_stay_are_caught() {
    assert_eq!(property(&[(1, call(1, "call.started"))]), "no call without an end");
    let left = [(1, call(1, "call.started")), (2, call(2, "participant.joined")), (3, call(3, "call.ended"))];
    assert_eq!(property(&left), "nobody left behind");
}

#[test]
fn a_forked_order_is_caught() {
    let fold = fold(&[(1, receipt(1, 0, 0)), (2, receipt(2, 0, 0)), (3, receipt(3, 0, 0))]).unwrap();
    let seen = |events: &[u64]| Seen { channel: "workbox:1".to_owned(), first: 1, events: events.to_vec() };
    let [one, two, three] = fold.events[..] else { panic!() };
    fold.agrees_with(&seen(&[one, 0, three])).unwrap();
    assert_eq!(fold.agrees_with(&seen(&[one, three, two])).unwrap_err().property, "one order");
    let beyond = fold.agrees_with(&seen(&[one, two, three, 9])).unwrap_err();
    assert_eq!(beyond.property, "nothing acknowledged is missing");
}
