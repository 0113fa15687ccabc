//! People: members, guests by link, anonymous visitors; their devices, favourites and groups.

use uuid::Uuid;

use super::{
    Bulk, Column::Int, Db, Executor, Result, Stmt, Value, gather::Question, sql, sql_for,
    statements::statements,
};
use crate::{
    base::{clock::Timestamp, secret::Secret},
    domain::{
        ids::{DeviceId, GroupId, OrgId, PersonId, StreamId},
        query::{Field, Kind, List, Page},
    },
};

statements! {
    BY_ID = "select * from person where id = $1";
    IN_ORGANIZATION =
        "select * from person where id = $2 and organization_id = $1 and removed_at is null";
    MANY_IN_ORGANIZATION = listed(
        "select * from person where id" ["$2"],
        "and organization_id = $1 and removed_at is null"
    );
    BRIEF = "select id, name, username, title, location from person where id = $1";
    BRIEF_MANY = listed("select id, name, username, title, location from person where id" ["$1"]);
    CREDENTIALS_BY_EMAIL =
        "select id, organization_id, kind, password_hash, active, confirmed_at from person \
         where email_key = $1 and removed_at is null";
    CREDENTIALS_BY_USERNAME =
        "select id, organization_id, kind, password_hash, active, confirmed_at from person \
         where username_key = $1 and removed_at is null";
    EMAIL_IS_FREE =
        "select cast(1 as bigint) where not exists (select 1 from person where email_key = $1 and removed_at is null and id <> $2)";
    USERNAME_IS_FREE =
        "select cast(1 as bigint) where not exists \
         (select 1 from person where username_key = $1 and removed_at is null and id <> $2)";
    IS_LIVING =
        "select cast(1 as bigint) from person where id = $2 and organization_id = $1 and removed_at is null";
    HAS_ROOM =
        "select cast(1 as bigint) where (select count(*) from person \
         where organization_id = $1 and kind = 'member' and removed_at is null) < $2";
    HAS_OTHER_ADMINISTRATOR =
        "select cast(1 as bigint) from person where organization_id = $1 and id <> $2 and removed_at is null and active \
         and role in ('SiteAdmin', 'EnterpriseAdmin')";
    INSERT =
        "insert into person (id, uuid, organization_id, login_id, kind, name, name_key, email, email_key, username, \
         username_key, title, location, phone, language, license, role, password_hash, status, status_message, \
         unavailable_expires_at, on_call, active, first_login, confirmed_at, confirmation_sent_at, \
         invitation_sent_at, first_call_at, last_used_at, current_sign_in_at, avatar_file, token_version, stream_id, \
         created_at, updated_at, removed_at) \
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, 101, null, null, \
         false, $19, true, $20, null, $21, null, null, null, null, 1, $22, $23, $23, null)";
    UPDATE =
        "update person set updated_at = $3, name = coalesce($4, name), name_key = coalesce($5, name_key), \
         email = coalesce($6, email), email_key = coalesce($7, email_key), \
         username = nullif(coalesce($8, username), ''), username_key = nullif(coalesce($9, username_key), ''), \
         title = nullif(coalesce($10, title), ''), location = nullif(coalesce($11, location), ''), \
         phone = nullif(coalesce($12, phone), ''), language = nullif(coalesce($13, language), ''), \
         license = coalesce($14, license), role = coalesce($15, role), \
         password_hash = coalesce($16, password_hash), status = coalesce($17, status), \
         on_call = coalesce($18, on_call), active = coalesce($19, active), \
         token_version = token_version + $20 \
         where organization_id = $1 and id = $2 and removed_at is null";
    SET_AVAILABILITY =
        "update person set updated_at = $3, status = $4, status_message = $5, unavailable_expires_at = $6 \
         where organization_id = $1 and id = $2 and removed_at is null";
    SIGNED_IN =
        "update person set current_sign_in_at = $2, last_used_at = $2, first_login = false, \
         confirmed_at = coalesce(confirmed_at, $2) where id = $1 and removed_at is null";
    REMOVE =
        "update person set removed_at = $3, updated_at = $3, active = false, token_version = token_version + 1, \
         name = 'Deleted User', name_key = 'deleted user', email = null, email_key = null, username = null, \
         username_key = null, title = null, location = null, phone = null, password_hash = null, \
         status = 101, status_message = null, unavailable_expires_at = null, on_call = false, avatar_file = null \
         where organization_id = $1 and id = $2 and removed_at is null";
    COUNT =
        "select count(*), count(case when active then 1 end) from person \
         where organization_id = $1 and kind = 'member' and removed_at is null";
    FACES = listed(
        "select id, organization_id, login_id, name from person where login_id" ["$1"],
        "and id <> login_id and removed_at is null order by id"
    );
    GROUPS_OF = listed(
        "select m.person_id, m.admin, m.member, g.id, g.name from group_member m \
         join people_group g on g.id = m.group_id where m.person_id" ["$1"],
        "and g.kind = 'pod' order by g.name_key, g.id"
    );
    GROUPS_KNOWN = listed(
        "select id from people_group where id" ["$2"],
        "and organization_id = $1 and kind = 'pod'"
    );
    GROUPS_LEAVE = "delete from group_member where person_id = $1";
    GROUP_JOIN =
        "insert into group_member (group_id, person_id, admin, member) values ($1, $2, $3, $4) \
         on conflict (group_id, person_id) do update set \
         admin = excluded.admin, member = excluded.member";
    FAVORITES = listed("select contact_id from favorite where person_id = $1 and contact_id" ["$2"]);
    FAVORITES_FORGET = "delete from favorite where person_id = $1";
    DEVICE_SAVE =
        "insert into device (id, person_id, login_id, device_id, platform, push_id, created_at, updated_at) \
         values ($1, $2, $3, $4, $5, $6, $7, $7) \
         on conflict (platform, push_id) do update set person_id = excluded.person_id, \
         login_id = excluded.login_id, device_id = excluded.device_id, updated_at = excluded.updated_at";
    DEVICE_REMOVE = "delete from device where login_id = $1 and (push_id = $2 or device_id = $2)";
    DEVICES_FORGET = "delete from device where person_id = $1";
}

