//! Accounts: made, invited, changed, switched off, removed; their availability and devices.
//!
//! Promises: e-mail addresses and usernames are unique whatever their case, decided inside the commit; nobody gives,
//! takes or touches rights beyond their own; an organisation keeps an administrator; whoever is switched off or
//! removed is out at once, live sockets included; each change is an event of the organisation's stream.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    addresses,
    passwords::Passwords,
    person_views::{UserView, role_named, status},
    reachability::Reachability,
    tokens::{Revoked, Tokens, permissions_of},
    tools::actor_of,
};
use crate::{
    base::{
        clock::{Clock, Timestamp},
        random::Random,
        secret::Secret,
    },
    domain::{
        caller::Caller,
        codes::Code,
        error::{Error, Result},
        event::{NewEvent, StreamKind, user_channel},
        ids::{DeviceId, GroupId, OrgId, PersonId},
        once::Once,
        permission::Permissions,
    },
    journal::{Append, Guard, Journal, NewStream, Refusal, RowOp},
    store::{
        Db, Stmt, idempotency,
        ids::Ids,
        notices::{self, NewNotice},
        organizations::{self, OrganizationRow},
        people::{self, NewDevice, NewPerson, PersonChange, PersonRow},
        tokens::{self as token_store, AuditRow},
    },
};

/// Push services that a device may name.
const PLATFORMS: &[&str] = &["gcm", "apns", "apnspk", "web"];
/// Licences that a person may have.
const LICENSES: &[&str] = &["expert", "team", "bot", "device"];
/// Longest push or device id, in bytes: web push subscriptions are long.
const DEVICE_LIMIT: usize = 4_096;
/// Longest unavailability, in seconds: a year.
const LONGEST_ABSENCE: i64 = 366 * 24 * 3_600;

const GONE: Refusal = Refusal::new(Code::NotFound, "user not found");
const EMAIL_TAKEN: Refusal = Refusal::new(Code::EmailTaken, "the e-mail address belongs to somebody");
const USERNAME_TAKEN: Refusal = Refusal::new(Code::UsernameTaken, "the username belongs to somebody");
const LAST_ADMINISTRATOR: Refusal =
    Refusal::new(Code::Constraint, "the organisation would be left without an administrator");
const FULL: Refusal = Refusal::new(Code::Constraint, "the organisation has as many users as it may have");

/// A new account.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "the fields of the contract's request body")]
pub struct NewUser {
    pub name: String,
    /// E-mail address, or a username where there is no `@` in it.
    pub email: String,
    pub username: Option<String>,
    pub title: Option<String>,
    pub location: Option<String>,
    pub phone: Option<String>,
    pub license: Option<String>,
    pub role: Option<String>,
    pub password: Option<Secret>,
    pub pod_ids: Vec<GroupId>,
    pub admin_pod_ids: Vec<GroupId>,
    /// Ask the person first; always mailed.
    pub invite: bool,
    /// Tell the person that the account exists.
    pub send_email: bool,
}

/// What an administrator changes.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "the fields of the contract's request body")]
pub struct UserChange {
    pub name: Option<String>,
    pub username: Option<String>,
    pub title: Option<String>,
    pub location: Option<String>,
    pub phone: Option<String>,
    pub license: Option<String>,
    pub role: Option<String>,
    pub active: Option<bool>,
    pub on_call: Option<bool>,
    /// Replaces the groups that the person belongs to.
    pub pod_ids: Option<Vec<GroupId>>,
    /// Replaces the groups that the person administers.
    pub admin_pod_ids: Option<Vec<GroupId>>,
}

/// What people change of themselves.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "the fields of the contract's request body")]
pub struct OwnChange {
    pub name: Option<String>,
    pub email: Option<String>,
    pub username: Option<String>,
    pub password: Option<Secret>,
    pub title: Option<String>,
    pub location: Option<String>,
    pub phone: Option<String>,
    pub language: Option<String>,
    pub on_call: Option<bool>,
    pub status: Option<i64>,
}

/// A device that wants pushes.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the fields of the contract's request body")]
pub struct Device {
    pub device_id: String,
    pub platform: String,
    pub push_id: String,
}

