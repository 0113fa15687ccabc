//! Guests: invited into one thread by a link that is a secret, resent, revoked, opened.
//!
//! A link is `<public url>/thread/<guest uuid>?sig=<128 random bits>`, with `&action=` where it leads somewhere. Of the
//! random bits the database holds a hash to find the link by, and a sealed copy to send it again.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{GuestNotice, WorkboxView, Workboxes, links, view::GuestView};
use crate::{
    base::seal::fingerprint,
    domain::{
        caller::Caller,
        codes::Code,
        error::{Error, Result},
        event::{Actor, StreamKind, user_channel},
        ids::{ConversationId, GuestLinkId, ParticipantId, PersonId, StreamId},
        machine::conversation::Member,
        once::Once,
    },
    journal::{NewStream, Refusal, RowOp},
    live::conversation::Decision,
    service::{addresses, sessions::follow_removal, tokens::Revoked},
    store::{
        conversations,
        guest_links::{self, GuestLink, NewGuestLink},
        people::{self, NewPerson},
        tokens::{self, OpenedLink},
    },
};

/// What sealed links are bound to.
const SEALED: &str = "guest_link.sealed";
/// Longest words of an inviter and longest action, in characters.
const TEXT_LIMIT: usize = 255;

/// Unknown links and dead ones look alike.
const LINK_GONE: Refusal = Refusal::new(Code::LinkExpired, "the link is over or was taken back");

/// Whom somebody wants to let in.
#[derive(Clone, Debug, Default)]
pub struct Invitation {
    /// Display name of the guest.
    pub name: String,
    /// Where the link is sent.
    pub email: Option<String>,
    /// Where the link is sent.
    pub phone: Option<String>,
    /// Words of the inviter.
    pub message: Option<String>,
    /// Empty, `join_session` or `start_procedure=<id>`.
    pub action: String,
}

/// A guest whose link goes to whoever asked for it.
#[derive(Debug, Serialize)]
pub struct Invited {
    /// The whole link: a secret.
    pub link: String,
    /// The guest's, to resend or revoke by.
    pub uuid: Uuid,
    /// The guest.
    pub id: PersonId,
    /// Display name.
    pub name: String,
    /// The thread.
    pub workbox: WorkboxView,
}

/// What is remembered of an invitation under an `Idempotency-Key`.
#[derive(Serialize, Deserialize)]
struct Outcome {
    uuid: Uuid,
}

/// A checked invitation.
struct Checked {
    name: String,
    email: Option<String>,
    phone: Option<String>,
    message: Option<String>,
    action: String,
}

impl Workboxes {
    /// Invites a guest by e-mail or text message, or both.
    pub async fn invite(
        &self,
        caller: &Caller,
        id: ConversationId,
        invitation: Invitation,
        once: &Once,
    ) -> Result<WorkboxView> {
        if once.replayed::<Outcome>()?.is_some() {
            return self.get(caller, id).await;
        }
        let checked = checked(invitation)?;
        if checked.email.is_none() && checked.phone.is_none() {
            return Err(Error::invalid("email or phone: one of them is needed"));
        }
        Ok(self.let_in(caller, id, checked, once).await?.1)
    }

    /// Makes a guest and gives the link away instead of sending it.
    pub async fn invite_silently(
        &self,
        caller: &Caller,
        id: ConversationId,
        invitation: Invitation,
        once: &Once,
    ) -> Result<Invited> {
        let uuid = match once.replayed::<Outcome>()? {
            Some(first) => first.uuid,
            None => {
                let checked = Checked { email: None, phone: None, message: None, ..checked(invitation)? };
                self.let_in(caller, id, checked, once).await?.0
            }
        };
        let workbox = self.get(caller, id).await?;
        let guest = self.guest(id, uuid).await?;
        let link = self.link_of(&guest)?;
        Ok(Invited { link, uuid, id: guest.person_id, name: guest.name, workbox })
    }