/// A person, without the password.
#[derive(Clone, Debug, sqlx_macros::FromRow)]
#[expect(missing_docs, reason = "the columns of table person, explained in the migration")]
pub struct PersonRow {
    pub id: PersonId,
    pub uuid: Uuid,
    pub organization_id: OrgId,
    pub login_id: PersonId,
    pub kind: String,
    pub name: String,
    pub email: Option<String>,
    pub username: Option<String>,
    pub title: Option<String>,
    pub location: Option<String>,
    pub phone: Option<String>,
    pub language: Option<String>,
    pub license: String,
    pub role: String,
    pub status: i64,
    pub status_message: Option<String>,
    pub unavailable_expires_at: Option<Timestamp>,
    pub on_call: bool,
    pub active: bool,
    pub first_login: bool,
    pub confirmed_at: Option<Timestamp>,
    pub confirmation_sent_at: Option<Timestamp>,
    pub invitation_sent_at: Option<Timestamp>,
    pub first_call_at: Option<Timestamp>,
    pub last_used_at: Option<Timestamp>,
    pub current_sign_in_at: Option<Timestamp>,
    pub avatar_file: Option<String>,
    pub token_version: i64,
    pub stream_id: StreamId,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub removed_at: Option<Timestamp>,
}

/// What a sign-in needs of a person. Not `Debug`: it holds the hash.
#[derive(Clone, sqlx_macros::FromRow)]
pub struct Credentials {
    /// The person.
    pub id: PersonId,
    /// The organisation.
    pub organization_id: OrgId,
    /// `member`, `guest` or `anonymous`.
    pub kind: String,
    /// The argon2id hash; none = no password was set.
    pub password_hash: Option<String>,
    /// False = switched off.
    pub active: bool,
    /// When the e-mail address was confirmed.
    pub confirmed_at: Option<Timestamp>,
}

/// A new person. Emptiness of `email`, `username` and so on is NULL.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the columns of table person, explained in the migration")]
pub struct NewPerson {
    pub id: PersonId,
    pub uuid: Uuid,
    pub organization: OrgId,
    pub login: PersonId,
    pub kind: &'static str,
    pub name: String,
    pub email: Option<String>,
    pub username: Option<String>,
    pub title: Option<String>,
    pub location: Option<String>,
    pub phone: Option<String>,
    pub language: Option<String>,
    pub license: String,
    pub role: String,
    pub password_hash: Option<Secret>,
    pub active: bool,
    pub confirmed_at: Option<Timestamp>,
    pub invitation_sent_at: Option<Timestamp>,
    pub stream: StreamId,
    pub created_at: Timestamp,
}