/// Outcome of a request that made a person, as remembered under an idempotency key.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Made {
    /// The person.
    pub user: PersonId,
}

/// Use cases of accounts.
#[derive(Debug)]
pub struct People {
    parts: Parts,
}

/// What [`People`] is made of.
#[derive(Clone)]
#[expect(missing_docs, reason = "named by their types")]
pub struct Parts {
    pub db: Db,
    pub ids: Ids,
    pub clock: Clock,
    pub random: Random,
    pub journal: Journal,
    pub tokens: Tokens,
    pub passwords: Passwords,
    pub reachability: Reachability,
    /// The address that people find us at, for e-mails.
    pub public_url: String,
    /// How long idempotency keys count.
    pub keep: Duration,
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Parts")
    }
}

impl People {
    /// Wires it.
    pub fn new(parts: Parts) -> Self {
        Self { parts }
    }

    /// Makes or invites somebody in the caller's organisation.
    pub async fn create(&self, caller: &Caller, new: NewUser, once: &Once) -> Result<PersonId> {
        if let Some(Made { user }) = once.replayed()? {
            return Ok(user);
        }
        caller.require(Permissions::MANAGE_USERS)?;
        let Parts { journal, clock, .. } = &self.parts;
        let organization = self.organization(caller.organization).await?;
        let role = role_for(caller, new.role.as_deref())?;
        let groups = self.groups(caller.organization, &new.pod_ids, &new.admin_pod_ids).await?;
        let now = clock.now();
        let person = self.checked(&organization, &new, role, now).await?;
        let mut append = Append::default();
        append.guards.extend(person.email.as_deref().map(|email| Guard::Holds {
            stmt: people::email_is_free(email, person.id),
            otherwise: EMAIL_TAKEN,
        }));
        append.guards.extend(person.username.as_deref().map(|username| Guard::Holds {
            stmt: people::username_is_free(username, person.id),
            otherwise: USERNAME_TAKEN,
        }));
        if let Some(most) = organization.max_users {
            let stmt = people::has_room(organization.id, most);
            append.guards.push(Guard::Holds { stmt, otherwise: FULL });
        }
        append.streams.push(NewStream {
            id: person.stream,
            organization: organization.id,
            kind: StreamKind::User,
            channel: user_channel(person.id),
        });
        append = append.with(people::insert(&person));
        for (group, admin, member) in groups {
            append = append.with(people::join_group(group, person.id, admin, member));
        }
        if let Some(greeting) = self.greeting(caller, &organization, &person, &new)? {
            append = append.with(greeting);
        }
        append =
            append.with(self.audit(caller, "user.created", person.id, &json!({ "name": person.name }))?);
        let view = UserView::new(&person.row(), now, false);
        append.events.push(self.event(caller, &organization, "user.created", &view));
        for row in idempotency::rows(once, &Made { user: person.id }, now, now.minus(self.parts.keep)) {
            append = append.with(row);
        }
        journal.append(append).await?;
        Ok(person.id)
    }

    async fn checked(
        &self,
        organization: &OrganizationRow,
        new: &NewUser,
        role: &'static str,
        now: Timestamp,
    ) -> Result<NewPerson> {
        let Parts { ids, random, passwords, .. } = &self.parts;
        let (email, mut username) = match new.email.contains('@') {
            true => (Some(addresses::email(&new.email)?), None),
            false => (None, Some(addresses::username(&new.email)?)),
        };
        if let Some(wanted) = new.username.as_deref().filter(|text| !text.trim().is_empty()) {
            username = Some(addresses::username(wanted)?);
        }
        let approved = email.as_deref().is_some_and(|email| organization.approves(email));
        let password_hash = match &new.password {
            Some(_) if !approved => {
                let rule = "a password can be set only for an address in one of the organisation's domains";
                return Err(Error::new(Code::InvalidPassword, rule));
            }
            Some(password) => Some(passwords.hash(password).await?),
            None => None,
        };
        let id: PersonId = ids.next()?;
        let accepted = !new.invite || (organization.auto_accept && approved);
        Ok(NewPerson {
            id,
            uuid: random.uuid_v7(now),
            organization: organization.id,
            login: id,
            kind: "member",
            name: addresses::name(&new.name)?,
            email,
            username,
            title: optional_text("title", new.title.as_deref())?,
            location: optional_text("location", new.location.as_deref())?,
            phone: optional_phone(new.phone.as_deref())?,
            language: None,
            license: license(new.license.as_deref())?.unwrap_or("team").to_owned(),
            role: role.to_owned(),
            password_hash,
            active: true,
            confirmed_at: accepted.then_some(now),
            invitation_sent_at: new.invite.then_some(now),
            stream: ids.next()?,
            created_at: now,
        })
    }

