//! Every kind of value goes in and comes out alike, NULLs included, and statements behave alike.

use serde::Serialize;
use switchboard::{
    base::clock::Timestamp,
    domain::{
        error::Error,
        ids::{CallId, Offset, PersonId, RingId, SessionId},
        permission::Permissions,
    },
    store::{Db, Dialects, Value, sql, sql_for},
};
use uuid::Uuid;

use crate::harness::db::on_both;

const MAKE: Dialects = Dialects {
    sqlite: "create table probe (id bigint not null primary key, t text, i bigint, b boolean, f double precision, \
             y blob, u uuid, at bigint)",
    postgres: "create table probe (id bigint not null primary key, t text collate \"C\", i bigint, b boolean, \
               f double precision, y bytea, u uuid, at bigint)",
};
const INSERT: &str = "insert into probe (id, t, i, b, f, y, u, at) values ($1, $2, $3, $4, $5, $6, $7, $8)";

#[derive(Debug, PartialEq, sqlx_macros::FromRow)]
struct Probe {
    id: PersonId,
    t: Option<String>,
    i: Option<i64>,
    b: Option<bool>,
    f: Option<f64>,
    y: Option<Vec<u8>>,
    u: Option<Uuid>,
    at: Option<Timestamp>,
}

#[derive(Debug, PartialEq, sqlx_macros::FromRow)]
struct Typed {
    t: CallId,
    i: Permissions,
    u: SessionId,
    at: Offset,
}

const UUID: Uuid = Uuid::from_u128(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);

async fn with_numbers(db: &Db, count: i64) {
    sql_for(MAKE).execute(db).await.unwrap();
    for id in 1..=count {
        sql("insert into probe (id, t, i) values ($1, $2, $3)")
            .bind(id)
            .bind(format!("t{id}"))
            .bind(id * 10)
            .execute(db)
            .await
            .unwrap();
    }
}

async fn ids(db: &Db, statement: switchboard::store::Stmt) -> Vec<i64> {
    let rows: Vec<(i64,)> = statement.push(" order by id").all(db).await.unwrap();
    rows.into_iter().map(|(id,)| id).collect()
}

