//! The grammar by example and by property: it never panics, and what is written is read back.

use proptest::prelude::*;

use super::*;

static FIELDS: &[Field] = &[
    Field::new("id", "p.id", Kind::Int),
    Field::new("name", "p.name", Kind::Text),
    Field::new("email", "p.email_key", Kind::Folded),
    Field::new("updated_at", "p.updated_at", Kind::Time),
    Field::filter_only("active", "p.active", Kind::Bool),
    Field::filter_only("session.call_id", "s.call", Kind::Uuid),
];

fn parse(text: &str) -> Result<Vec<(&'static str, &'static str, Vec<Scalar>)>> {
    let filter = Filter::parse(Some(text), FIELDS)?;
    Ok(filter.conditions.into_iter().map(|c| (c.field.key, c.operator.text(), c.values)).collect())
}

fn text(values: &[&str]) -> Vec<Scalar> {
    values.iter().map(|v| Scalar::Text((*v).to_owned())).collect()
}

#[test]
fn every_operator_and_kind() {
    let time = Timestamp::parse_rfc3339("2024-05-01T10:00:00.000000Z").unwrap();
    let uuid = "0190b1c2-0000-7000-8000-000000000001".parse().unwrap();
    for (input, expected) in [
        ("id=7", ("id", "=", vec![Scalar::Int(7)])),
        ("id!=7", ("id", "!=", vec![Scalar::Int(7)])),
        ("id >= 7", ("id", ">=", vec![Scalar::Int(7)])),
        ("id<=7", ("id", "<=", vec![Scalar::Int(7)])),
        ("id|=1,2, 3", ("id", "|=", vec![Scalar::Int(1), Scalar::Int(2), Scalar::Int(3)])),
        ("updated_at>2024-05-01T10:00:00.000000Z", ("updated_at", ">", vec![Scalar::Time(time)])),
        ("active=true", ("active", "=", vec![Scalar::Bool(true)])),
        (
            "session.call_id=0190b1c2-0000-7000-8000-000000000001",
            ("session.call_id", "=", vec![Scalar::Uuid(uuid)]),
        ),
        ("name~=%smith%", ("name", "~=", text(&["%smith%"]))),
        ("email=Ann@Example.COM", ("email", "=", text(&["ann@example.com"]))),
        ("\"name|=John,Mary\"", ("name", "|=", text(&["John", "Mary"]))),
        ("name=Tom and Jerry", ("name", "=", text(&["Tom and Jerry"]))),
        ("name='Tom and id=1'", ("name", "=", text(&["Tom and id=1"]))),
        (r"name|=a\,b,'c,d' ,e\\", ("name", "|=", text(&["a,b", "c,d", "e\\"]))),
        (r"name='it\'s'", ("name", "=", text(&["it's"]))),
        ("name=", ("name", "=", text(&[""]))),
        ("name=a=b", ("name", "=", text(&["a=b"]))),
    ] {
        assert_eq!(parse(input).unwrap(), [expected], "{input}");
    }
}

#[test]
fn conditions_are_joined_by_and() {
    let keys: Vec<_> = parse("name='a' and id>1 AND email~=%x%").unwrap().iter().map(|c| c.0).collect();
    assert_eq!(keys, ["name", "id", "email"]);
    assert!(Filter::parse(None, FIELDS).unwrap().conditions.is_empty());
    assert!(Filter::parse(Some("  "), FIELDS).unwrap().conditions.is_empty());
}

#[test]
fn a_refusal_names_what_would_be_right() {
    for (input, part) in [
        ("nope=1", "known keys are id, name, email, updated_at, active, session.call_id"),
        ("name", "known operators are"),
        ("name?x", "known operators are"),
        ("id=x", "a whole number"),
        ("id=99999999999999999999", "a whole number"),
        ("active=maybe", "true or false"),
        ("active>true", "cannot be compared with >"),
        ("id~=1", "cannot be compared with ~="),
        ("updated_at>yesterday", "RFC 3339"),
        ("name='open", "not closed"),
        ("name='a' or id=1", "expected ' and '"),
        ("and id=1", "unknown key 'and'"),
        ("=1", "unknown key ''"),
    ] {
        let error = parse(input).expect_err(input);
        assert_eq!(error.code(), Code::ParametersInvalid);
        assert!(error.message().contains(part), "{input}: {}", error.message());
    }
}

#[test]
fn orders() {
    let order = |text| {
        Order::parse(Some(text), FIELDS)
            .map(|o| o.keys.into_iter().map(|(f, down)| (f.key, down)).collect::<Vec<_>>())
    };
    assert_eq!(order("name,-id").unwrap(), [("name", false), ("id", true)]);
    assert_eq!(order("name desc, id ASC,name").unwrap(), [("name", true), ("id", false)]);
    assert!(order("").unwrap().is_empty());
    assert!(order("active").unwrap_err().message().contains("known keys are id, name, email, updated_at"));
    assert!(order("name up").unwrap_err().message().contains("neither asc nor desc"));
}