    async fn let_in(
        &self,
        caller: &Caller,
        id: ConversationId,
        invitation: Checked,
        once: &Once,
    ) -> Result<(Uuid, WorkboxView)> {
        let tools = &self.tools;
        let thread = self.get(caller, id).await?;
        let (person, stream) = (tools.ids.next::<PersonId>()?, tools.ids.next::<StreamId>()?);
        let link = tools.ids.next::<GuestLinkId>()?;
        let inviter = caller.person()?;
        let now = tools.clock.now();
        let uuid = tools.random.uuid();
        let secret = tools.random.token::<16>();
        let expires_at = now.plus(self.options.link_life);
        let Checked { name, email, phone, message, action } = invitation;

        let mut rows = vec![
            people::insert(&NewPerson {
                id: person,
                uuid,
                organization: caller.organization,
                login: person,
                kind: "guest",
                name: name.clone(),
                // An address belongs to an account; a guest's stands with the link.
                email: None,
                username: None,
                title: None,
                location: None,
                phone: None,
                language: None,
                license: "team".to_owned(),
                role: "User".to_owned(),
                password_hash: None,
                active: true,
                confirmed_at: None,
                invitation_sent_at: Some(now),
                stream,
                created_at: now,
            }),
            guest_links::insert(&NewGuestLink {
                id: link,
                uuid,
                conversation: id,
                organization: caller.organization,
                person,
                hash: fingerprint(&secret),
                sealed: self.sealer.seal(SEALED, secret.as_bytes(), &tools.random),
                email: email.as_deref(),
                phone: phone.as_deref(),
                action: &action,
                invited_by: inviter,
                now,
                expires_at,
            }),
        ];
        let address = links::write(&self.options.public_url, uuid, &secret, &action);
        let notice = GuestNotice {
            organization: caller.organization,
            inviter: &caller.name,
            guest: &name,
            thread: &thread.title,
            message: message.as_deref(),
            link: &address,
            email: email.as_deref(),
            phone: phone.as_deref(),
        };
        if notice.email.is_some() || notice.phone.is_some() {
            rows.extend(self.notices.rows(notice).await?);
        }
        let inbox = NewStream {
            id: stream,
            organization: caller.organization,
            kind: StreamKind::User,
            channel: user_channel(person),
        };
        let (keep, remembered) = (tools.keep_outcomes, once.clone());
        let view = self
            .change(caller, id, &Once::none(), move |state, change| {
                change.rows.streams.push(inbox);
                rows.into_iter().for_each(|row| change.row(row));
                change.row(conversations::save(state, change.now));
                let now = change.now;
                super::Tools::remember(keep, &mut change.rows, &remembered, &Outcome { uuid }, now);
                let guest = GuestView {
                    id: person,
                    uuid,
                    name,
                    has_joined: false,
                    last_read_message_id: None,
                    unread_count: None,
                };
                change.events.add(state.stream, "guest.invited", &guest);
                Ok(())
            })
            .await?;
        Ok((uuid, view))
    }

    /// Sends a guest's link once more; it works as long as a new one from now on.
    pub async fn resend(
        &self,
        caller: &Caller,
        id: ConversationId,
        uuid: Uuid,
        invitation: Invitation,
        once: &Once,
    ) -> Result<WorkboxView> {
        if once.replayed::<ConversationId>()?.is_some() {
            return self.get(caller, id).await;
        }
        let thread = self.get(caller, id).await?;
        members_only(caller)?;
        let guest = self.guest(id, uuid).await?;
        if guest.email.is_none() && guest.phone.is_none() {
            return Err(Error::constraint("the guest has neither e-mail address nor phone number"));
        }
        let action = checked_action(&invitation.action)?;
        let message = checked_message(invitation.message)?;
        let link = self.link_of(&GuestLink { action: action.clone(), ..guest.clone() })?;
        let notice = GuestNotice {
            organization: caller.organization,
            inviter: &caller.name,
            guest: &guest.name,
            thread: &thread.title,
            message: message.as_deref(),
            link: &link,
            email: guest.email.as_deref(),
            phone: guest.phone.as_deref(),
        };
        let rows = self.notices.rows(notice).await?;
        let life = self.options.link_life;
        self.change(caller, id, once, move |_, change| {
            let again = guest_links::send_again(guest.id, &action, change.now, change.now.plus(life));
            change.rows.rows.push(RowOp::exec_one(again, LINK_GONE));
            rows.into_iter().for_each(|row| change.row(row));
            Ok(())
        })
        .await
    }

    /// Takes a guest's link back: it is dead, and the guest out, at once.
    pub async fn revoke(&self, caller: &Caller, id: ConversationId, uuid: Uuid) -> Result<WorkboxView> {
        self.get(caller, id).await?;
        members_only(caller)?;
        let guest = self.guest(id, uuid).await?;
        let person = guest.person_id;
        let view = self
            .change(caller, id, &Once::none(), move |state, change| {
                let now = change.now;
                change.rows.rows.push(RowOp::exec_one(guest_links::revoke(guest.id, now), LINK_GONE));
                // Tokens of a revoked sign-in by link say that the link is over.
                change.row(tokens::revoke_person(person, now));
                if state.remove(person).is_some() {
                    change.row(conversations::remove_participant(id, person, now));
                }
                change.row(conversations::save(state, now));
                let view = GuestView {
                    id: person,
                    uuid,
                    name: guest.name,
                    has_joined: guest.joined_at.is_some(),
                    last_read_message_id: None,
                    unread_count: None,
                };
                change.events.add(state.stream, "guest.revoked", &view);
                Ok(())
            })
            .await?;
        self.tokens.revoke(Revoked::Workbox(person, id));
        self.tokens.revoke(Revoked::Person(person));
        follow_removal(&self.tools.db, &self.tools.sessions, caller, id, person).await?;
        Ok(view)
    }

