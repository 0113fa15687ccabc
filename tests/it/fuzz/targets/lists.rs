//! What lists take: filters, orders, query strings.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use switchboard::{
    domain::{
        codes::Code,
        error::Error,
        query::{Field, Filter, Kind, ListQuery, Order, Scalar},
    },
    http::query,
};

static FIELDS: &[Field] = &[
    Field::new("id", "p.id", Kind::Int),
    Field::new("name", "p.name", Kind::Text),
    Field::new("email", "p.email_key", Kind::Folded),
    Field::new("updated_at", "p.updated_at", Kind::Time),
    Field::filter_only("active", "p.active", Kind::Bool),
    Field::filter_only("session.call_id", "s.call", Kind::Uuid),
];
/// Longest text that the grammar looks at.
const LONGEST: usize = 4_096;

/// Refusals are the client's fault, and repeat little of what it sent.
fn refused(error: &Error) -> bool {
    assert_eq!(error.code(), Code::ParametersInvalid);
    assert!(error.message().len() < 600, "{}", error.message());
    false
}

/// An accepted filter, printed, is the same filter.
pub fn filters(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let filter = match Filter::parse(Some(text), FIELDS) {
        Ok(filter) => filter,
        Err(error) => return refused(&error),
    };
    let printed = filter.to_string();
    // Lowering is not idempotent for a few letters; such values are no fixed point.
    let stable = filter.conditions.iter().flat_map(|condition| &condition.values).all(|value| match value {
        Scalar::Text(text) => text.to_lowercase().to_lowercase() == text.to_lowercase(),
        _ => true,
    });
    if stable && printed.len() <= LONGEST {
        assert_eq!(Filter::parse(Some(&printed), FIELDS).expect("it was accepted"), filter, "{printed}");
        let quoted = format!("\"{printed}\"");
        if quoted.len() <= LONGEST {
            assert_eq!(Filter::parse(Some(&quoted), FIELDS).expect("it was accepted"), filter, "{quoted}");
        }
    }
    !filter.conditions.is_empty()
}

/// An accepted order means the same in both spellings, and names no key twice.
pub fn orders(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let order = match Order::parse(Some(text), FIELDS) {
        Ok(order) => order,
        Err(error) => return refused(&error),
    };
    let spelled = |before: [&str; 2], after: [&str; 2]| {
        let key = |(field, down): &(&Field, bool)| {
            format!("{}{}{}", before[usize::from(*down)], field.key, after[usize::from(*down)])
        };
        order.keys.iter().map(key).collect::<Vec<_>>().join(",")
    };
    for text in [spelled(["", "-"], ["", ""]), spelled(["", ""], [" asc", " DESC"])] {
        assert_eq!(Order::parse(Some(&text), FIELDS).expect("it was accepted"), order, "{text}");
    }
    assert!(order.keys.iter().all(|(field, _)| field.orders));
    let twice = |at: usize| order.keys[..at].iter().any(|(field, _)| *field == order.keys[at].0);
    assert!(!(0..order.keys.len()).any(twice));
    !order.keys.is_empty()
}

/// An accepted query, written anew, says the same; its parts are filters, orders and pages or are refused as such.
pub fn queries(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let read = match query::parse::<ListQuery>(text) {
        Ok(read) => read,
        Err(error) => {
            assert_eq!(error.code(), Code::ParametersInvalid);
            return false;
        }
    };
    let given = |name: &str, value: Option<String>| {
        value.map(|value| format!("{name}={}", utf8_percent_encode(&value, NON_ALPHANUMERIC)))
    };
    let parts = [
        given("filter", read.filter.clone()),
        given("order", read.order.clone()),
        given("page", read.page.map(|page| page.to_string())),
        given("page_size", read.page_size.map(|size| size.to_string())),
    ];
    let written = parts.into_iter().flatten().collect::<Vec<_>>().join("&");
    let again = query::parse::<ListQuery>(&written).expect("it was accepted");
    // Nothing and blanks are the same to a list.
    let said = |query: &ListQuery| {
        let text = |text: &Option<String>| text.clone().filter(|text| !text.trim().is_empty());
        (text(&query.filter), text(&query.order), query.page, query.page_size)
    };
    assert_eq!(said(&again), said(&read), "{written}");
    match read.parse(FIELDS) {
        Ok(list) => assert!((1..=100).contains(&list.page.limit()) && list.page.offset() >= 0),
        Err(error) => assert!(matches!(error.code(), Code::ParametersInvalid | Code::InvalidLimit)),
    }
    !written.is_empty()
}
