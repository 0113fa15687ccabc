//! What inboxes are told of without it being stored: unread messages, and who can be reached.

use std::collections::HashMap;

use super::{
    Bulk, Column::Int, Db, Result, Value, people::PersonRow, sql, sql_for, statements, tallies::ANYBODY,
};
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

/// People's places in threads.
static PLACES: Bulk = Bulk::new(
    "select p.conversation_id, p.person_id, p.guest, p.read_id, c.organization_id, c.last_message_id, \
     c.internal_message_id from",
    &[Int, Int],
    "join participant p on p.conversation_id = v.column1 and p.person_id = v.column2 and p.removed_at is null \
     join conversation c on c.id = p.conversation_id",
);
/// What is beyond each watermark, once for all who stand there: messages by author, and where the newest tally is beyond it
/// too, what all wrote between the two tallies (as author 0). Messages beyond the newest tally are counted, as are those
/// that are in it although they are read, or deleted.
static BEYOND: Bulk = Bulk::new(
    "with w as (select v.column1 as conversation_id, v.column2 as read_id, \
     coalesce((select t.message_id from message_tally t where t.conversation_id = v.column1 and t.author_id = 0 \
     order by t.message_id desc limit 1), 0) as tallied_id, \
     coalesce((select t.message_id from message_tally t where t.conversation_id = v.column1 and t.author_id = 0 \
     and t.message_id <= v.column2 order by t.message_id desc limit 1), 0) as base_id from",
    &[Int, Int],
    ") select w.conversation_id, w.read_id, w.tallied_id, m.author_id, m.internal, count(*) as messages from w \
     join message m on m.conversation_id = w.conversation_id \
     and m.id > case when w.tallied_id > w.read_id then w.tallied_id else w.read_id end and m.deleted_at is null \
     group by w.conversation_id, w.read_id, w.tallied_id, m.author_id, m.internal \
     union all select w.conversation_id, w.read_id, w.tallied_id, m.author_id, m.internal, -count(*) from w \
     join message m on m.conversation_id = w.conversation_id and m.id > w.base_id and m.id <= w.read_id \
     where w.tallied_id > w.read_id group by w.conversation_id, w.read_id, w.tallied_id, m.author_id, m.internal \
     union all select w.conversation_id, w.read_id, w.tallied_id, m.author_id, m.internal, -count(*) from w \
     join message m on m.conversation_id = w.conversation_id and m.id > w.read_id and m.id <= w.tallied_id \
     and m.deleted_at is not null group by w.conversation_id, w.read_id, w.tallied_id, m.author_id, m.internal \
     union all select w.conversation_id, w.read_id, w.tallied_id, a.author_id, false, a.public - coalesce(b.public, 0) \
     from w join message_tally a on a.conversation_id = w.conversation_id and a.author_id = 0 \
     and a.message_id = w.tallied_id left join message_tally b on b.conversation_id = w.conversation_id \
     and b.author_id = 0 and b.message_id = w.base_id where w.tallied_id > w.read_id \
     union all select w.conversation_id, w.read_id, w.tallied_id, a.author_id, true, \
     a.internal - coalesce(b.internal, 0) \
     from w join message_tally a on a.conversation_id = w.conversation_id and a.author_id = 0 \
     and a.message_id = w.tallied_id left join message_tally b on b.conversation_id = w.conversation_id \
     and b.author_id = 0 and b.message_id = w.base_id where w.tallied_id > w.read_id",
);
/// How many of the messages between the tallies of a watermark and of that message the person wrote: thread, person,
/// watermark, newest tally.
static OWN: Bulk = Bulk::new(
    "select w.conversation_id, w.person_id, a.public - coalesce(b.public, 0) as public, \
     a.internal - coalesce(b.internal, 0) as internal from (select v.column1 as conversation_id, \
     v.column2 as person_id, (select t.message_id from message_tally t where t.conversation_id = v.column1 \
     and t.author_id = v.column2 and t.message_id <= v.column4 order by t.message_id desc limit 1) as last_id, \
     (select t.message_id from message_tally t where t.conversation_id = v.column1 and t.author_id = v.column2 \
     and t.message_id <= v.column3 order by t.message_id desc limit 1) as base_id from",
    &[Int, Int, Int, Int],
    ") w join message_tally a on a.conversation_id = w.conversation_id and a.author_id = w.person_id \
     and a.message_id = w.last_id left join message_tally b on b.conversation_id = w.conversation_id \
     and b.author_id = w.person_id and b.message_id = w.base_id",
);
/// For tests that prepare each.
pub(super) static IN_BULK: &[&Bulk] = &[&PLACES, &BEYOND, &OWN];

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
    tallied_id: MessageId,
    author_id: PersonId,
    internal: bool,
    messages: i64,
}

