//! Ledgers that the history does not bear out.

use uuid::Uuid;

use super::{super::fold::Ring, *};

const UUID: Uuid = Uuid::from_u128(5);

fn sent(id: i64, offset: u64, text: &str) -> Entry {
    Entry::Message { workbox: 1, id, uuid: UUID, offset, person: 7, text: hash(text.as_bytes()), at: 100 }
}

fn edited(text: &str, acknowledged: bool) -> Entry {
    Entry::Edit { workbox: 1, id: 1, text: hash(text.as_bytes()), acknowledged, at: 200 }
}

fn deleted(acknowledged: bool) -> Entry {
    Entry::Delete { workbox: 1, id: 1, acknowledged, at: 300 }
}

fn stored(text: &str, deleted: bool) -> HashMap<String, Fold> {
    let mut fold = Fold::new("workbox:1");
    (fold.first, fold.last) = (1, 4);
    let one = Message {
        uuid: UUID.to_string(),
        person: 7,
        text: hash(text.as_bytes()),
        offset: 4,
        deleted,
        trail: vec!["offset 4".to_owned()],
    };
    fold.messages.insert(1, one);
    fold.marks.insert(7, (1, 1));
    HashMap::from([("workbox:1".to_owned(), fold)])
}

fn found(entries: &[Entry], folds: &HashMap<String, Fold>) -> &'static str {
    messages(entries, folds).expect_err("nothing was found").property
}

const MISSING: &str = "nothing acknowledged is missing";

#[test]
fn what_was_acknowledged_and_is_there_passes() {
    assert_eq!(messages(&[sent(1, 4, "a")], &stored("a", false)).unwrap(), 1);
    messages(&[sent(1, 4, "a"), edited("b", true)], &stored("b", false)).unwrap();
    messages(&[sent(1, 4, "a"), deleted(true)], &stored("", true)).unwrap();
    // Without an answer both is right.
    messages(&[sent(1, 4, "a"), edited("b", false)], &stored("a", false)).unwrap();
    messages(&[sent(1, 4, "a"), edited("b", false)], &stored("b", false)).unwrap();
    messages(&[sent(1, 4, "a"), deleted(false)], &stored("a", false)).unwrap();
    messages(&[sent(1, 4, "a"), deleted(false)], &stored("", true)).unwrap();
}

#[test]
fn a_lost_message_edit_or_deletion_is_caught_with_its_trail() {
    let lost = messages(&[sent(2, 5, "a")], &stored("a", false)).unwrap_err();
    assert_eq!((lost.property, lost.subject.as_str()), (MISSING, "message 2 of workbox:1"));
    assert!(lost.trail[0].contains("acknowledged at offset 5"), "{:?}", lost.trail);
    assert_eq!(found(&[sent(1, 4, "a"), edited("b", true)], &stored("a", false)), MISSING);
    assert_eq!(found(&[sent(1, 4, "a"), deleted(true)], &stored("a", false)), MISSING);
}

#[test]
fn a_message_at_another_place_or_with_another_text_is_caught() {
    assert_eq!(found(&[sent(1, 3, "a")], &stored("a", false)), MISSING);
    assert_eq!(found(&[sent(1, 4, "a")], &stored("b", false)), MISSING);
    assert_eq!(found(&[sent(1, 4, "a")], &stored("", true)), "nothing happens unasked");
}

#[test]
fn a_receipt_that_fell_behind_is_caught() {
    let mark = |received, read| Entry::Receipt { workbox: 1, person: 7, received, read, at: 1 };
    assert_eq!(receipts(&[mark(1, 0), mark(1, 1)], &stored("a", false)).unwrap(), 2);
    assert_eq!(receipts(&[mark(2, 1)], &stored("a", false)).unwrap_err().property, MISSING);
    assert_eq!(receipts(&[mark(1, 2)], &stored("a", false)).unwrap_err().property, "watermarks only grow");
}

#[test]
fn a_ring_with_another_outcome_is_caught() {
    let told = |outcome: &str| Entry::Ring {
        session: "s".to_owned(),
        request: UUID,
        outcome: outcome.to_owned(),
        person: 7,
        at: 1,
    };
    let mut fold = Fold::new("session:s");
    fold.rings.insert(UUID.to_string(), Ring { started: 1, outcomes: vec!["declined".to_owned()] });
    let folds = HashMap::from([("session:s".to_owned(), fold)]);
    assert_eq!(rings(&[told("ringing"), told("declined")], &folds).unwrap(), 2);
    assert_eq!(rings(&[told("accepted")], &folds).unwrap_err().property, MISSING);
    let none = HashMap::from([("session:s".to_owned(), Fold::new("session:s"))]);
    assert_eq!(rings(&[told("declined")], &none).unwrap_err().property, MISSING);
}

#[test]
fn a_push_that_never_came_is_caught() {
    let watcher = |last, is_live| Watcher {
        client: "c".to_owned(),
        channel: "workbox:1".to_owned(),
        first: 1,
        last,
        is_live,
        announced: Vec::new(),
    };
    let (entries, folds) = ([sent(1, 4, "a")], stored("a", false));
    watchers(&[watcher(4, true), watcher(2, false)], &entries, &folds).unwrap();
    assert_eq!(watchers(&[watcher(3, true)], &entries, &folds).unwrap_err().property, "no push is lost");
    assert_eq!(watchers(&[watcher(5, true)], &entries, &folds).unwrap_err().property, MISSING);
}

#[test]
fn rest_that_tells_another_story_is_caught() {
    let folds = stored("a", false);
    let fold = &folds["workbox:1"];
    let one = Shown { id: 1, uuid: UUID.to_string(), person: 7, text: "a".to_owned(), deleted: false };
    shown(fold, std::slice::from_ref(&one)).unwrap();
    let property = |list: &[Shown]| shown(fold, list).unwrap_err().property;
    assert_eq!(property(&[]), MISSING);
    assert_eq!(property(&[one.clone(), one.clone()]), "nothing twice");
    assert_eq!(property(&[Shown { text: "b".to_owned(), ..one.clone() }]), "one truth");
    assert_eq!(property(&[one.clone(), Shown { id: 2, ..one.clone() }]), "one truth");
    let list = [one];
    assert_eq!((unread(&list, 8, 0), unread(&list, 8, 1), unread(&list, 7, 0)), (1, 0, 0));
}
