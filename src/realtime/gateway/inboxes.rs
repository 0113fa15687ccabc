//! What inboxes are told without it being stored: how much is unread in a thread, and whether people can be reached.
//!
//! Both are made for those who are connected, joined over a short while, and paced by what they cost: a busy server
//! tells them less often, never at the expense of what is stored.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use serde::Serialize;

use super::Teller;
use crate::{
    base::{changes::Pace, clock::Clock, tasks::Tasks},
    domain::{
        error::Result,
        event::user_channel,
        ids::{ConversationId, MessageId, OrgId, PersonId},
    },
    realtime::hub::Audience,
    service::{Services, person_views::status_of, unread::Concerned},
    store::{
        Db,
        inboxes::{self, Watcher},
    },
};

const UNREAD_PACE: Pace = Pace { most: 500, at_once: 20, pause: Duration::from_millis(250), share: 20 };
const PRESENCE_PACE: Pace = Pace { most: 50, at_once: 50, pause: Duration::from_millis(250), share: 20 };
/// Between two looks at who is back from an absence.
const ABSENCES: Duration = Duration::from_secs(1);
/// In threads of more people, who wants to know asks (`presence.get`).
const CROWD: i64 = 100;

/// `unread`.
#[derive(Serialize)]
struct Unread {
    workbox_id: ConversationId,
    unread: i64,
    last_message_id: MessageId,
}

/// `presence`.
#[derive(Clone, Copy, Serialize)]
struct Presence {
    user_id: PersonId,
    reachable: bool,
    status: i64,
}

/// Tells inboxes; to be started once. Cheap to clone.
#[derive(Clone)]
pub struct Inboxes {
    /// What is read.
    pub db: Db,
    /// What has changed, and who is connected.
    pub services: Arc<Services>,
    /// Time.
    pub clock: Clock,
    /// The way out.
    pub teller: Teller,
}

impl Inboxes {
    /// Tells for as long as the server runs.
    pub fn start(self, tasks: &Tasks) {
        let (this, stopping) = (self.clone(), tasks.stopping());
        tasks.spawn("tell unread", async move {
            let following = this.services.unread.changes().follow(UNREAD_PACE, |changes| {
                let this = this.clone();
                async move { complain(this.tell_unread(changes).await) }
            });
            tokio::select! { () = stopping => {}, () = following => {} }
        });
        let (this, stopping) = (self.clone(), tasks.stopping());
        tasks.spawn("follow absences", async move {
            tokio::select! { () = stopping => {}, () = this.follow_absences() => {} }
        });
        let stopping = tasks.stopping();
        tasks.spawn("tell presence", async move {
            let following = self.services.reachability.changes().follow(PRESENCE_PACE, |changes| {
                let this = self.clone();
                let logins: Vec<PersonId> = changes.into_iter().map(|(login, _)| login).collect();
                async move { complain(this.tell_presence(&logins).await) }
            });
            tokio::select! { () = stopping => {}, () = following => {} }
        });
    }

    async fn tell_unread(&self, changes: Vec<(ConversationId, HashSet<Concerned>)>) -> Result<()> {
        let changes: HashMap<_, _> = changes.into_iter().collect();
        let concerns = |thread: &ConversationId, person: &PersonId| {
            changes.get(thread).is_some_and(|who| who.contains(&None) || who.contains(&Some(*person)))
        };
        let members = inboxes::members(&self.db, changes.keys().copied()).await?;
        let wanted: Vec<(ConversationId, PersonId)> = members
            .into_iter()
            .filter(|(thread, person, _)| concerns(thread, person))
            .filter(|(_, _, login)| self.services.reachability.is_connected(*login))
            .map(|(thread, person, _)| (thread, person))
            .collect();
        for row in inboxes::unread(&self.db, &wanted).await? {
            let data = Unread {
                workbox_id: row.conversation,
                unread: row.unread,
                last_message_id: row.last_message,
            };
            self.tell(row.organization, row.person, "unread", &data);
        }
        Ok(())
    }

    /// An absence that ends by itself changes no row. Who looks anew, after a start too, sees what is true then.
    async fn follow_absences(&self) {
        let mut seen = self.clock.now();
        loop {
            tokio::time::sleep(ABSENCES).await;
            let now = self.clock.now();
            match inboxes::absences_over(&self.db, seen, now).await {
                Ok(logins) => {
                    logins.into_iter().for_each(|login| self.services.reachability.changed(login));
                    seen = now;
                }
                Err(error) => tracing::debug!(%error, "ends of absences were not looked up"),
            }
        }
    }

    async fn tell_presence(&self, logins: &[PersonId]) -> Result<()> {
        let reachability = &self.services.reachability;
        let mut watchers = inboxes::watchers(&self.db, logins.iter().copied(), CROWD).await?;
        watchers.retain(|watcher| reachability.is_connected(watcher.login));
        if watchers.is_empty() {
            return Ok(());
        }
        let reachable = reachability.among(logins.iter().copied()).await?;
        let now = self.clock.now();
        let presences: HashMap<PersonId, Presence> = inboxes::faces(&self.db, logins.iter().copied())
            .await?
            .into_iter()
            .map(|face| {
                let login = face.login_id;
                let status = status_of(&face, now, reachability.is_connected(login));
                (face.id, Presence { user_id: face.id, reachable: reachable.contains(&login), status })
            })
            .collect();
        let watchers: HashSet<Watcher> = watchers.into_iter().collect();
        for watcher in watchers {
            if let Some(presence) = presences.get(&watcher.subject) {
                self.tell(watcher.organization, watcher.watcher, "presence", presence);
            }
        }
        Ok(())
    }

    fn tell<T: Serialize>(&self, organization: OrgId, person: PersonId, kind: &'static str, data: &T) {
        self.teller.tell(organization, &user_channel(person), kind, None, data, Audience::Everyone);
    }
}

/// What is not told now is told with the next change.
fn complain(outcome: Result<()>) {
    if let Err(error) = outcome {
        tracing::debug!(%error, "inboxes were not told");
    }
}