    /// Changes somebody of the caller's organisation.
    pub async fn change(&self, caller: &Caller, id: PersonId, change: UserChange) -> Result<PersonRow> {
        caller.require(Permissions::MANAGE_USERS)?;
        let before = self.manageable(caller, id).await?;
        let organization = self.organization(caller.organization).await?;
        let role = match &change.role {
            Some(role) => Some(role_for(caller, Some(role))?),
            None => None,
        };
        let row = PersonChange {
            name: change.name.as_deref().map(addresses::name).transpose()?,
            username: optional_username(change.username.as_deref())?,
            title: changed_text("title", change.title.as_deref())?,
            location: changed_text("location", change.location.as_deref())?,
            phone: changed_phone(change.phone.as_deref())?,
            license: license(change.license.as_deref())?.map(str::to_owned),
            role: role.map(str::to_owned),
            on_call: change.on_call,
            active: change.active,
            ends_tokens: before.active && change.active == Some(false),
            ..PersonChange::default()
        };
        let now = self.parts.clock.now();
        let mut append = self.change_of(&before, &row, now);
        let loses_administration = row.ends_tokens
            || role.is_some_and(|role| !Permissions::of_role(role).contains(Permissions::MANAGE_USERS));
        if loses_administration {
            self.keep_an_administrator(&before, &mut append);
        }
        if change.pod_ids.is_some() || change.admin_pod_ids.is_some() {
            append = self.regroup(caller.organization, id, &change, append).await?;
        }
        let after = changed(&before, &row, now);
        if row.ends_tokens {
            append = append.with(token_store::revoke_person(id, now));
        }
        let changed_fields = names_of(&row);
        append =
            append.with(self.audit(caller, "user.updated", id, &json!({ "changed": changed_fields }))?);
        let view =
            Changed { user: UserView::new(&after, now, self.is_online(&after)), changed: changed_fields };
        append.events.push(self.event(caller, &organization, "user.updated", &view));
        self.parts.journal.append(append).await?;
        if row.ends_tokens {
            self.parts.tokens.revoke(Revoked::Person(id));
        } else if role.is_some() || change.active.is_some() {
            self.parts.tokens.revoke(Revoked::Rights(id));
        }
        Ok(after)
    }

    /// Removes somebody for good: what names them goes, tokens die, sockets are cut.
    pub async fn remove(&self, caller: &Caller, id: PersonId) -> Result<()> {
        caller.require(Permissions::MANAGE_USERS)?;
        let person = self.manageable(caller, id).await?;
        let organization = self.organization(caller.organization).await?;
        let now = self.parts.clock.now();
        let mut append = Append::default();
        self.keep_an_administrator(&person, &mut append);
        append.rows.push(RowOp::exec_one(people::remove(caller.organization, id, now), GONE));
        for stmt in people::remove_belongings(id) {
            append = append.with(stmt);
        }
        append = append
            .with(token_store::revoke_person(id, now))
            .with(token_store::remove_access_tokens(id, now))
            .with(self.audit(caller, "user.deleted", id, &json!({}))?);
        append.events.push(self.event(
            caller,
            &organization,
            "user.deleted",
            &json!({ "id": id, "uuid": person.uuid }),
        ));
        self.parts.journal.append(append).await?;
        self.parts.tokens.revoke(Revoked::Person(id));
        Ok(())
    }