impl NewPerson {
    /// The row as the database will hold it, to show it without reading it back.
    pub fn row(&self) -> PersonRow {
        PersonRow {
            id: self.id,
            uuid: self.uuid,
            organization_id: self.organization,
            login_id: self.login,
            kind: self.kind.to_owned(),
            name: self.name.clone(),
            email: self.email.clone(),
            username: self.username.clone(),
            title: self.title.clone(),
            location: self.location.clone(),
            phone: self.phone.clone(),
            language: self.language.clone(),
            license: self.license.clone(),
            role: self.role.clone(),
            status: 101,
            status_message: None,
            unavailable_expires_at: None,
            on_call: false,
            active: self.active,
            first_login: true,
            confirmed_at: self.confirmed_at,
            confirmation_sent_at: None,
            invitation_sent_at: self.invitation_sent_at,
            first_call_at: None,
            last_used_at: None,
            current_sign_in_at: None,
            avatar_file: None,
            token_version: 1,
            stream_id: self.stream,
            created_at: self.created_at,
            updated_at: self.created_at,
            removed_at: None,
        }
    }
}

/// Changes of a person; `None` leaves a column as it is. An empty text clears a column that may be NULL.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "the columns of table person, explained in the migration")]
pub struct PersonChange {
    pub name: Option<String>,
    pub email: Option<String>,
    pub username: Option<String>,
    pub title: Option<String>,
    pub location: Option<String>,
    pub phone: Option<String>,
    pub language: Option<String>,
    pub license: Option<String>,
    pub role: Option<String>,
    pub password_hash: Option<Secret>,
    pub status: Option<i64>,
    pub on_call: Option<bool>,
    pub active: Option<bool>,
    /// Makes all tokens of the person worthless.
    pub ends_tokens: bool,
}

/// What lists of people can be filtered and ordered by.
pub const FIELDS: &[Field] = &[
    Field::new("id", "p.id", Kind::Int),
    Field::new("name", "p.name_key", Kind::Folded),
    Field::new("email", "p.email_key", Kind::Folded),
    Field::new("username", "p.username_key", Kind::Folded),
    Field::new("title", "p.title", Kind::Text),
    Field::new("location", "p.location", Kind::Text),
    Field::new("license", "p.license", Kind::Text),
    Field::new("role_name", "p.role", Kind::Text),
    Field::new("active", "p.active", Kind::Bool),
    Field::new("status", "p.status", Kind::Int),
    Field::new("created_at", "p.created_at", Kind::Time),
    Field::new("updated_at", "p.updated_at", Kind::Time),
    Field::new("last_used_at", "p.last_used_at", Kind::Time),
];

/// Which people a list shows; always members of one organisation who were not removed.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// Switched-off people too.
    pub inactive: bool,
    /// Not this one.
    pub except: Option<PersonId>,
    /// Only people who share a group with this one.
    pub team_of: Option<PersonId>,
    /// Only people whose name, title or location contains this.
    pub term: Option<String>,
    /// [`Scope::term`] also searches e-mail address and username.
    pub term_in_addresses: bool,
}

/// The person with that id, removed or not.
pub async fn by_id(on: impl Executor, id: PersonId) -> Result<Option<PersonRow>> {
    sql(BY_ID).bind(id).optional(on).await
}

/// A living person of the organisation.
pub async fn in_organization(
    on: impl Executor,
    organization: OrgId,
    id: PersonId,
) -> Result<Option<PersonRow>> {
    sql(IN_ORGANIZATION).bind(organization).bind(id).optional(on).await
}

/// Those of `ids` who live in the organisation, in no particular order.
pub async fn many(
    on: impl Executor,
    organization: OrgId,
    ids: impl IntoIterator<Item = PersonId>,
) -> Result<Vec<PersonRow>> {
    sql_for(MANY_IN_ORGANIZATION).bind(organization).bind(Value::ids(ids)).all(on).await
}

