//! What inboxes are told of without it being stored: unread messages, and who can be reached.

use super::{Db, Result, Value, people::PersonRow, sql, sql_for, statements};
use crate::{
    base::clock::Timestamp,
    domain::ids::{ConversationId, MessageId, OrgId, PersonId},
};

statements! {
    MEMBERS = listed(
        "select p.conversation_id, p.person_id, u.login_id from participant p \
         join person u on u.id = p.person_id where p.conversation_id" ["$1"],
        "and p.removed_at is null"
    );
    UNREAD = {
        sqlite: "select p.conversation_id, p.person_id, c.organization_id, \
                 case when p.guest then c.last_message_id else max(c.last_message_id, c.internal_message_id) end \
                 as last_message_id, \
                 (select count(*) from message m where m.conversation_id = p.conversation_id and m.id > p.read_id \
                 and m.author_id <> p.person_id and m.deleted_at is null and (not p.guest or not m.internal)) as unread \
                 from participant p join conversation c on c.id = p.conversation_id \
                 where p.conversation_id in (select value from json_each($1)) \
                 and p.person_id in (select value from json_each($2)) and p.removed_at is null",
        postgres: "select p.conversation_id, p.person_id, c.organization_id, \
                   case when p.guest then c.last_message_id else greatest(c.last_message_id, c.internal_message_id) end \
                   as last_message_id, \
                   (select count(*) from message m where m.conversation_id = p.conversation_id and m.id > p.read_id \
                   and m.author_id <> p.person_id and m.deleted_at is null and (not p.guest or not m.internal)) as unread \
                   from participant p join conversation c on c.id = p.conversation_id \
                   where p.conversation_id = any($1) and p.person_id = any($2) and p.removed_at is null",
    };
    /// Crowds look it up instead (`presence.get`): telling everybody of everybody grows with the square of the room.
    NEIGHBOURS = listed(
        "select distinct me.person_id as subject, u.id as watcher, u.login_id as login, \
         u.organization_id as organization from person s \
         join participant me on me.person_id = s.id and me.removed_at is null \
         join conversation c on c.id = me.conversation_id and c.status <> 'CLOSED' \
         join participant p on p.conversation_id = c.id and p.removed_at is null and p.person_id <> me.person_id \
         join person u on u.id = p.person_id where s.login_id" ["$1"],
        "and (select count(*) from (select 1 from participant x \
         where x.conversation_id = c.id and x.removed_at is null limit $2 + 1) crowd) <= $2"
    );
    /// Absences that ended by themselves in a span of time.
    ABSENCES_OVER = "select login_id from person where unavailable_expires_at > $1 and unavailable_expires_at <= $2";
    FACES = listed("select * from person where login_id" ["$1"], "and removed_at is null");
    ADMIRERS = listed(
        "select f.contact_id as subject, u.id as watcher, u.login_id as login, \
         u.organization_id as organization from person s join favorite f on f.contact_id = s.id \
         join person u on u.id = f.person_id where s.login_id" ["$1"]
    );
}

/// Who is in these threads: thread, person, login.
pub async fn members(
    db: &Db,
    threads: impl IntoIterator<Item = ConversationId>,
) -> Result<Vec<(ConversationId, PersonId, PersonId)>> {
    sql_for(MEMBERS).bind(Value::ids(threads)).all(db).await
}

/// What somebody has not read of a thread.
#[derive(Clone, Copy, Debug, sqlx_macros::FromRow)]
pub struct UnreadRow {
    /// The thread.
    pub conversation_id: ConversationId,
    /// Who.
    pub person_id: PersonId,
    /// Whose the thread is.
    pub organization_id: OrgId,
    /// The newest message that this person sees; 0 = none.
    pub last_message_id: MessageId,
    /// Messages of others beyond the person's watermark.
    pub unread: i64,
}

/// What these people have not read of these threads, where they take part.
pub async fn unread(
    db: &Db,
    threads: impl IntoIterator<Item = ConversationId>,
    people: impl IntoIterator<Item = PersonId>,
) -> Result<Vec<UnreadRow>> {
    sql_for(UNREAD).bind(Value::ids(threads)).bind(Value::ids(people)).all(db).await
}

/// All faces of these human beings.
pub async fn faces(db: &Db, logins: impl IntoIterator<Item = PersonId>) -> Result<Vec<PersonRow>> {
    sql_for(FACES).bind(Value::ids(logins)).all(db).await
}

/// The logins of those whose absence ended by itself after `since`, at `until` at the latest.
pub async fn absences_over(db: &Db, since: Timestamp, until: Timestamp) -> Result<Vec<PersonId>> {
    let rows: Vec<(PersonId,)> = sql(ABSENCES_OVER).bind(since).bind(until).all(db).await?;
    Ok(rows.into_iter().map(|(login,)| login).collect())
}

/// Somebody who is to know whether somebody else can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, sqlx_macros::FromRow)]
pub struct Watcher {
    /// Of whom.
    pub subject: PersonId,
    /// Who is to know.
    pub watcher: PersonId,
    /// The human being behind that face.
    pub login: PersonId,
    /// The watcher's organisation.
    pub organization: OrgId,
}

/// Whom it concerns that these human beings can be reached, or not: who shares an open thread of at most `crowd` people
/// with any face of them, and whose favourites they are.
pub async fn watchers(
    db: &Db,
    logins: impl IntoIterator<Item = PersonId> + Clone,
    crowd: i64,
) -> Result<Vec<Watcher>> {
    let mut found: Vec<Watcher> =
        sql_for(NEIGHBOURS).bind(Value::ids(logins.clone())).bind(crowd).all(db).await?;
    found.extend(sql_for(ADMIRERS).bind(Value::ids(logins)).all::<Watcher>(db).await?);
    Ok(found)
}
