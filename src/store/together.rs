//! Several [`Bulk`] statements, on PostgreSQL as one: each statement is a trip to the server and back, which a commit of a
//! few messages would wait for four times.

use std::sync::OnceLock;

use super::{
    Bulk, Dialect, Result, Tx,
    bulk::{ROWS_AT_ONCE, Rows},
    sql,
};
use crate::base::failpoint::failpoint;

/// The statements: a `static`. Each ends in a `where`.
///
/// No two of them may touch one table, nor rely on the order in which they lock rows: on PostgreSQL the first runs before
/// the others and those in any order, on the same snapshot. On SQLite, and with more rows of a kind than PostgreSQL is given
/// at once (1,024), they run one behind the other.
pub struct Together<const PARTS: usize> {
    parts: [&'static Bulk; PARTS],
    /// By the parts that have rows, a bit for each.
    postgres: OnceLock<Box<[OnceLock<String>]>>,
}

impl<const PARTS: usize> Together<PARTS> {
    /// The first is a condition: see [`Together::execute`].
    pub const fn new(parts: [&'static Bulk; PARTS]) -> Self {
        Self { parts, postgres: OnceLock::new() }
    }

    /// Runs each part for its rows. False where the first part did not change as many rows as it was given: then none of
    /// the others has run, and the transaction is to be given up.
    pub async fn execute(&'static self, tx: &mut Tx, rows: [Rows; PARTS]) -> Result<bool> {
        let chosen = bits(rows.iter().map(|rows| rows.count > 0));
        let at_once = rows.iter().all(|rows| rows.count <= ROWS_AT_ONCE);
        if tx.dialect() == Dialect::Postgres && at_once && chosen.count_ones() > 1 {
            return self.execute_as_one(tx, chosen, rows).await;
        }
        for (index, (part, rows)) in self.parts.into_iter().zip(rows).enumerate() {
            let wanted = rows.count as u64;
            let changed = part.execute(&mut *tx, rows).await?;
            if index == 0 && changed != wanted {
                return Ok(false);
            }
            if index == 1 {
                failpoint!("journal.torn-batch", std::process::abort());
            }
        }
        Ok(true)
    }

    async fn execute_as_one(&'static self, tx: &mut Tx, chosen: usize, rows: [Rows; PARTS]) -> Result<bool> {
        let wanted = i64::try_from(rows[0].count).unwrap_or(i64::MAX);
        let mut stmt = sql(self.postgres_text(chosen));
        for (part, rows) in self.parts.into_iter().zip(rows).filter(|(_, rows)| rows.count > 0) {
            stmt = part.bind_arrays(stmt, rows);
        }
        if wanted > 0 {
            stmt = stmt.bind(wanted);
        }
        let (held,): (bool,) = stmt.one(tx).await?;
        Ok(held)
    }

    /// The texts of PostgreSQL: for tests that prepare each.
    pub fn texts(&'static self, dialect: Dialect) -> Vec<&'static str> {
        match dialect {
            Dialect::Sqlite => Vec::new(),
            Dialect::Postgres => (0..1_usize << PARTS)
                .filter(|chosen| chosen.count_ones() > 1)
                .map(|chosen| self.postgres_text(chosen))
                .collect(),
        }
    }

    fn postgres_text(&'static self, chosen: usize) -> &'static str {
        let texts = self.postgres.get_or_init(|| (0..1 << PARTS).map(|_| OnceLock::new()).collect());
        texts[chosen].get_or_init(|| self.make_postgres_text(chosen))
    }

    /// The condition counts what the first part changed. As the others and the outcome ask for it, it runs before them.
    fn make_postgres_text(&self, chosen: usize) -> String {
        let (mut steps, mut placeholder) = (Vec::new(), 1);
        let has_condition = chosen & 1 == 1;
        for (index, part) in self.parts.iter().enumerate().filter(|(index, _)| chosen >> index & 1 == 1) {
            let text = part.postgres_text_from(placeholder);
            placeholder += part.width();
            steps.push(match index {
                0 => format!("part0 as ({text} returning 1)"),
                _ if has_condition => format!("part{index} as ({text} and (select held from condition))"),
                _ => format!("part{index} as ({text})"),
            });
        }
        if has_condition {
            let condition =
                format!("condition as (select count(*) = ${placeholder}::bigint as held from part0)");
            steps.insert(1, condition);
        }
        let outcome = if has_condition { "select held from condition" } else { "select true" };
        format!("with {} {outcome}", steps.join(", "))
    }
}

fn bits(set: impl Iterator<Item = bool>) -> usize {
    set.enumerate().fold(0, |bits, (index, set)| bits | usize::from(set) << index)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Column::{Int, Text};

    static MOVED: Bulk = Bulk::new("update s set head = v.column2 from", &[Int, Int], "where id = v.column1");
    static NOTES: Bulk =
        Bulk::new("insert into n (a, b) select * from", &[Int, Text], "where column1 is not null");
    static SEEN: Bulk = Bulk::new("update p set seen = true from", &[Int], "where p.id = v.column1");
    static ALL: Together<3> = Together::new([&MOVED, &NOTES, &SEEN]);

    #[test]
    fn the_first_part_is_the_condition_of_the_others() {
        assert_eq!(
            ALL.postgres_text(0b111),
            "with part0 as (update s set head = v.column2 from unnest($1::bigint[], $2::bigint[]) as v(column1, column2) \
             where id = v.column1 returning 1), \
             condition as (select count(*) = $6::bigint as held from part0), \
             part1 as (insert into n (a, b) select * from unnest($3::bigint[], $4::text[]) as v(column1, column2) \
             where column1 is not null and (select held from condition)), \
             part2 as (update p set seen = true from unnest($5::bigint[]) as v(column1) where p.id = v.column1 \
             and (select held from condition)) select held from condition"
        );
    }

    #[test]
    fn without_rows_of_the_first_there_is_no_condition() {
        assert_eq!(
            ALL.postgres_text(0b110),
            "with part1 as (insert into n (a, b) select * from unnest($1::bigint[], $2::text[]) as v(column1, column2) \
             where column1 is not null), \
             part2 as (update p set seen = true from unnest($3::bigint[]) as v(column1) where p.id = v.column1) \
             select true"
        );
        assert_eq!(ALL.texts(Dialect::Postgres).len(), 4);
    }
}
