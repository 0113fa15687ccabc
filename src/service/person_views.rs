//! How an account looks: one object with all keys that any list, reply or event of it shows (SEMANTICS section 13), so
//! that clients of both versions find theirs.

use serde::Serialize;
use uuid::Uuid;

use super::{tokens::permissions_of, views::Avatar};
use crate::{
    base::clock::Timestamp,
    domain::{
        ids::{GroupId, OrgId, PersonId},
        permission::Permissions,
    },
    store::people::{Face, Membership, PersonRow},
};

/// Status numbers of the contract.
pub mod status {
    /// Signed in somewhere.
    pub const ONLINE: i64 = 100;
    /// Signed in nowhere.
    pub const OFFLINE: i64 = 101;
    /// Busy, by their own word.
    pub const BUSY: i64 = 102;
    /// Idle, by their own word.
    pub const IDLE: i64 = 103;
    /// Not to be disturbed: unavailable.
    pub const DO_NOT_DISTURB: i64 = 104;
    /// Invited and never here.
    pub const INVITED: i64 = 105;
}

/// Roles by name, with the number and the name for people.
pub const ROLES: &[(&str, i64, &str)] = &[
    ("SiteAdmin", 1, "Site Administrator"),
    ("EnterpriseAdmin", 2, "Enterprise Administrator"),
    ("GroupAdmin", 3, "Group Administrator"),
    ("User", 4, "User"),
];

/// A group in an account.
#[derive(Clone, Debug, Serialize)]
pub struct GroupEntry {
    /// The group.
    pub id: GroupId,
    /// Its name.
    pub name: String,
}

/// A workspace in an account.
#[derive(Clone, Debug, Serialize)]
pub struct WorkspaceEntry {
    /// The alias.
    pub id: PersonId,
    /// Its name.
    pub name: String,
    /// The workspace.
    pub workspace_id: OrgId,
}

/// A person's status as the two versions of the contract show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Status {
    /// One of [`status`].
    Number(i64),
    /// `Registered` or `Invited`.
    Word(&'static str),
}

/// An account. Keys are always there; null where nothing is known.
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "the fields of the contract's user, enterprise_user and personal_user")]
pub struct UserView {
    pub id: PersonId,
    pub uuid: Uuid,
    pub enterprise_id: OrgId,
    pub parent_id: Option<PersonId>,
    pub name: String,
    pub email: Option<String>,
    pub username: Option<String>,
    pub title: Option<String>,
    pub location: Option<String>,
    pub phone: Option<String>,
    pub language: Option<String>,
    pub license: String,
    pub role_id: Option<i64>,
    pub role_name: String,
    pub permissions: Vec<&'static str>,
    pub active: bool,
    pub available: bool,
    pub status: Status,
    pub status_message: Option<String>,
    pub unavailable_expires_at: Option<Timestamp>,
    pub on_call: bool,
    pub expert_on_call: bool,
    pub email_confirmed: bool,
    pub confirmed_email: bool,
    pub is_confirmed: bool,
    pub is_first_login: bool,
    pub confirmed_at: Option<Timestamp>,
    pub confirmation_sent_at: Option<Timestamp>,
    pub invitation_sent_at: Option<Timestamp>,
    pub first_call_at: Option<Timestamp>,
    pub last_used_at: Option<Timestamp>,
    pub current_sign_in_at: Option<Timestamp>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub provider: Option<String>,
    pub provider_uid: Option<String>,
    pub auth_type: &'static str,
    pub manage: bool,
    pub appliance_registration_status: bool,
    pub personal_room_url: &'static str,
    pub personal_room_session_id: &'static str,
    pub pods: Vec<GroupEntry>,
    pub admin_pods: Vec<GroupEntry>,
    pub visible_pods: Vec<GroupEntry>,
    pub workspaces: Vec<WorkspaceEntry>,
    /// Left out of events, where no address of a file may stand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub avatar: Option<Avatar>,
}