#[derive(sqlx_macros::FromRow)]
struct OwnRow {
    conversation_id: ConversationId,
    person_id: PersonId,
    public: i64,
    internal: i64,
}

/// What these people have not read of these threads, where they take part. What is written meanwhile may be counted or not.
pub async fn unread(db: &Db, places: &[(ConversationId, PersonId)]) -> Result<Vec<Unread>> {
    let mut reader = db.reader().await?;
    let places: Vec<PlaceRow> =
        PLACES.read(&mut reader, places, |v, (thread, person)| v.bind(*thread).bind(*person)).await?;
    let mut marks: Vec<_> = places.iter().map(|at| (at.conversation_id, at.read_id)).collect();
    marks.sort_unstable();
    marks.dedup();
    // Each watermark in one statement, which sees one newest tally.
    let mut beyond: HashMap<(ConversationId, MessageId), Vec<BeyondRow>> = HashMap::new();
    let rows =
        BEYOND.read::<_, BeyondRow>(&mut reader, &marks, |v, (thread, read)| v.bind(*thread).bind(*read));
    // Tallies never change, so that those up to the same message are the same ones.
    let mut tallied: HashMap<(ConversationId, MessageId), MessageId> = HashMap::new();
    for row in rows.await? {
        if row.author_id == ANYBODY {
            tallied.insert((row.conversation_id, row.read_id), row.tallied_id);
        }
        beyond.entry((row.conversation_id, row.read_id)).or_default().push(row);
    }
    let beyond =
        |place: &PlaceRow| beyond.get(&(place.conversation_id, place.read_id)).map_or(&[][..], Vec::as_slice);
    let crossing: Vec<_> = places
        .iter()
        .filter_map(|at| {
            let tallied = tallied.get(&(at.conversation_id, at.read_id))?;
            Some((at.conversation_id, at.person_id, at.read_id, *tallied))
        })
        .collect();
    let own = OWN.read::<_, OwnRow>(&mut reader, &crossing, |v, (thread, person, read, tallied)| {
        v.bind(*thread).bind(*person).bind(*read).bind(*tallied)
    });
    let own: HashMap<_, _> =
        own.await?.into_iter().map(|row| ((row.conversation_id, row.person_id), row)).collect();
    let unread = |place: &PlaceRow| {
        let others = beyond(place).iter().filter(|row| row.author_id != place.person_id);
        let visible = others.filter(|row| !(place.guest && row.internal));
        let tallied_own = own
            .get(&(place.conversation_id, place.person_id))
            .map_or(0, |row| row.public + if place.guest { 0 } else { row.internal });
        let newest_internal = if place.guest { MessageId(0) } else { place.internal_message_id };
        Unread {
            conversation: place.conversation_id,
            person: place.person_id,
            organization: place.organization_id,
            last_message: place.last_message_id.max(newest_internal),
            unread: visible.map(|row| row.messages).sum::<i64>() - tallied_own,
        }
    };
    Ok(places.iter().map(unread).collect())
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