/// What others see of a person beside what the person wrote or did.
#[derive(Clone, Debug, sqlx_macros::FromRow)]
pub struct BriefPerson {
    /// The person.
    pub id: PersonId,
    /// Display name.
    pub name: String,
    /// Log-in name.
    pub username: Option<String>,
    /// Job title.
    pub title: Option<String>,
    /// Where they are.
    pub location: Option<String>,
}

/// One person in brief, removed or not.
pub async fn brief(on: impl Executor, id: PersonId) -> Result<Option<BriefPerson>> {
    sql(BRIEF).bind(id).optional(on).await
}

/// Several people in brief, removed or not, in no particular order.
pub async fn brief_many(on: impl Executor, ids: &[PersonId]) -> Result<Vec<BriefPerson>> {
    sql_for(BRIEF_MANY).bind(Value::ids(ids.iter().copied())).all(on).await
}

/// The person who signs in with this e-mail address or username, in any case.
pub async fn credentials(db: &Db, login: &str) -> Result<Option<Credentials>> {
    let key = login.trim().to_lowercase();
    if key.contains('@')
        && let Some(found) = sql(CREDENTIALS_BY_EMAIL).bind(key.as_str()).optional(db).await?
    {
        return Ok(Some(found));
    }
    sql(CREDENTIALS_BY_USERNAME).bind(key).optional(db).await
}

/// A page of people and how many there are in all.
pub async fn list(db: &Db, organization: OrgId, scope: &Scope, list: &List) -> Result<(Vec<PersonRow>, i64)> {
    let count = sql("select count(*) from person p");
    let (total,): (i64,) =
        super::filter::conditions(scoped(count, organization, scope), &list.filter).one(db).await?;
    if total <= list.page.offset() {
        return Ok((Vec::new(), total));
    }
    let rows = scoped(sql("select p.* from person p"), organization, scope);
    let rows = super::filter::conditions(rows, &list.filter);
    let rows = super::filter::order(rows, &list.order, "p.name_key, p.id", "p.id");
    Ok((limited(rows, list.page).all(db).await?, total))
}

/// Up to `limit` people, by name; of every organisation where none is given.
pub async fn find(db: &Db, organization: Option<OrgId>, scope: &Scope, limit: i64) -> Result<Vec<PersonRow>> {
    let stmt = sql("select p.* from person p where p.kind = 'member' and p.removed_at is null");
    let stmt = match organization {
        Some(organization) => stmt.push(" and p.organization_id = ").push_bind(organization),
        None => stmt,
    };
    narrowed(stmt, scope).push(" order by p.name_key, p.id limit ").push_bind(limit).all(db).await
}

fn scoped(stmt: Stmt, organization: OrgId, scope: &Scope) -> Stmt {
    let stmt = stmt.push(" where p.kind = 'member' and p.removed_at is null and p.organization_id = ");
    narrowed(stmt.push_bind(organization), scope)
}

fn narrowed(mut stmt: Stmt, scope: &Scope) -> Stmt {
    if !scope.inactive {
        stmt = stmt.push(" and p.active");
    }
    if let Some(person) = scope.except {
        stmt = stmt.push(" and p.id <> ").push_bind(person);
    }
    if let Some(person) = scope.team_of {
        stmt = stmt
            .push(
                " and exists (select 1 from group_member mine join group_member theirs \
                 on theirs.group_id = mine.group_id and theirs.person_id = p.id where mine.person_id = ",
            )
            .push_bind(person)
            .push(")");
    }
    if let Some(term) = &scope.term {
        let pattern = super::filter::containing(term);
        let mut columns = vec!["p.name_key", "lower(p.title)", "lower(p.location)"];
        if scope.term_in_addresses {
            columns.extend(["p.email_key", "p.username_key"]);
        }
        stmt = stmt.push(" and (");
        for (n, column) in columns.into_iter().enumerate() {
            stmt = stmt.push(if n == 0 { "" } else { " or " }).push(column).push(" like ");
            stmt = stmt.push_bind(pattern.as_str()).push(r" escape '\'");
        }
        stmt = stmt.push(")");
    }
    stmt
}

fn limited(stmt: Stmt, page: Page) -> Stmt {
    stmt.push(" limit ").push_bind(page.limit()).push(" offset ").push_bind(page.offset())
}

/// Members of the organisation: all, and those who are active.
pub async fn count(on: impl Executor, organization: OrgId) -> Result<(i64, i64)> {
    sql(COUNT).bind(organization).one(on).await
}