    /// Changes the caller's own account. Address and password are the person's alone: whoever acts for another may
    /// not set them. A new password ends the person's other sign-ins.
    pub async fn change_own(&self, caller: &Caller, change: OwnChange) -> Result<PersonRow> {
        caller.require(Permissions::EDIT_ACCOUNT)?;
        let id = caller.person()?;
        let takes_over = change.email.is_some() || change.password.is_some() || change.username.is_some();
        if takes_over && self.parts.tokens.is_acting(caller).await? {
            return Err(Error::forbidden("only the person can change address, username and password"));
        }
        let before = self.living(caller.organization, id).await?;
        let organization = self.organization(caller.organization).await?;
        let password_hash = match &change.password {
            Some(password) => Some(self.parts.passwords.hash(password).await?),
            None => None,
        };
        let row = PersonChange {
            name: change.name.as_deref().map(addresses::name).transpose()?,
            email: change.email.as_deref().map(addresses::email).transpose()?,
            username: optional_username(change.username.as_deref())?,
            title: changed_text("title", change.title.as_deref())?,
            location: changed_text("location", change.location.as_deref())?,
            phone: changed_phone(change.phone.as_deref())?,
            language: changed_text("language", change.language.as_deref())?,
            on_call: change.on_call,
            status: change.status.map(chosen_status).transpose()?,
            password_hash,
            ..PersonChange::default()
        };
        let now = self.parts.clock.now();
        let mut append = self.change_of(&before, &row, now);
        let ended = match row.password_hash {
            Some(_) => token_store::other_sign_ins(&self.parts.db, id, caller.family).await?,
            None => Vec::new(),
        };
        for family in &ended {
            append = append.with(token_store::revoke_family(*family, now));
        }
        let changed_fields = names_of(&row);
        append =
            append.with(self.audit(caller, "user.updated", id, &json!({ "changed": changed_fields }))?);
        let after = changed(&before, &row, now);
        let view =
            Changed { user: UserView::new(&after, now, self.is_online(&after)), changed: changed_fields };
        append.events.push(self.event(caller, &organization, "user.updated", &view));
        self.parts.journal.append(append).await?;
        for family in ended {
            self.parts.tokens.revoke(Revoked::Family(family));
        }
        if row.name.is_some() {
            self.parts.tokens.renamed(id);
        }
        Ok(after)
    }

    /// Marks the caller unavailable, for good or for so many seconds.
    pub async fn set_unavailable(
        &self,
        caller: &Caller,
        seconds: Option<i64>,
        message: Option<&str>,
        once: &Once,
    ) -> Result<()> {
        caller.require(Permissions::EDIT_ACCOUNT)?;
        if once.replayed::<()>()?.is_some() {
            return Ok(());
        }
        let now = self.parts.clock.now();
        let until = match seconds {
            None | Some(0) => None,
            Some(seconds @ 1..=LONGEST_ABSENCE) => {
                Some(now.plus(Duration::from_secs(u64::try_from(seconds).unwrap_or(0))))
            }
            Some(_) => {
                return Err(Error::invalid(format!("expires_after: seconds, from 1 to {LONGEST_ABSENCE}")));
            }
        };
        let message = message.map(|text| addresses::short_text("status_message", text)).transpose()?;
        let message = message.filter(|text| !text.is_empty());
        self.write_availability(caller, status::DO_NOT_DISTURB, message, until, once).await
    }

    /// Makes the caller available again.
    pub async fn set_available(&self, caller: &Caller) -> Result<()> {
        caller.require(Permissions::EDIT_ACCOUNT)?;
        self.write_availability(caller, status::OFFLINE, None, None, &Once::none()).await
    }

    async fn write_availability(
        &self,
        caller: &Caller,
        status: i64,
        message: Option<String>,
        until: Option<Timestamp>,
        once: &Once,
    ) -> Result<()> {
        let now = self.parts.clock.now();
        let stmt =
            people::set_availability(caller.organization, caller.person()?, status, message, until, now);
        let mut tx = self.parts.db.begin().await?;
        if stmt.execute(&mut tx).await? == 0 {
            return Err(GONE.into());
        }
        for row in idempotency::rows(once, &(), now, now.minus(self.parts.keep)) {
            row.execute(&mut tx).await?;
        }
        Ok(tx.commit().await?)
    }