on_both! {
    async fn every_type_comes_back(db: TestDb) {
        sql_for(MAKE).execute(&*db).await.unwrap();
        let full = Probe {
            id: PersonId(1),
            t: Some("tür 🚪 'quoted'".into()),
            i: Some(i64::MIN),
            b: Some(true),
            f: Some(0.1),
            y: Some(vec![0, 255, 1]),
            u: Some(UUID),
            at: Some(Timestamp(1_767_225_600_123_456)),
        };
        let changed = sql(INSERT)
            .bind(full.id)
            .bind(full.t.as_deref())
            .bind(full.i)
            .bind(full.b)
            .bind(full.f)
            .bind(full.y.clone())
            .bind(full.u)
            .bind(full.at)
            .execute(&*db)
            .await
            .unwrap();
        assert_eq!(changed, 1);
        let read: Probe = sql("select * from probe where u = $1").bind(UUID).one(&*db).await.unwrap();
        assert_eq!(read, full);
    }

    async fn nulls_keep_their_type(db: TestDb) {
        sql_for(MAKE).execute(&*db).await.unwrap();
        let null = Probe { id: PersonId(2), t: None, i: None, b: None, f: None, y: None, u: None, at: None };
        sql(INSERT)
            .bind(null.id)
            .bind(null.t.clone())
            .bind(null.i)
            .bind(null.b)
            .bind(null.f)
            .bind(null.y.clone())
            .bind(null.u)
            .bind(null.at)
            .execute(&*db)
            .await
            .unwrap();
        let read: Probe = sql("select * from probe where id = $1").bind(2_i64).one(&*db).await.unwrap();
        assert_eq!(read, null);
        let found: Option<(i64,)> =
            sql("select id from probe where ($1 is null or t = $1) and ($2 is null or u = $2)")
                .bind(None::<String>)
                .bind(None::<RingId>)
                .optional(&*db)
                .await
                .unwrap();
        assert_eq!(found, Some((2,)));
    }

    async fn types_of_the_domain_are_bound_and_read(db: TestDb) {
        sql_for(MAKE).execute(&*db).await.unwrap();
        let typed = Typed {
            t: CallId::from_uuid(UUID),
            i: Permissions::CALL | Permissions::VIEW_USERS,
            u: SessionId(UUID),
            at: Offset(7),
        };
        sql("insert into probe (id, t, i, u, at) values (1, $1, $2, $3, $4)")
            .bind(&typed.t)
            .bind(typed.i)
            .bind(typed.u)
            .bind(typed.at)
            .execute(&*db)
            .await
            .unwrap();
        let read: Typed = sql("select t, i, u, at from probe").one(&*db).await.unwrap();
        assert_eq!(read, typed);
    }

    async fn placeholders_are_reused_in_any_order(db: TestDb) {
        with_numbers(&db, 3).await;
        let found = sql("select id from probe where (t = $2 or t = $3) and id >= $1 and t <> $3")
            .bind(1_i64)
            .bind("t2")
            .bind("t3");
        assert_eq!(ids(&db, found).await, [2]);
    }

    async fn filters_are_appended(db: TestDb) {
        with_numbers(&db, 5).await;
        let from_two = sql("select id from probe where i >= $1").bind(20_i64);
        let filtered = from_two.clone().push(" and id <> ").push_bind(3_i64).push(" and i < ").push_bind(50_i64);
        assert_eq!(ids(&db, filtered).await, [2, 4]);
        assert_eq!(ids(&db, from_two).await, [2, 3, 4, 5]);
        let both = sql_for(Dialects {
            sqlite: "select id from probe where typeof(id) = 'integer'",
            postgres: "select id from probe where pg_typeof(id) = 'bigint'::regtype",
        });
        assert_eq!(ids(&db, both.push(" and id = ").push_bind(PersonId(4))).await, [4]);
    }

    async fn lists_are_matched(db: TestDb) {
        with_numbers(&db, 6).await;
        let listed = |list: &[i64]| sql("select id from probe where id in ").push_list(list.iter().copied());
        assert_eq!(ids(&db, listed(&[])).await, Vec::<i64>::new());
        assert_eq!(ids(&db, listed(&[2, 9, 5])).await, [2, 5]);
        let any = |list| sql_for(Dialects {
            sqlite: "select id from probe where id in (select value from json_each($1))",
            postgres: "select id from probe where id = any($1)",
        }).bind(list);
        assert_eq!(ids(&db, any(Value::ids([PersonId(1), PersonId(6), PersonId(7)]))).await, [1, 6]);
        assert_eq!(ids(&db, any(Value::Ints(Vec::new()))).await, Vec::<i64>::new());
        let texts = sql_for(Dialects {
            sqlite: "select id from probe where t in (select value from json_each($1))",
            postgres: "select id from probe where t = any($1)",
        });
        assert_eq!(ids(&db, texts.bind(Value::Texts(vec!["t3".into(), "\"".into()]))).await, [3]);
        sql("update probe set u = $1 where id = 4").bind(UUID).execute(&*db).await.unwrap();
        let uuids = sql_for(Dialects {
            sqlite: "select id from probe where u in (select unhex(value) from json_each($1))",
            postgres: "select id from probe where u = any($1)",
        });
        assert_eq!(ids(&db, uuids.bind(Value::Uuids(vec![Uuid::nil(), UUID]))).await, [4]);
    }

    async fn a_batch_travels_as_data_of_one_statement(db: TestDb) {
        #[derive(Serialize)]
        struct New<'a> {
            id: i64,
            t: &'a str,
            b: bool,
            y: String,
            u: String,
        }
        sql_for(MAKE).execute(&*db).await.unwrap();
        let text = "{\"a\":\"ü\\n\"}";
        let rows: Vec<_> = (1..=1_000)
            .map(|id| New { id, t: text, b: id % 2 == 0, y: hex::encode([1, 2]), u: UUID.simple().to_string() })
            .collect();
        let changed = sql_for(Dialects {
            sqlite: "insert into probe (id, t, b, y, u) \
                     select value ->> 'id', value ->> 't', value ->> 'b', unhex(value ->> 'y'), unhex(value ->> 'u') \
                     from json_each($1)",
            postgres: "insert into probe (id, t, b, y, u) \
                       select id, t, b, decode(y, 'hex'), u \
                       from jsonb_to_recordset(cast($1 as jsonb)) as r (id bigint, t text, b boolean, y text, u uuid)",
        })
        .bind(Value::json(&rows))
        .execute(&*db)
        .await
        .unwrap();
        assert_eq!(changed, 1_000);
        let last: Probe = sql("select * from probe where id = 1000").one(&*db).await.unwrap();
        assert_eq!((last.t.as_deref(), last.b, last.y, last.u), (Some(text), Some(true), Some(vec![1, 2]), Some(UUID)));
    }

    async fn absent_rows_are_none(db: TestDb) {
        with_numbers(&db, 1).await;
        let absent = || sql("select id from probe where id = 9");
        assert_eq!(absent().optional::<(i64,)>(&*db).await.unwrap(), None);
        assert!(absent().all::<(i64,)>(&*db).await.unwrap().is_empty());
        assert!(absent().one::<(i64,)>(&*db).await.is_err());
        assert_eq!(sql("delete from probe where id = 9").execute(&*db).await.unwrap(), 0);
        let back: (i64,) = sql("delete from probe where id = 1 returning i").one(&*db).await.unwrap();
        assert_eq!(back, (10,));
    }

    async fn upserts_and_sums_speak_one_text(db: TestDb) {
        with_numbers(&db, 2).await;
        let upsert = "insert into probe (id, i) values ($1, $2) on conflict (id) do update set i = excluded.i + probe.i";
        sql(upsert).bind(2_i64).bind(5_i64).execute(&*db).await.unwrap();
        sql("insert into probe (id) values (2) on conflict do nothing").execute(&*db).await.unwrap();
        let (sum, count): (i64, i64) =
            sql("select cast(coalesce(sum(i), 0) as bigint), count(*) from probe").one(&*db).await.unwrap();
        assert_eq!((sum, count), (35, 2));
    }

    async fn errors_tell_their_kind_and_no_value(db: TestDb) {
        with_numbers(&db, 1).await;
        sql("create unique index probe_text on probe (t)").execute(&*db).await.unwrap();
        let twice = sql("insert into probe (id, t) values ($1, $2)")
            .bind(2_i64)
            .bind("t1")
            .execute(&*db)
            .await
            .unwrap_err();
        assert!(twice.is_unique_violation() && !twice.is_unavailable());
        assert!(twice.violates("probe_text", "probe.t"));
        assert!(!twice.violates("probe_pkey", "probe.id"));
        let wrong = sql("insert into nowhere (a) values ($1)").bind("s3cret").execute(&*db).await.unwrap_err();
        assert!(!wrong.is_unique_violation() && !wrong.is_unavailable());
        let missing = sql("insert into meta (name, value) values ($1, $2)")
            .bind("s3cret")
            .bind(None::<String>)
            .execute(&*db)
            .await
            .unwrap_err();
        let unreadable = sql("select cast($1 as bigint) / 0, t from probe").bind("s3cret").one::<(i64, i64)>(&*db);
        let unreadable = unreadable.await.unwrap_err();
        for error in [wrong, missing, unreadable] {
            assert!(!format!("{error} {error:?}").contains("s3cret"), "{error}");
            let outside = Error::from(error);
            assert!(outside.is_temporary() && outside.context().is_some());
        }
    }
}
