//! Both engines have the same tables, columns and indexes after migrating.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{PgConnection, Row as _, SqliteConnection};

use crate::harness::db::{Raw, TestDb, block_on};

/// One line per fact.
type Schema = BTreeSet<String>;

async fn of_sqlite(connection: &mut SqliteConnection) -> Schema {
    let mut schema = Schema::new();
    let columns = sqlx::query(
        "select t.name, c.name, lower(c.type), c.\"notnull\", c.pk from sqlite_schema t, pragma_table_info(t.name) c \
         where t.type = 'table' and t.name not like 'sqlite%' order by t.name, c.pk",
    );
    let mut keys = BTreeMap::<String, Vec<String>>::new();
    for row in columns.fetch_all(&mut *connection).await.unwrap() {
        let (table, column): (String, String) = (row.get(0), row.get(1));
        let (kind, required, key): (String, bool, i64) = (row.get(2), row.get(3), row.get(4));
        // SQLite's name for a 64-bit key that is the order of the table.
        let is_row_id = key > 0 && kind == "integer";
        let kind = if is_row_id { "bigint" } else { &kind };
        schema.insert(column_line(&table, &column, kind, required || is_row_id));
        if key > 0 {
            keys.entry(table).or_default().push(column);
        }
    }
    schema.extend(keys.into_iter().map(|(table, columns)| key_line(&table, &columns)));
    let indexes = sqlx::query(
        "select s.tbl_name, s.name, s.sql, l.\"unique\", group_concat(c.name, ' ') from sqlite_schema s \
         join pragma_index_list(s.tbl_name) l on l.name = s.name join pragma_index_info(s.name) c \
         where s.type = 'index' and s.sql is not null group by 1, 2, 3, 4",
    );
    for row in indexes.fetch_all(connection).await.unwrap() {
        let (table, name, text): (String, String, String) = (row.get(0), row.get(1), row.get(2));
        let (unique, columns): (bool, String) = (row.get(3), row.get(4));
        schema.insert(index_line(
            &table,
            &name,
            unique,
            &columns,
            text.split_once(" where ").map(|(_, rest)| rest),
        ));
    }
    schema
}

async fn of_postgres(connection: &mut PgConnection) -> Schema {
    let mut schema = Schema::new();
    let columns = sqlx::query(
        "select table_name::text, column_name::text, data_type::text, is_nullable = 'NO', collation_name::text \
         from information_schema.columns where table_schema = 'public'",
    );
    for row in columns.fetch_all(&mut *connection).await.unwrap() {
        let (table, column, kind): (String, String, String) = (row.get(0), row.get(1), row.get(2));
        if kind == "text" && table != "schema_migration" {
            assert_eq!(row.get::<Option<String>, _>(4).as_deref(), Some("C"), "order of {table}.{column}");
        }
        schema.insert(column_line(&table, &column, &kind, row.get(3)));
    }
    let indexes = sqlx::query(
        "select t.relname::text, i.relname::text, x.indisprimary, x.indisunique, \
         array(select a.attname::text from unnest(x.indkey::int2[]) with ordinality k (attnum, place) \
               join pg_attribute a on a.attrelid = t.oid and a.attnum = k.attnum order by k.place), \
         pg_get_expr(x.indpred, x.indrelid) \
         from pg_index x join pg_class i on i.oid = x.indexrelid join pg_class t on t.oid = x.indrelid \
         where t.relnamespace = 'public'::regnamespace",
    );
    for row in indexes.fetch_all(connection).await.unwrap() {
        let (table, name): (String, String) = (row.get(0), row.get(1));
        let columns: Vec<String> = row.get(4);
        schema.insert(if row.get(2) {
            key_line(&table, &columns)
        } else {
            index_line(&table, &name, row.get(3), &columns.join(" "), row.get::<Option<&str>, _>(5))
        });
    }
    schema
}

fn column_line(table: &str, column: &str, kind: &str, required: bool) -> String {
    let kind = if kind == "blob" { "bytea" } else { kind };
    format!("column {table}.{column} {kind}{}", if required { " not null" } else { "" })
}

fn key_line(table: &str, columns: &[String]) -> String {
    format!("key {table} ({})", columns.join(" "))
}

fn index_line(table: &str, name: &str, unique: bool, columns: &str, predicate: Option<&str>) -> String {
    let unique = if unique { "unique " } else { "" };
    let predicate = predicate.map(|text| {
        let plain = text.to_lowercase().replace("::text", "").replace(['(', ')'], " ");
        format!(" where {}", plain.split_whitespace().collect::<Vec<_>>().join(" "))
    });
    format!("{unique}index {name} on {table} ({columns}){}", predicate.unwrap_or_default())
}

#[test]
fn both_engines_have_the_same_schema() {
    block_on(async {
        let Some(postgres) = TestDb::postgres().await else { return };
        let Raw::Postgres(mut connection) = postgres.raw().await else {
            unreachable!("asked for PostgreSQL")
        };
        let theirs = of_postgres(&mut connection).await;
        let sqlite = TestDb::sqlite().await;
        let Raw::Sqlite(mut connection) = sqlite.raw().await else { unreachable!("asked for SQLite") };
        let ours = of_sqlite(&mut connection).await;
        let differences: Vec<_> = ours.symmetric_difference(&theirs).collect();
        assert!(differences.is_empty(), "on one engine only: {differences:#?}");
        assert!(ours.len() > 100);
    });
}
