//! What administrators do with accounts.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    Changed, EMAIL_TAKEN, GONE, Parts, People, USERNAME_TAKEN,
    fields::{
        changed, changed_phone, changed_text, names_of, optional_phone, optional_text, optional_username,
    },
};
use crate::{
    base::{clock::Timestamp, secret::Secret},
    domain::{
        caller::Caller,
        codes::Code,
        error::{Error, Result},
        event::{NewEvent, StreamKind, user_channel},
        ids::{GroupId, OrgId, PersonId},
        once::Once,
        permission::Permissions,
    },
    journal::{Append, Guard, NewStream, Refusal, RowOp},
    service::{
        addresses,
        letters::AccountLetter,
        person_views::{UserView, role_named},
        tokens::{
            Revoked, permissions_of,
            told::{Reason, token_revoked},
        },
        tools::actor_of,
    },
    store::{
        Stmt, idempotency,
        organizations::OrganizationRow,
        people::{self, NewPerson, PersonChange, PersonRow},
        tokens as token_store,
    },
};

/// Licences that a person may have.
const LICENSES: &[&str] = &["expert", "team", "bot", "device"];

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

/// Outcome of a request that made a person, as remembered under an idempotency key.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Made {
    user: PersonId,
}

/// `invitation.received`.
#[derive(Serialize)]
struct InvitationReceived<'a> {
    enterprise_id: OrgId,
    enterprise_name: &'a str,
    /// By itself: the address lies in one of the organisation's domains.
    accepted: bool,
}

impl People {
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
        for row in self.greeting(caller, &organization, &person, &new)? {
            append = append.with(row);
        }
        append =
            append.with(self.audit(caller, "user.created", person.id, &json!({ "name": person.name }))?);
        let view = UserView::new(&person.row(), now, false);
        append.events.push(self.event(caller, &organization, "user.created", &view));
        if new.invite {
            let data = InvitationReceived {
                enterprise_id: organization.id,
                enterprise_name: &organization.name,
                accepted: person.confirmed_at.is_some(),
            };
            let (id, actor) = (self.parts.random.uuid_v7(now), actor_of(caller));
            let event = NewEvent::new(person.stream, "invitation.received", id, now, Some(&actor), &data);
            append.events.push(event);
        }
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
            let (actor, random) = (actor_of(caller), &self.parts.random);
            let reason = Reason::Deactivated;
            append.events.push(token_revoked(before.stream_id, None, reason, Some(&actor), random, now));
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

    /// The e-mail that goes with a new account, where one does: with a link to choose a password by, unless there is one.
    fn greeting(
        &self,
        caller: &Caller,
        organization: &OrganizationRow,
        person: &NewPerson,
        new: &NewUser,
    ) -> Result<Vec<Stmt>> {
        let Some(email) = person.email.as_deref().filter(|_| new.invite || new.send_email) else {
            return Ok(Vec::new());
        };
        let (link, row) = match person.password_hash {
            None => Some(self.invitation(organization.id, person.id, person.created_at)),
            Some(_) => None,
        }
        .unzip();
        let letter = AccountLetter {
            inviter: &caller.name,
            name: &person.name,
            email,
            invited: new.invite,
            chooses_password: link.is_some(),
            url: &self.parts.public_url,
        };
        let notice = self.parts.notices.account_row(&letter, organization, link.as_deref())?;
        Ok(row.into_iter().chain([notice]).collect())
    }
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