    /// Opens a link: finds the guest, who is in the thread from the first time on. Whoever holds the link may; callers
    /// limit attempts. Unknown links and dead ones are `link_expired`.
    pub async fn open_link(&self, link: &str) -> Result<OpenedLink> {
        let found = self.by_link(link).await?;
        let person = found.person_id;
        if found.joined_at.is_none() {
            let name = found.name.clone();
            let actor = Arc::new(Actor { kind: "guest", id: person.0, name: name.clone() });
            let participant = self.tools.ids.next::<ParticipantId>()?;
            let (link, uuid, id) = (found.id, found.uuid, found.conversation_id);
            self.tools
                .conversations
                .decide(id, move |state, env| {
                    let mut change = super::Change::new(env, Some(actor));
                    if state.members.contains_key(&person) {
                        // Opened twice at once: the answer waits for the first all the same.
                        return Ok(Decision::new(change.into_append(), ()));
                    }
                    let now = change.now;
                    change.rows.rows.push(RowOp::exec_one(guest_links::join(link, now), LINK_GONE));
                    let place = Member { participant, guest: true, ..Member::default() };
                    change.row(conversations::add_participant(participant, id, person, true, false, now));
                    state.add(person, place);
                    change.row(conversations::save(state, now));
                    let view = GuestView {
                        id: person,
                        uuid,
                        name,
                        has_joined: true,
                        last_read_message_id: None,
                        unread_count: None,
                    };
                    change.events.add(state.stream, "guest.joined", &view);
                    Ok(Decision::new(change.into_append(), ()))
                })
                .await?;
        }
        Ok(OpenedLink {
            id: found.id,
            uuid: found.uuid,
            organization_id: found.organization_id,
            conversation_id: found.conversation_id,
            person_id: person,
            joined_at: found.joined_at.or(Some(self.tools.clock.now())),
            expires_at: found.expires_at,
            revoked_at: None,
            action: found.action,
        })
    }

    /// The thread behind a link, for its guest or for a member of the thread.
    pub async fn by_url(&self, caller: &Caller, link: &str) -> Result<WorkboxView> {
        let found = self.by_link(link).await?;
        let other_guest = caller.is_outsider() && caller.person != Some(found.person_id);
        if found.organization_id != caller.organization || other_guest {
            return Err(LINK_GONE.into());
        }
        self.get(caller, found.conversation_id).await
    }

    async fn by_link(&self, link: &str) -> Result<GuestLink> {
        let (uuid, secret) = links::read(link).ok_or(LINK_GONE)?;
        let found = guest_links::by_hash(&self.tools.db, fingerprint(secret)).await?;
        let now = self.tools.clock.now();
        let good =
            |found: &GuestLink| found.uuid == uuid && found.revoked_at.is_none() && found.expires_at > now;
        Ok(found.filter(good).ok_or(LINK_GONE)?)
    }

    /// A guest of this thread whose link was not taken back.
    async fn guest(&self, id: ConversationId, uuid: Uuid) -> Result<GuestLink> {
        let found = guest_links::by_uuid(&self.tools.db, id, uuid).await?;
        found.filter(|guest| guest.revoked_at.is_none()).ok_or_else(|| Error::not_found("guest"))
    }

    fn link_of(&self, guest: &GuestLink) -> Result<String> {
        let secret = self
            .sealer
            .open_text(SEALED, &guest.sealed)
            .ok_or_else(|| Error::unavailable("a guest link was sealed under another master key"))?;
        Ok(links::write(&self.options.public_url, guest.uuid, &secret, &guest.action))
    }
}

/// Guests are refused before anything about other guests is looked at.
fn members_only(caller: &Caller) -> Result<()> {
    if caller.is_outsider() { Err(super::not_for_guests()) } else { Ok(()) }
}

fn checked(invitation: Invitation) -> Result<Checked> {
    let given = |text: Option<String>| text.filter(|text| !text.trim().is_empty());
    Ok(Checked {
        name: addresses::name(&invitation.name)?,
        email: given(invitation.email).map(|text| addresses::email(&text)).transpose()?,
        phone: given(invitation.phone).map(|text| addresses::phone(&text)).transpose()?,
        message: checked_message(invitation.message)?,
        action: checked_action(&invitation.action)?,
    })
}

fn checked_message(message: Option<String>) -> Result<Option<String>> {
    let Some(message) = message.filter(|message| !message.trim().is_empty()) else { return Ok(None) };
    if message.chars().count() > TEXT_LIMIT || message.contains(['<', '>', '\0']) {
        let rule = format!("message: at most {TEXT_LIMIT} characters, none of them < or >");
        return Err(Error::invalid(rule));
    }
    Ok(Some(message))
}

fn checked_action(action: &str) -> Result<String> {
    let procedure = action.strip_prefix("start_procedure=");
    let known = action.is_empty() || action == "join_session" || procedure.is_some_and(|id| !id.is_empty());
    if !known || action.chars().count() > TEXT_LIMIT || action.contains(char::is_control) {
        return Err(Error::invalid("action: empty, join_session or start_procedure=<id>"));
    }
    Ok(action.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_are_known() {
        for good in ["", "join_session", "start_procedure=7"] {
            assert!(checked_action(good).is_ok());
        }
        for bad in ["start_procedure=", "x", "join_session ", "start_procedure=\n"] {
            assert!(checked_action(bad).is_err(), "{bad:?}");
        }
    }
}