    /// Registers a push device for the caller; a device that was somebody else's becomes the caller's.
    pub async fn register_device(&self, caller: &Caller, device: &Device, once: &Once) -> Result<()> {
        let person = caller.person()?;
        if once.replayed::<()>()?.is_some() {
            return Ok(());
        }
        let platform = device.platform.as_str();
        if !PLATFORMS.contains(&platform) {
            let known = PLATFORMS.join(", ");
            return Err(Error::new(Code::UnknownPlatform, format!("platform: one of {known}")));
        }
        for (field, text) in [("push_id", &device.push_id), ("device_id", &device.device_id)] {
            if text.trim().is_empty() || text.len() > DEVICE_LIMIT {
                return Err(Error::invalid(format!("{field}: 1 to {DEVICE_LIMIT} bytes")));
            }
        }
        let now = self.parts.clock.now();
        let device = NewDevice {
            id: self.parts.ids.next::<DeviceId>()?,
            person,
            login: caller.login.unwrap_or(person),
            device_id: device.device_id.clone(),
            platform: device.platform.clone(),
            push_id: device.push_id.clone(),
        };
        let mut tx = self.parts.db.begin().await?;
        people::save_device(&mut tx, &device, now).await?;
        for row in idempotency::rows(once, &(), now, now.minus(self.parts.keep)) {
            row.execute(&mut tx).await?;
        }
        Ok(tx.commit().await?)
    }

    /// Forgets the caller's device with that push id (or device id).
    pub async fn remove_device(&self, caller: &Caller, id: &str) -> Result<()> {
        let person = caller.person()?;
        let removed = people::remove_device(&self.parts.db, caller.login.unwrap_or(person), id).await?;
        if removed == 0 {
            return Err(Error::new(Code::UnknownDevice, "no such device"));
        }
        Ok(())
    }

    fn is_online(&self, person: &PersonRow) -> bool {
        self.parts.reachability.is_connected(person.login_id)
    }

    async fn organization(&self, id: OrgId) -> Result<OrganizationRow> {
        let found = organizations::by_id(&self.parts.db, id).await?;
        found.ok_or_else(|| Error::not_found("organisation"))
    }

    async fn living(&self, organization: OrgId, id: PersonId) -> Result<PersonRow> {
        let found = people::in_organization(&self.parts.db, organization, id).await?;
        found.ok_or_else(|| Error::not_found("user"))
    }

    /// A member whose rights the caller has too.
    async fn manageable(&self, caller: &Caller, id: PersonId) -> Result<PersonRow> {
        let person = self.living(caller.organization, id).await?;
        if person.kind != "member" {
            return Err(Error::not_found("user"));
        }
        let beyond = permissions_of(&person) - Permissions::MEMBER;
        if !caller.permissions.contains(beyond) {
            return Err(Error::forbidden("the user may do more than the token"));
        }
        Ok(person)
    }

    /// The row's change with the guards that it needs.
    fn change_of(&self, before: &PersonRow, row: &PersonChange, now: Timestamp) -> Append {
        let mut append = Append::default();
        append.guards.extend(row.email.as_deref().map(|email| Guard::Holds {
            stmt: people::email_is_free(email, before.id),
            otherwise: EMAIL_TAKEN,
        }));
        let username = row.username.as_deref().filter(|username| !username.is_empty());
        append.guards.extend(username.map(|username| Guard::Holds {
            stmt: people::username_is_free(username, before.id),
            otherwise: USERNAME_TAKEN,
        }));
        append.rows.push(RowOp::exec_one(people::update(before.organization_id, before.id, row, now), GONE));
        append
    }

    fn keep_an_administrator(&self, person: &PersonRow, append: &mut Append) {
        if permissions_of(person).contains(Permissions::MANAGE_USERS) {
            append.guards.push(Guard::Holds {
                stmt: people::has_other_administrator(person.organization_id, person.id),
                otherwise: LAST_ADMINISTRATOR,
            });
        }
    }

