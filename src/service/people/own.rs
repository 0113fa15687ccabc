//! What people do with their own account: change it, be away, register devices.

use std::time::Duration;

use serde_json::json;

use super::{
    Changed, GONE, People,
    fields::{changed, changed_phone, changed_text, names_of, optional_username},
};
use crate::{
    base::{clock::Timestamp, secret::Secret},
    domain::{
        caller::Caller,
        codes::Code,
        error::{Error, Result},
        ids::DeviceId,
        once::Once,
        permission::Permissions,
    },
    journal::{Append, RowOp},
    service::{
        addresses,
        person_views::{UserView, status},
        tokens::{
            Revoked,
            told::{Reason, token_revoked},
        },
        tools::actor_of,
    },
    store::{
        idempotency,
        people::{self, NewDevice, PersonChange, PersonRow},
        tokens as token_store,
    },
};

/// Push services that a device may name.
const PLATFORMS: &[&str] = &["gcm", "apns", "apnspk", "web"];
/// Longest push or device id, in bytes: web push subscriptions are long.
const DEVICE_LIMIT: usize = 4_096;
/// Longest unavailability, in seconds: a year.
const LONGEST_ABSENCE: i64 = 366 * 24 * 3_600;

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

impl People {
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
        if !ended.is_empty() {
            let actor = actor_of(caller);
            let reason = Reason::PasswordChanged;
            let random = &self.parts.random;
            append.events.push(token_revoked(
                before.stream_id,
                Some(&ended),
                reason,
                Some(&actor),
                random,
                now,
            ));
        }
        self.parts.journal.append(append).await?;
        if row.status.is_some() {
            self.parts.reachability.changed(before.login_id);
        }
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
        let (organization, id) = (self.organization(caller.organization).await?, caller.person()?);
        let before = self.living(caller.organization, id).await?;
        let after = PersonRow {
            status,
            status_message: message.clone(),
            unavailable_expires_at: until,
            updated_at: now,
            ..before
        };
        let stmt = people::set_availability(caller.organization, id, status, message, until, now);
        let mut append = Append::default();
        append.rows.push(RowOp::exec_one(stmt, GONE));
        for row in idempotency::rows(once, &(), now, now.minus(self.parts.keep)) {
            append = append.with(row);
        }
        let view = Changed {
            user: UserView::new(&after, now, self.is_online(&after)),
            changed: vec!["status", "status_message", "unavailable_expires_at"],
        };
        append.events.push(self.event(caller, &organization, "user.updated", &view));
        self.parts.journal.append(append).await?;
        self.parts.reachability.changed(after.login_id);
        Ok(())
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
        tx.commit().await?;
        self.parts.reachability.changed(device.login);
        Ok(())
    }

    /// Forgets the caller's device with that push id (or device id).
    pub async fn remove_device(&self, caller: &Caller, id: &str) -> Result<()> {
        let person = caller.person()?;
        let removed = people::remove_device(&self.parts.db, caller.login.unwrap_or(person), id).await?;
        if removed == 0 {
            return Err(Error::new(Code::UnknownDevice, "no such device"));
        }
        self.parts.reachability.changed(caller.login.unwrap_or(person));
        Ok(())
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
