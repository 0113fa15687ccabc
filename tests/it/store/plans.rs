//! Every statement of the store is understood by both engines, and none reads a whole table that grows: the texts that
//! stand in the store's lists, and those that are put together, as they are when the suite runs them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;
use sqlx::{AssertSqlSafe, Executor as _, PgConnection, SqlSafeStr as _, SqliteConnection};
use switchboard::store::{Dialect, Statement, all_statements};

use crate::harness::{
    db::{Raw, TestDb, on_both},
    log::{self, Ran},
};

/// Tables that stay small: reading all of one is fine.
const SMALL: &[&str] = &["meta", "sequence", "relay_position", "schema_migration", "signing_key"];

/// Statements that may read a growing table (or a whole index of one), and why.
const EXCEPTIONS: &[(&str, &str)] = &[
    ("generation::RAISE", "once, when a backup is put to use"),
    ("organizations::ALL", "an operator's list of everything"),
    ("organizations::OLDEST_ACTIVE", "stops at the first active one, in the order of the key"),
];

/// Texts that are put together and may read a growing table: a part of the text, and why.
const PUT_TOGETHER: &[(&str, &str)] = &[];

/// Explains every text that ran on `dialect` since this was called last, whichever test ran it. Tests on a database
/// call it at their end, so that no text of a run is left.
pub async fn explain_what_ran(dialect: Dialect, connect: impl AsyncFnOnce() -> (Raw, Option<TestDb>)) {
    let listed: BTreeSet<&str> = all_statements().map(|statement| statement.text.of(dialect)).collect();
    let is_plain = |text: &str| {
        let verb = text.trim_start().split(char::is_whitespace).next().unwrap_or_default().to_lowercase();
        ["select", "insert", "update", "delete", "with"].contains(&verb.as_str())
    };
    let ran = log::take_texts(dialect).into_iter();
    let ran: Vec<_> = ran.filter(|ran| is_plain(&ran.text) && !listed.contains(ran.text.as_str())).collect();
    if ran.is_empty() {
        return;
    }
    // A database goes when it is dropped.
    let (mut raw, _home) = connect().await;
    let (partial, tables) = (partial_indexes(&mut raw).await, tables(&mut raw).await);
    let mut faults = Vec::new();
    for Ran { text, types, place } in ran {
        let scans = match &mut raw {
            Raw::Sqlite(connection) => sqlite_scans(connection, &text, &tables, &partial).await,
            Raw::Postgres(connection) => {
                postgres_scans(connection, &text, Some(&types), &tables, &partial).await
            }
        };
        let excused = PUT_TOGETHER.iter().any(|(part, _)| text.contains(part));
        if !scans.is_empty() && !excused {
            faults.push(format!("{place}: {}: {text}", scans.join(", ")));
        }
    }
    assert!(faults.is_empty(), "the tests ran what reads a growing table whole:\n{}", faults.join("\n"));
}

/// Puts rows into every table that grows.
pub async fn fill(raw: &mut Raw) {
    let tables = tables(raw).await;
    seed(raw, &tables).await;
}

fn short(statement: &Statement) -> &'static str {
    statement.name.strip_prefix("switchboard::store::").unwrap_or(statement.name)
}

on_both! {
    async fn every_statement_is_understood(db: TestDb) {
        let mut raw = db.raw().await;
        let mut faults = Vec::new();
        for statement in all_statements() {
            let text = statement.text.of(db.dialect());
            let result = match &mut raw {
                Raw::Sqlite(connection) => connection.prepare(text.into_sql_str()).await.map(drop),
                Raw::Postgres(connection) => connection.prepare(text.into_sql_str()).await.map(drop),
            };
            if let Err(error) = result {
                faults.push(format!("{}: {error}", short(statement)));
            }
        }
        assert!(faults.is_empty(), "{faults:#?}");
    }

    async fn no_statement_reads_a_growing_table_whole(db: TestDb) {
        let mut raw = db.raw().await;
        let (mut faults, mut excused) = (Vec::new(), BTreeSet::new());
        let (partial, tables) = (partial_indexes(&mut raw).await, tables(&mut raw).await);
        seed(&mut raw, &tables).await;
        for statement in all_statements() {
            let scans = scans(&mut raw, statement.text.of(db.dialect()), &tables, &partial).await;
            if scans.is_empty() {
                continue;
            }
            if EXCEPTIONS.iter().any(|(name, _)| *name == short(statement)) {
                excused.insert(short(statement));
            } else {
                faults.push(format!("{}: {}", short(statement), scans.join(", ")));
            }
        }
        assert!(faults.is_empty(), "read whole: {faults:#?}");
        if db.dialect() == Dialect::Sqlite {
            let idle: Vec<_> = EXCEPTIONS.iter().filter(|(name, _)| !excused.contains(name)).collect();
            assert!(idle.is_empty(), "exceptions that nothing needs any more: {idle:#?}");
        }
    }
}