    async fn regroup(
        &self,
        organization: OrgId,
        id: PersonId,
        change: &UserChange,
        mut append: Append,
    ) -> Result<Append> {
        let present = people::groups_of(&self.parts.db, [id]).await?;
        let of = |admin: bool| {
            let kept = present.iter().filter(move |group| if admin { group.admin } else { group.member });
            kept.map(|group| group.id).collect::<Vec<_>>()
        };
        let member = change.pod_ids.clone().unwrap_or_else(|| of(false));
        let admin = change.admin_pod_ids.clone().unwrap_or_else(|| of(true));
        append = append.with(people::leave_groups(id));
        for (group, admin, member) in self.groups(organization, &member, &admin).await? {
            append = append.with(people::join_group(group, id, admin, member));
        }
        Ok(append)
    }

    /// Group, administers it, belongs to it; fails where a group is not the organisation's.
    async fn groups(
        &self,
        organization: OrgId,
        member: &[GroupId],
        admin: &[GroupId],
    ) -> Result<Vec<(GroupId, bool, bool)>> {
        let mut wanted: Vec<GroupId> = member.iter().chain(admin).copied().collect();
        wanted.sort_unstable();
        wanted.dedup();
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let known = people::known_groups(&self.parts.db, organization, wanted.iter().copied()).await?;
        if let Some(unknown) = wanted.iter().find(|group| !known.contains(group)) {
            return Err(Error::invalid(format!("pod_ids, admin_pod_ids: there is no group {unknown}")));
        }
        Ok(wanted.into_iter().map(|group| (group, admin.contains(&group), member.contains(&group))).collect())
    }

    /// The e-mail that goes with a new account, where one does.
    fn greeting(
        &self,
        caller: &Caller,
        organization: &OrganizationRow,
        person: &NewPerson,
        new: &NewUser,
    ) -> Result<Option<Stmt>> {
        let Some(email) = person.email.clone().filter(|_| new.invite || new.send_email) else {
            return Ok(None);
        };
        let (kind, subject, first) = match new.invite {
            true => (
                "user_invitation",
                format!("{} invites you to {}", caller.name, organization.name),
                format!("{} invites you to work with {}.", caller.name, organization.name),
            ),
            false => (
                "welcome",
                format!("Your account at {}", organization.name),
                format!("{} has made an account for you at {}.", caller.name, organization.name),
            ),
        };
        let url = &self.parts.public_url;
        let text = format!("Hello {},\n\n{first}\n\nSign in with {email} at {url}\n", person.name);
        let html = format!(
            "<p>Hello {},</p><p>{}</p><p>Sign in with {} at <a href=\"{url}\">{url}</a></p>",
            escaped(&person.name),
            escaped(&first),
            escaped(&email),
            url = escaped(url),
        );
        Ok(Some(notices::insert(NewNotice {
            id: self.parts.ids.next()?,
            organization: organization.id,
            kind,
            channel: "email",
            recipient: &email,
            subject: &subject.replace(['\r', '\n'], " "),
            body_text: &text,
            body_html: &html,
            sealed_link: None,
            now: person.created_at,
        })))
    }

    fn event<T: Serialize>(
        &self,
        caller: &Caller,
        organization: &OrganizationRow,
        kind: &'static str,
        data: &T,
    ) -> NewEvent {
        let now = self.parts.clock.now();
        let id = self.parts.random.uuid_v7(now);
        NewEvent::new(organization.stream_id, kind, id, now, Some(&actor_of(caller)), data)
    }

    fn audit(
        &self,
        caller: &Caller,
        action: &'static str,
        subject: PersonId,
        detail: &serde_json::Value,
    ) -> Result<Stmt> {
        Ok(token_store::insert_audit(&AuditRow {
            id: self.parts.ids.next()?,
            organization: caller.organization,
            time: self.parts.clock.now(),
            actor: caller.acting.or(caller.person),
            acting_for: caller.acting.and(caller.person),
            action,
            subject: format!("user:{subject}"),
            detail: detail.to_string(),
        }))
    }
}

/// `user.updated`: the account, and which fields are new.
#[derive(Serialize)]
struct Changed {
    #[serde(flatten)]
    user: UserView,
    changed: Vec<&'static str>,
}

