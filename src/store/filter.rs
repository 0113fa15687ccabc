//! Turns checked filters and orders (`domain::query`) into SQL. Columns come from static tables, values are bound.

use super::{Stmt, Value};
use crate::domain::query::{Condition, Filter, Kind, Operator, Order, Scalar};

/// Appends ` and (..)` for each condition. A column with `{}` in it is a whole condition in which `{}` stands for the
/// comparison: `exists (select 1 from call_tag t where t.call_id = c.id and t.tag {})`.
pub fn conditions(stmt: Stmt, filter: &Filter) -> Stmt {
    filter.conditions.iter().fold(stmt, |stmt, condition| one(stmt.push(" and ("), condition).push(")"))
}

/// Appends ` order by ..`: what was asked for and then `tie`, or `fallback` when nothing was asked for.
pub fn order(stmt: Stmt, order: &Order, fallback: &'static str, tie: &'static str) -> Stmt {
    let stmt = stmt.push(" order by ");
    if order.keys.is_empty() {
        return stmt.push(fallback);
    }
    let keyed = order.keys.iter().fold(stmt, |stmt, (field, descending)| {
        // Both engines put NULLs elsewhere by themselves.
        stmt.push(field.column).push(if *descending { " desc nulls last, " } else { " asc nulls first, " })
    });
    keyed.push(tie)
}

/// A LIKE pattern (escape character `\`) that finds `term` anywhere in a lower-cased text.
pub fn containing(term: &str) -> String {
    let mut pattern = String::from("%");
    for c in term.trim().to_lowercase().chars() {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push('%');
    pattern
}

fn one(stmt: Stmt, condition: &Condition) -> Stmt {
    let field = condition.field;
    let (before, after) = field.column.split_once("{}").unwrap_or((field.column, ""));
    let lowered = field.kind == Kind::Text;
    let stmt = match (after.is_empty() && !field.column.ends_with("{}"), lowered) {
        (true, true) => stmt.push("lower(").push(before).push(")"),
        _ => stmt.push(before),
    };
    let mut values = condition.values.iter().map(|value| bound(value, lowered));
    let stmt = match condition.operator {
        Operator::In => stmt.push(" in ").push_list(values),
        Operator::Like => {
            let pattern = condition.values.first().map_or_else(String::new, wildcard);
            stmt.push(" like ").push_bind(pattern).push(r" escape '\'")
        }
        operator => match values.next() {
            Some(value) => stmt.push(symbol(operator)).push_bind(value),
            None => stmt.push(" is null"),
        },
    };
    stmt.push(after)
}

const fn symbol(operator: Operator) -> &'static str {
    match operator {
        Operator::NotEqual => " is distinct from ",
        Operator::Greater => " > ",
        Operator::Less => " < ",
        Operator::AtLeast => " >= ",
        Operator::AtMost => " <= ",
        Operator::Equal | Operator::Like | Operator::In => " = ",
    }
}

fn bound(scalar: &Scalar, lowered: bool) -> Value {
    match scalar {
        Scalar::Text(text) if lowered => text.to_lowercase().into(),
        Scalar::Text(text) => text.as_str().into(),
        Scalar::Int(number) => (*number).into(),
        Scalar::Bool(yes) => (*yes).into(),
        Scalar::Time(time) => (*time).into(),
        Scalar::Uuid(uuid) => (*uuid).into(),
    }
}

/// The caller's pattern: `%` keeps its meaning, `_` and the escape character lose theirs.
fn wildcard(scalar: &Scalar) -> String {
    let Scalar::Text(text) = scalar else { return String::new() };
    text.to_lowercase().replace('\\', r"\\").replace('_', r"\_")
}