#[test]
fn pages() {
    let page = Page::new(Some(3), Some(50)).unwrap();
    assert_eq!((page.offset(), page.limit()), (100, 50));
    assert_eq!(Page::new(None, None).unwrap(), Page::default());
    for bad in [0, -1, i64::MIN, i64::MAX] {
        assert_eq!(Page::new(Some(bad), None).unwrap_err().code(), Code::ParametersInvalid);
        assert_eq!(Page::new(None, Some(bad)).unwrap_err().code(), Code::InvalidLimit);
    }
    assert_eq!(Page::new(None, Some(101)).unwrap_err().code(), Code::InvalidLimit);
    assert_eq!((limit(None).unwrap(), limit(Some(-1)).unwrap(), limit(Some(100)).unwrap()), (20, 20, 100));
    assert!(limit(Some(0)).is_err() && limit(Some(-2)).is_err() && limit(Some(101)).is_err());
    let reply = Numbered::new(Page::new(Some(1), Some(20)).unwrap(), vec![1; 20], 41);
    assert_eq!((reply.total_pages, reply.total_entries), (3, 41));
    assert_eq!(Numbered::<()>::new(Page::default(), vec![], 0).total_pages, 0);
}

#[test]
fn cursors_lead_on_and_belong_to_one_list() {
    let page = CursorPage::new("messages", vec![1, 2, 3], 2, |last| *last);
    assert_eq!(page.entries, [1, 2]);
    let after = page.after.unwrap();
    assert_eq!(decode_cursor::<i32>("messages", Some(&after)).unwrap(), Some(2));
    assert_eq!(decode_cursor::<i32>("messages", None).unwrap(), None);
    assert_eq!(decode_cursor::<i32>("messages", Some("")).unwrap(), None);
    assert!(decode_cursor::<i32>("workboxes", Some(&after)).is_err());
    assert!(decode_cursor::<String>("messages", Some(&after)).is_err());
    assert!(decode_cursor::<i32>("messages", Some("%%%")).is_err());
    assert_eq!(CursorPage::new("messages", vec![1, 2], 2, |last| *last).after, None);
}

fn scalar(kind: Kind) -> BoxedStrategy<Scalar> {
    match kind {
        Kind::Text => ".{0,20}".prop_map(Scalar::Text).boxed(),
        Kind::Folded => ".{0,20}".prop_map(|t| Scalar::Text(t.to_lowercase())).boxed(),
        Kind::Int => any::<i64>().prop_map(Scalar::Int).boxed(),
        Kind::Bool => any::<bool>().prop_map(Scalar::Bool).boxed(),
        Kind::Time => (0..4_000_000_000_000_000_i64).prop_map(|t| Scalar::Time(Timestamp(t))).boxed(),
        Kind::Uuid => any::<u128>().prop_map(|n| Scalar::Uuid(Uuid::from_u128(n))).boxed(),
    }
}

fn condition() -> impl Strategy<Value = Condition> {
    (0..FIELDS.len(), 0..Operator::ALL.len()).prop_flat_map(|(field, operator)| {
        let field = &FIELDS[field];
        let operator = match (Operator::ALL[operator].1, field.kind) {
            (o @ (Operator::Equal | Operator::NotEqual | Operator::In), _) => o,
            (_, Kind::Bool) => Operator::Equal,
            (Operator::Like, Kind::Int | Kind::Time | Kind::Uuid) => Operator::Less,
            (o, _) => o,
        };
        let count = if operator == Operator::In { 1..4_usize } else { 1..2 };
        proptest::collection::vec(scalar(field.kind), count).prop_map(move |values| Condition {
            field,
            operator,
            values,
        })
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(conditions in proptest::collection::vec(condition(), 0..4)) {
        let filter = Filter { conditions };
        let text = filter.to_string();
        // Lowering is not idempotent for a few letters (İ); such values are no fixed point of the parser.
        let stable = filter.conditions.iter().flat_map(|c| &c.values).all(|v| match v {
            Scalar::Text(t) => t.to_lowercase().to_lowercase() == t.to_lowercase(),
            _ => true,
        });
        prop_assume!(stable);
        prop_assert_eq!(Filter::parse(Some(&text), FIELDS).unwrap(), filter.clone());
        prop_assert_eq!(Filter::parse(Some(&format!("\"{text}\"")), FIELDS).unwrap(), filter);
    }

    #[test]
    fn no_text_panics(text in ".{0,60}", tail in "(name|id|email)(=|~=|[|]=)['\\\\ a-z,\"]{0,20}( and )?.{0,5}") {
        for text in [text, tail] {
            let _ = Filter::parse(Some(&text), FIELDS);
            let _ = Order::parse(Some(&text), FIELDS);
            let _ = decode_cursor::<i64>("x", Some(&text));
        }
    }
}
