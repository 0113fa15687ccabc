//! What inboxes are told of without it being stored: unread messages, and who can be reached.

use std::collections::HashMap;

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
    PLACES = listed(
        "select p.conversation_id, p.person_id, p.guest, p.read_id, c.organization_id, c.last_message_id, \
         c.internal_message_id from participant p join conversation c on c.id = p.conversation_id \
         where p.conversation_id" ["$1"] "and p.person_id" ["$2"],
        "and p.removed_at is null"
    );
    /// What lies beyond each watermark in each of these threads, by author: once for all who are there, however many.
    BEYOND = {
        sqlite: "select w.conversation_id, w.read_id, m.author_id, m.internal, count(m.id) as messages from \
                 (select distinct p.conversation_id, p.read_id from participant p \
                 where p.conversation_id in (select value from json_each($1)) \
                 and p.person_id in (select value from json_each($2)) and p.removed_at is null) w \
                 left join message m on m.conversation_id = w.conversation_id and m.id > w.read_id \
                 and m.deleted_at is null group by w.conversation_id, w.read_id, m.author_id, m.internal",
        postgres: "select w.conversation_id, w.read_id, b.author_id, b.internal, coalesce(b.messages, 0) as messages \
                   from (select distinct p.conversation_id, p.read_id from participant p \
                   where p.conversation_id = any($1) and p.person_id = any($2) and p.removed_at is null) w \
                   left join lateral (select m.author_id, m.internal, count(*) as messages from message m \
                   where m.conversation_id = w.conversation_id and m.id > w.read_id and m.deleted_at is null \
                   group by m.author_id, m.internal) b on true",
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
#[derive(Clone, Copy, Debug)]
pub struct Unread {
    /// The thread.
    pub conversation: ConversationId,
    /// Who.
    pub person: PersonId,
    /// Whose the thread is.
    pub organization: OrgId,
    /// The newest message that this person sees; 0 = none.
    pub last_message: MessageId,
    /// Messages of others beyond the person's watermark.
    pub unread: i64,
}

#[derive(sqlx_macros::FromRow)]
struct PlaceRow {
    conversation_id: ConversationId,
    person_id: PersonId,
    guest: bool,
    read_id: MessageId,
    organization_id: OrgId,
    last_message_id: MessageId,
    internal_message_id: MessageId,
}

#[derive(sqlx_macros::FromRow)]
struct BeyondRow {
    conversation_id: ConversationId,
    read_id: MessageId,
    author_id: Option<PersonId>,
    internal: Option<bool>,
    messages: i64,
}

/// What these people have not read of these threads, where they take part. Whoever reads at this moment may be left out.
pub async fn unread(
    db: &Db,
    threads: impl IntoIterator<Item = ConversationId>,
    people: impl IntoIterator<Item = PersonId>,
) -> Result<Vec<Unread>> {
    let (threads, people) = (Value::ids(threads), Value::ids(people));
    let beyond: Vec<BeyondRow> = sql_for(BEYOND).bind(threads.clone()).bind(people.clone()).all(db).await?;
    let mut by_mark: HashMap<(ConversationId, MessageId), Vec<BeyondRow>> = HashMap::new();
    for row in beyond {
        by_mark.entry((row.conversation_id, row.read_id)).or_default().push(row);
    }
    let places: Vec<PlaceRow> = sql_for(PLACES).bind(threads).bind(people).all(db).await?;
    let unread = |place: PlaceRow| {
        let beyond = by_mark.get(&(place.conversation_id, place.read_id))?;
        let others = beyond.iter().filter(|row| row.author_id != Some(place.person_id));
        let visible = others.filter(|row| !(place.guest && row.internal == Some(true)));
        let newest_internal = if place.guest { MessageId(0) } else { place.internal_message_id };
        Some(Unread {
            conversation: place.conversation_id,
            person: place.person_id,
            organization: place.organization_id,
            last_message: place.last_message_id.max(newest_internal),
            unread: visible.map(|row| row.messages).sum(),
        })
    };
    Ok(places.into_iter().filter_map(unread).collect())
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