/// The role, which may allow nothing beyond what the caller may do.
fn role_for(caller: &Caller, wanted: Option<&str>) -> Result<&'static str> {
    let role = match wanted.map(str::trim).filter(|text| !text.is_empty()) {
        Some(text) => role_named(text)
            .ok_or_else(|| Error::invalid("role: one of SiteAdmin, EnterpriseAdmin, GroupAdmin, User"))?,
        None => "User",
    };
    let beyond = Permissions::of_role(role) - Permissions::MEMBER;
    if !caller.permissions.contains(beyond) {
        return Err(Error::forbidden("the role allows more than the token"));
    }
    Ok(role)
}

fn license(text: Option<&str>) -> Result<Option<&str>> {
    match text.map(str::trim).filter(|text| !text.is_empty()) {
        None => Ok(None),
        Some(text) if LICENSES.contains(&text) => Ok(Some(text)),
        Some(_) => Err(Error::invalid(format!("license: one of {}", LICENSES.join(", ")))),
    }
}

/// Online and offline are what the connections say; choosing one of them ends an unavailability.
fn chosen_status(number: i64) -> Result<i64> {
    match number {
        status::ONLINE | status::OFFLINE => Ok(status::OFFLINE),
        status::BUSY | status::IDLE | status::DO_NOT_DISTURB => Ok(number),
        _ => Err(Error::new(Code::InvalidStatus, "status: one of 100, 101, 102, 103, 104")),
    }
}

fn optional_text(field: &str, text: Option<&str>) -> Result<Option<String>> {
    Ok(changed_text(field, text)?.filter(|text| !text.is_empty()))
}

fn changed_text(field: &str, text: Option<&str>) -> Result<Option<String>> {
    text.map(|text| addresses::short_text(field, text)).transpose()
}

fn optional_phone(text: Option<&str>) -> Result<Option<String>> {
    Ok(changed_phone(text)?.filter(|text| !text.is_empty()))
}

/// An empty number clears it.
fn changed_phone(text: Option<&str>) -> Result<Option<String>> {
    match text.map(str::trim) {
        None => Ok(None),
        Some("") => Ok(Some(String::new())),
        Some(text) => addresses::phone(text).map(Some),
    }
}

/// An empty username clears it.
fn optional_username(text: Option<&str>) -> Result<Option<String>> {
    match text.map(str::trim) {
        None => Ok(None),
        Some("") => Ok(Some(String::new())),
        Some(text) => addresses::username(text).map(Some),
    }
}

/// The row after the change, as the database has it now.
fn changed(before: &PersonRow, change: &PersonChange, now: Timestamp) -> PersonRow {
    let text = |new: &Option<String>, old: &Option<String>| match new {
        Some(text) => Some(text.clone()).filter(|text| !text.is_empty()),
        None => old.clone(),
    };
    PersonRow {
        name: change.name.clone().unwrap_or_else(|| before.name.clone()),
        email: text(&change.email, &before.email),
        username: text(&change.username, &before.username),
        title: text(&change.title, &before.title),
        location: text(&change.location, &before.location),
        phone: text(&change.phone, &before.phone),
        language: text(&change.language, &before.language),
        license: change.license.clone().unwrap_or_else(|| before.license.clone()),
        role: change.role.clone().unwrap_or_else(|| before.role.clone()),
        status: change.status.unwrap_or(before.status),
        on_call: change.on_call.unwrap_or(before.on_call),
        active: change.active.unwrap_or(before.active),
        token_version: before.token_version + i64::from(change.ends_tokens),
        updated_at: now,
        ..before.clone()
    }
}

/// The names of the fields that a change touches.
fn names_of(change: &PersonChange) -> Vec<&'static str> {
    [
        ("name", change.name.is_some()),
        ("email", change.email.is_some()),
        ("username", change.username.is_some()),
        ("title", change.title.is_some()),
        ("location", change.location.is_some()),
        ("phone", change.phone.is_some()),
        ("language", change.language.is_some()),
        ("license", change.license.is_some()),
        ("role_name", change.role.is_some()),
        ("password", change.password_hash.is_some()),
        ("status", change.status.is_some()),
        ("on_call", change.on_call.is_some()),
        ("active", change.active.is_some()),
    ]
    .into_iter()
    .filter_map(|(name, touched)| touched.then_some(name))
    .collect()
}

/// Text that is safe in HTML.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