/// A row (nothing else) when the e-mail address belongs to nobody but perhaps `id`.
pub fn email_is_free(email: &str, id: PersonId) -> Stmt {
    sql(EMAIL_IS_FREE).bind(email.to_lowercase()).bind(id)
}

/// A row when the username belongs to nobody but perhaps `id`.
pub fn username_is_free(username: &str, id: PersonId) -> Stmt {
    sql(USERNAME_IS_FREE).bind(username.to_lowercase()).bind(id)
}

/// A row when the person lives in the organisation.
pub fn is_living(organization: OrgId, id: PersonId) -> Stmt {
    sql(IS_LIVING).bind(organization).bind(id)
}

/// A row when the organisation has fewer than `most` members.
pub fn has_room(organization: OrgId, most: i64) -> Stmt {
    sql(HAS_ROOM).bind(organization).bind(most)
}

/// A row when somebody else administers the organisation, too.
pub fn has_other_administrator(organization: OrgId, id: PersonId) -> Stmt {
    sql(HAS_OTHER_ADMINISTRATOR).bind(organization).bind(id)
}

/// Adds a person: one row.
pub fn insert(new: &NewPerson) -> Stmt {
    let hash = new.password_hash.as_ref().map(|hash| hash.expose().to_owned());
    sql(INSERT)
        .bind(new.id)
        .bind(new.uuid)
        .bind(new.organization)
        .bind(new.login)
        .bind(new.kind)
        .bind(new.name.as_str())
        .bind(new.name.to_lowercase())
        .bind(new.email.clone())
        .bind(new.email.as_ref().map(|email| email.to_lowercase()))
        .bind(new.username.clone())
        .bind(new.username.as_ref().map(|name| name.to_lowercase()))
        .bind(new.title.clone())
        .bind(new.location.clone())
        .bind(new.phone.clone())
        .bind(new.language.clone())
        .bind(new.license.as_str())
        .bind(new.role.as_str())
        .bind(hash)
        .bind(new.active)
        .bind(new.confirmed_at)
        .bind(new.invitation_sent_at)
        .bind(new.stream)
        .bind(new.created_at)
}

/// Changes a living person: one row.
pub fn update(organization: OrgId, id: PersonId, change: &PersonChange, now: Timestamp) -> Stmt {
    let lower = |text: &Option<String>| text.as_ref().map(|text| text.to_lowercase());
    sql(UPDATE)
        .bind(organization)
        .bind(id)
        .bind(now)
        .bind(change.name.clone())
        .bind(lower(&change.name))
        .bind(change.email.clone())
        .bind(lower(&change.email))
        .bind(change.username.clone())
        .bind(lower(&change.username))
        .bind(change.title.clone())
        .bind(change.location.clone())
        .bind(change.phone.clone())
        .bind(change.language.clone())
        .bind(change.license.clone())
        .bind(change.role.clone())
        .bind(change.password_hash.as_ref().map(|hash| hash.expose().to_owned()))
        .bind(change.status)
        .bind(change.on_call)
        .bind(change.active)
        .bind(i64::from(change.ends_tokens))
}

/// Sets what others see of somebody's availability: one row.
pub fn set_availability(
    organization: OrgId,
    id: PersonId,
    status: i64,
    message: Option<String>,
    until: Option<Timestamp>,
    now: Timestamp,
) -> Stmt {
    sql(SET_AVAILABILITY).bind(organization).bind(id).bind(now).bind(status).bind(message).bind(until)
}

/// Notes a sign-in; a first one confirms the address, since the invitation or an administrator led to it.
pub fn signed_in(id: PersonId, now: Timestamp) -> Stmt {
    sql(SIGNED_IN).bind(id).bind(now)
}

/// Removes a person for good: what names them is overwritten, tokens die. One row.
pub fn remove(organization: OrgId, id: PersonId, now: Timestamp) -> Stmt {
    sql(REMOVE).bind(organization).bind(id).bind(now)
}

/// What goes with a removed person: devices, favourites, memberships of groups.
pub fn remove_belongings(id: PersonId) -> [Stmt; 3] {
    [sql(DEVICES_FORGET).bind(id), sql(FAVORITES_FORGET).bind(id), sql(GROUPS_LEAVE).bind(id)]
}