on_both! {
    async fn the_check_finds_what_it_looks_for(db: TestDb) {
        let mut raw = db.raw().await;
        let (partial, tables) = (partial_indexes(&mut raw).await, tables(&mut raw).await);
        seed(&mut raw, &tables).await;
        for (whole, text) in [
            (true, "select uuid from message where author_name = $1"),
            (true, "select m.uuid from message as m where m.author_id = $1 order by m.conversation_id, m.id"),
            (true, "update person set active = false where created_at < $1"),
            (true, "delete from call_tag where tag = $1"),
            (true, "select p.name from conversation c join person p on p.title = c.title where c.id = $1"),
            (false, "select p.name from conversation c join person p on p.id = c.created_by where c.id = $1"),
            (false, "select id from notice where state = 'pending' order by next_attempt_at limit 10"),
            (false, "select name from sequence"),
        ] {
            let found = scans(&mut raw, text, &tables, &partial).await;
            assert_eq!(!found.is_empty(), whole, "{text}: {found:?}");
        }
    }
}

async fn scans(
    raw: &mut Raw,
    text: &str,
    tables: &BTreeSet<String>,
    partial: &BTreeSet<String>,
) -> Vec<String> {
    match raw {
        Raw::Sqlite(connection) => sqlite_scans(connection, text, tables, partial).await,
        Raw::Postgres(connection) => postgres_scans(connection, text, None, tables, partial).await,
    }
}

#[test]
fn names_are_unique() {
    let mut seen = BTreeSet::new();
    for statement in all_statements() {
        assert!(seen.insert(statement.name), "{} twice", statement.name);
    }
}

/// A store file with a list that `all_statements` does not join would be checked by nothing.
#[test]
fn every_list_is_joined() {
    let joined: BTreeSet<_> =
        all_statements().filter_map(|statement| short(statement).split("::").next()).collect();
    for file in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src/store")).unwrap() {
        let path = file.unwrap().path();
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        if text.lines().any(|line| line == "statements! {") {
            let name = path.file_stem().and_then(|name| name.to_str()).unwrap();
            assert!(joined.contains(name), "{name}::STATEMENTS is missing in store/statements.rs");
        }
    }
}

async fn texts(raw: &mut Raw, sqlite: &'static str, postgres: &'static str) -> BTreeSet<String> {
    match raw {
        Raw::Sqlite(connection) => sqlx::query_scalar(sqlite).fetch_all(connection).await,
        Raw::Postgres(connection) => sqlx::query_scalar(postgres).fetch_all(connection).await,
    }
    .unwrap()
    .into_iter()
    .collect()
}

/// Reading such an index whole reads what is open, not what has piled up.
async fn partial_indexes(raw: &mut Raw) -> BTreeSet<String> {
    let sqlite = "select name from sqlite_schema where type = 'index' and sql like '% where %'";
    let postgres = "select i.relname::text from pg_index x join pg_class i on i.oid = x.indexrelid where x.indpred is not null";
    texts(raw, sqlite, postgres).await
}

/// Tables that grow.
async fn tables(raw: &mut Raw) -> BTreeSet<String> {
    let sqlite = "select name from sqlite_schema where type = 'table'";
    let postgres = "select tablename::text from pg_tables where schemaname = 'public'";
    let mut tables = texts(raw, sqlite, postgres).await;
    for small in SMALL {
        assert!(tables.remove(*small), "no table {small}");
    }
    tables
}

/// Table and first column of each index of PostgreSQL: a condition without that column reads the index whole.
async fn leading_columns(connection: &mut PgConnection) -> BTreeMap<String, (String, String)> {
    let text = "select i.relname::text, t.relname::text, a.attname::text from pg_index x \
                join pg_class i on i.oid = x.indexrelid join pg_class t on t.oid = x.indrelid \
                join pg_attribute a on a.attrelid = x.indrelid and a.attnum = x.indkey[0]";
    let rows: Vec<(String, String, String)> = sqlx::query_as(text).fetch_all(connection).await.unwrap();
    rows.into_iter().map(|(index, table, column)| (index, (table, column))).collect()
}

/// Rows in every growing table: PostgreSQL plans by how many there are, SQLite by the text alone.
async fn seed(raw: &mut Raw, tables: &BTreeSet<String>) {
    let Raw::Postgres(connection) = raw else { return };
    let text = "select table_name::text, string_agg(quote_ident(column_name), ', '), string_agg( \
                case when is_nullable = 'YES' then 'case when g % 2 = 0 then ' else '' end || \
                case when data_type = 'text' and column_name in ('kind', 'state', 'type') then 'words[1 + g % 8]' else \
                case data_type when 'text' then '''t'' || g' when 'boolean' then 'g % 3 = 0' \
                when 'uuid' then 'gen_random_uuid()' when 'bytea' then 'decode(md5(g::text), ''hex'')' else 'g' end end || \
                case when is_nullable = 'YES' then ' end' else '' end, ', ') \
                from information_schema.columns \
                where table_schema = 'public' and is_identity = 'NO' and data_type <> 'xid8' group by table_name";
    let rows: Vec<(String, String, String)> = sqlx::query_as(text).fetch_all(&mut *connection).await.unwrap();
    for (table, columns, values) in rows.into_iter().filter(|(table, ..)| tables.contains(table)) {
        let insert = format!(
            "insert into {table} ({columns}) select {values} from generate_series(1, 3000) g, \
             (select array['pod', 'member', 'workbox', 'user', 'direct', 'pending', 'ringing', 'ready'] words) w"
        );
        connection.execute(sqlx::raw_sql(AssertSqlSafe(insert))).await.unwrap();
    }
    connection.execute("analyze").await.unwrap();
}