impl UserView {
    /// The account without groups and workspaces, as events show it. `online`: has a live connection.
    pub fn new(person: &PersonRow, now: Timestamp, online: bool) -> Self {
        let unavailable = is_unavailable(person, now);
        let confirmed = person.confirmed_at.is_some();
        Self {
            id: person.id,
            uuid: person.uuid,
            enterprise_id: person.organization_id,
            parent_id: (person.login_id != person.id).then_some(person.login_id),
            name: person.name.clone(),
            email: person.email.clone(),
            username: person.username.clone(),
            title: person.title.clone(),
            location: person.location.clone(),
            phone: person.phone.clone(),
            language: person.language.clone(),
            license: person.license.clone(),
            role_id: role_number(&person.role),
            role_name: person.role.clone(),
            permissions: permissions_of(person).names(),
            active: person.active,
            available: person.active && !unavailable,
            status: Status::Number(status_of(person, now, online)),
            status_message: person.status_message.clone().filter(|_| unavailable),
            unavailable_expires_at: person.unavailable_expires_at.filter(|_| unavailable),
            on_call: person.on_call,
            expert_on_call: person.on_call,
            email_confirmed: confirmed,
            confirmed_email: confirmed,
            is_confirmed: confirmed,
            is_first_login: person.first_login,
            confirmed_at: person.confirmed_at,
            confirmation_sent_at: person.confirmation_sent_at,
            invitation_sent_at: person.invitation_sent_at,
            first_call_at: person.first_call_at,
            last_used_at: person.last_used_at,
            current_sign_in_at: person.current_sign_in_at,
            created_at: person.created_at,
            updated_at: person.updated_at,
            provider: None,
            provider_uid: None,
            auth_type: "password",
            manage: permissions_of(person).contains(Permissions::MANAGE_USERS),
            appliance_registration_status: false,
            personal_room_url: "",
            personal_room_session_id: "",
            pods: Vec::new(),
            admin_pods: Vec::new(),
            visible_pods: Vec::new(),
            workspaces: Vec::new(),
            avatar: None,
        }
    }

    /// With the status in words, as the newer version shows it.
    #[must_use]
    pub fn in_words(self) -> Self {
        let status = Status::Word(if self.is_confirmed { "Registered" } else { "Invited" });
        Self { status, ..self }
    }

    /// Adds groups and workspaces out of what was read for a whole page.
    #[must_use]
    pub fn with_places(mut self, memberships: &[Membership], faces: &[Face]) -> Self {
        let of_person = memberships.iter().filter(|membership| membership.person_id == self.id);
        for membership in of_person {
            let entry = GroupEntry { id: membership.id, name: membership.name.clone() };
            if membership.admin {
                self.admin_pods.push(entry.clone());
            }
            if membership.member {
                self.pods.push(entry.clone());
            }
            self.visible_pods.push(entry);
        }
        let of_login = faces.iter().filter(|face| face.login_id == self.id);
        self.workspaces = of_login
            .map(|face| WorkspaceEntry {
                id: face.id,
                name: face.name.clone(),
                workspace_id: face.organization_id,
            })
            .collect();
        self.avatar = Some(Avatar::default());
        self
    }
}

/// True while somebody said that they are not to be disturbed.
pub fn is_unavailable(person: &PersonRow, now: Timestamp) -> bool {
    person.status == status::DO_NOT_DISTURB && person.unavailable_expires_at.is_none_or(|end| now < end)
}

/// The status number: what they said, else where they are signed in.
pub fn status_of(person: &PersonRow, now: Timestamp, online: bool) -> i64 {
    match person.status {
        status::BUSY | status::IDLE => person.status,
        status::DO_NOT_DISTURB if is_unavailable(person, now) => status::DO_NOT_DISTURB,
        _ if online => status::ONLINE,
        _ if person.confirmed_at.is_none() && person.invitation_sent_at.is_some() => status::INVITED,
        _ => status::OFFLINE,
    }
}

/// The number of a role.
pub fn role_number(name: &str) -> Option<i64> {
    ROLES.iter().find(|(known, ..)| *known == name).map(|(_, number, _)| *number)
}

/// The internal name of a role that is given by name (either one, in any case) or number.
pub fn role_named(text: &str) -> Option<&'static str> {
    let text = text.trim();
    ROLES
        .iter()
        .find(|(name, number, title)| {
            name.eq_ignore_ascii_case(text) || title.eq_ignore_ascii_case(text) || number.to_string() == text
        })
        .map(|(name, ..)| *name)
}