/// An alias: a login's face in a workspace.
#[derive(Clone, Debug, sqlx_macros::FromRow)]
pub struct Face {
    /// The alias.
    pub id: PersonId,
    /// Its workspace.
    pub organization_id: OrgId,
    /// The login behind it.
    pub login_id: PersonId,
    /// Its name.
    pub name: String,
}

/// The aliases of these logins.
pub async fn faces(on: impl Executor, logins: impl IntoIterator<Item = PersonId>) -> Result<Vec<Face>> {
    sql_for(FACES).bind(Value::ids(logins)).all(on).await
}

static FACES_OF: Bulk = Bulk::new(
    "select v.column1 as asked, p.id, p.organization_id, p.login_id, p.name from",
    &[Int, Int],
    "join person p on p.login_id = v.column2 and p.id <> p.login_id and p.removed_at is null order by p.id",
);
const FACE: Question<PersonId, Face> =
    Question { bulk: &FACES_OF, fill: |v, login| v.bind(*login), gather: |gathers| &gathers.faces };
/// What is asked through a gather.
pub(super) static GATHERED: &[&Bulk] = &[&FACES_OF];

/// As [`faces`], for one login at a time that many have.
pub async fn faces_of(db: &Db, login: PersonId) -> Result<Vec<Face>> {
    FACE.ask(db, login).await
}

/// A membership of a group.
#[derive(Clone, Debug, sqlx_macros::FromRow)]
pub struct Membership {
    /// Who.
    pub person_id: PersonId,
    /// Administers the group.
    pub admin: bool,
    /// Belongs to it.
    pub member: bool,
    /// The group.
    pub id: GroupId,
    /// Its name.
    pub name: String,
}

/// The groups (pods) of these people, by name.
pub async fn groups_of(
    on: impl Executor,
    people: impl IntoIterator<Item = PersonId>,
) -> Result<Vec<Membership>> {
    sql_for(GROUPS_OF).bind(Value::ids(people)).all(on).await
}

/// Those of `groups` that are pods of the organisation.
pub async fn known_groups(
    on: impl Executor,
    organization: OrgId,
    groups: impl IntoIterator<Item = GroupId>,
) -> Result<Vec<GroupId>> {
    let rows: Vec<(GroupId,)> =
        sql_for(GROUPS_KNOWN).bind(organization).bind(Value::ids(groups)).all(on).await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// Takes a person out of all groups.
pub fn leave_groups(id: PersonId) -> Stmt {
    sql(GROUPS_LEAVE).bind(id)
}

/// Puts a person into a group.
pub fn join_group(group: GroupId, id: PersonId, admin: bool, member: bool) -> Stmt {
    sql(GROUP_JOIN).bind(group).bind(id).bind(admin).bind(member)
}

/// Those of `contacts` who are favourites of `person`.
pub async fn favorites(
    on: impl Executor,
    person: PersonId,
    contacts: impl IntoIterator<Item = PersonId>,
) -> Result<Vec<PersonId>> {
    let rows: Vec<(PersonId,)> = sql_for(FAVORITES).bind(person).bind(Value::ids(contacts)).all(on).await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// A push device.
#[derive(Clone, Debug)]
pub struct NewDevice {
    /// Its number, used when the push id is new.
    pub id: DeviceId,
    /// Who signed in on it.
    pub person: PersonId,
    /// The login behind them.
    pub login: PersonId,
    /// The app's own name of the device.
    pub device_id: String,
    /// `gcm`, `apns`, `apnspk` or `web`.
    pub platform: String,
    /// Where pushes go; one device has one owner, the last who registered it.
    pub push_id: String,
}

/// Registers a device or moves it to another person.
pub async fn save_device(on: impl Executor, device: &NewDevice, now: Timestamp) -> Result<u64> {
    sql(DEVICE_SAVE)
        .bind(device.id)
        .bind(device.person)
        .bind(device.login)
        .bind(device.device_id.as_str())
        .bind(device.platform.as_str())
        .bind(device.push_id.as_str())
        .bind(now)
        .execute(on)
        .await
}

/// Removes the login's device with this push id (or device id); the number of devices removed.
pub async fn remove_device(on: impl Executor, login: PersonId, id: &str) -> Result<u64> {
    sql(DEVICE_REMOVE).bind(login).bind(id).execute(on).await
}