/// Growing tables by the names that `text` gives them.
fn aliases<'t>(text: &'t str, tables: &BTreeSet<String>) -> BTreeMap<&'t str, &'t str> {
    const NOT_AN_ALIAS: &[&str] = &[
        "set",
        "where",
        "on",
        "join",
        "left",
        "inner",
        "cross",
        "order",
        "group",
        "limit",
        "using",
        "values",
        "select",
        "returning",
        "union",
        "indexed",
    ];
    let words: Vec<_> =
        text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty()).collect();
    let mut names = BTreeMap::new();
    for (place, table) in words.iter().enumerate().filter(|(_, word)| tables.contains(**word)) {
        names.insert(*table, *table);
        let mut next = words[place + 1..].iter().filter(|word| **word != "as");
        if let Some(alias) = next.next().filter(|word| !NOT_AN_ALIAS.contains(word)) {
            names.insert(*alias, *table);
        }
    }
    names
}

async fn sqlite_scans(
    connection: &mut SqliteConnection,
    text: &str,
    tables: &BTreeSet<String>,
    partial: &BTreeSet<String>,
) -> Vec<String> {
    let names = aliases(text, tables);
    let plan: Vec<(i64, i64, i64, String)> =
        sqlx::query_as(AssertSqlSafe(format!("explain query plan {text}")))
            .fetch_all(connection)
            .await
            .unwrap();
    plan.into_iter()
        .map(|(.., step)| step)
        .filter(|step| {
            let mut words = step.split(' ');
            words.next() == Some("SCAN")
                && words.next().is_some_and(|name| names.contains_key(name))
                && !step.split(' ').any(|word| partial.contains(word))
        })
        .collect()
}

async fn postgres_scans(
    connection: &mut PgConnection,
    text: &str,
    types: Option<&str>,
    tables: &BTreeSet<String>,
    partial: &BTreeSet<String>,
) -> Vec<String> {
    let types = types.filter(|types| !types.is_empty()).map(|types| format!("({types})")).unwrap_or_default();
    // A small table is read whole because that is cheap: forbid it, and see whether there is another way.
    let setup = "set enable_seqscan = off; set plan_cache_mode = force_generic_plan";
    connection.execute(sqlx::raw_sql(setup)).await.unwrap();
    connection
        .execute(sqlx::raw_sql(AssertSqlSafe(format!("prepare probe{types} as {text}"))))
        .await
        .unwrap();
    let count: i64 = sqlx::query_scalar(
        "select cast(cardinality(parameter_types) as bigint) from pg_prepared_statements where name = 'probe'",
    )
    .fetch_one(&mut *connection)
    .await
    .unwrap();
    let nulls = vec!["null"; usize::try_from(count).unwrap()].join(", ");
    let arguments = if nulls.is_empty() { nulls } else { format!("({nulls})") };
    let plan: Json =
        sqlx::query_scalar(AssertSqlSafe(format!("explain (format json) execute probe{arguments}")))
            .persistent(false)
            .fetch_one(&mut *connection)
            .await
            .unwrap();
    connection.execute(sqlx::raw_sql("deallocate probe")).await.unwrap();
    let leading = leading_columns(connection).await;
    let mut scans = Vec::new();
    let is_whole = |node: &str, table: &str, index: &str, condition: &str| match leading.get(index) {
        Some((table, first)) => {
            tables.contains(table) && !partial.contains(index) && !has_word(condition, first)
        }
        None => node == "Seq Scan" && tables.contains(table),
    };
    collect_scans(&plan, &is_whole, &mut scans);
    scans
}

/// `column` as such, not as another table's (`c.column`).
fn has_word(condition: &str, column: &str) -> bool {
    condition.split(|c: char| !c.is_alphanumeric() && c != '_' && c != '.').any(|word| word == column)
}

fn collect_scans(plan: &Json, is_whole: &dyn Fn(&str, &str, &str, &str) -> bool, scans: &mut Vec<String>) {
    match plan {
        Json::Array(parts) => parts.iter().for_each(|part| collect_scans(part, is_whole, scans)),
        Json::Object(fields) => {
            let field = |name: &str| fields.get(name).and_then(Json::as_str).unwrap_or_default();
            let (node, table, index) = (field("Node Type"), field("Relation Name"), field("Index Name"));
            if is_whole(node, table, index, field("Index Cond")) {
                scans.push(format!("{node} {table} {index}"));
            }
            fields.values().for_each(|part| collect_scans(part, is_whole, scans));
        }
        _ => {}
    }
}
