//! What admin commands do, and what they print.

use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::Serialize;
use tokio::sync::mpsc;

use super::Command;
use crate::{
    domain::{
        caller::{Caller, TokenKind},
        error::{Error, Result},
        ids::{ConversationId, OrgId, PersonId},
        once::Once,
    },
    service::{Services, notices::Outgoing, provisioning::Recruit, workboxes::NewWorkbox},
};

/// Threads that are opened at the same time: they share commits.
const THREADS_AT_ONCE: usize = 64;
/// Members that are put into a thread at a time.
const STEP: usize = 500;
/// A thread that the server refuses for the moment is asked for again so often, after growing pauses.
const ATTEMPTS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(10);

/// Where lines go.
type Lines = mpsc::Sender<String>;

/// Runs a command; its lines go to `lines` as they come.
pub(super) async fn execute(services: &Services, command: Command, lines: &Lines) -> Result<()> {
    match command {
        Command::CreateOrganization { name, admin_email, admin_name, admin_password, json } => {
            let admin = admin_name.as_deref().or_else(|| admin_email.split('@').next()).unwrap_or_default();
            let password = admin_password.map(|password| password.0);
            let made = services
                .provisioning
                .create_organization(&name, (admin, &admin_email), password.as_ref())
                .await?;
            if json {
                return print(lines, json_line(&made)?).await;
            }
            let (organization, admin) = (&made.organization, &made.admin);
            print(lines, format!("organization  {} {}", organization.id, organization.name)).await?;
            print(lines, format!("api key       {}", made.api_key)).await?;
            print(lines, format!("administrator {} {}", admin.id, admin.email)).await?;
            print(lines, format!("token         {}", admin.token)).await?;
            print(lines, format!("refresh       {}", admin.refresh)).await
        }
        Command::CreateUsers { organization, count, workboxes, members, ttl, json_lines } => {
            let life = ttl.map(|seconds| Duration::from_secs(u64::from(seconds)));
            let people =
                services.provisioning.create_people(OrgId(organization), count as usize, life).await?;
            let threads = open_threads(services, &people, workboxes, members as usize).await?;
            for (person, workboxes) in people.iter().zip(&threads) {
                let line = if json_lines {
                    json_line(&RecruitLine::new(person, workboxes))?
                } else {
                    format!("{} {} {}", person.id, person.email, person.token)
                };
                print(lines, line).await?;
            }
            Ok(())
        }
        Command::SetRecordingPolicy { organization, policy } => {
            services.provisioning.set_recording_policy(OrgId(organization), &policy).await?;
            print(lines, format!("calls of organisation {organization} are recorded: {policy}")).await
        }
        Command::SetInvitationText { organization, text } => {
            services.provisioning.set_invitation_text(OrgId(organization), &text).await?;
            print(lines, format!("organisation {organization} invites so from now on")).await
        }
        Command::Outbox { organization, limit, json_lines } => {
            for notice in services.notices.newest(organization.map(OrgId), limit).await? {
                let line = if json_lines { json_line(&notice)? } else { letter(&notice) };
                print(lines, line).await?;
            }
            Ok(())
        }
        Command::RotateSigningKey => {
            services.tokens.rotate_keys().await?;
            print(lines, "a new key signs tokens; the one before goes on verifying".to_owned()).await
        }
    }
}

/// Opens `count` help threads, each by the next person with the `members - 1` that follow; gives each person's threads.
async fn open_threads(
    services: &Services,
    people: &[Recruit],
    count: u32,
    members: usize,
) -> Result<Vec<Vec<ConversationId>>> {
    let members = members.clamp(1, people.len().max(1));
    let mut threads = vec![Vec::new(); people.len()];
    let open = |number: usize| async move {
        let places = (0..members).map(move |place| (number * members + place) % people.len());
        let opener = services
            .tokens
            .verify(&people[number * members % people.len()].token, &[TokenKind::User])
            .await?;
        let others: Vec<PersonId> = places.clone().skip(1).map(|place| people[place].id).collect();
        let new = || NewWorkbox {
            title: format!("Thread {}", number + 1),
            description: String::new(),
            participants: others.iter().copied().take(STEP).collect(),
            fields: Vec::new(),
            call: None,
        };
        let thread = open_thread(services, &opener, &new).await?;
        // A commit stays of a bounded size.
        for end in (STEP..others.len()).step_by(STEP).map(|from| (from + STEP).min(others.len())) {
            services.workboxes.set_participants(&opener, thread, others[..end].to_vec()).await?;
        }
        Ok::<_, Error>((thread, places))
    };
    let mut opened = stream::iter((0..count as usize).map(open)).buffered(THREADS_AT_ONCE);
    while let Some((id, places)) = opened.try_next().await? {
        for place in places {
            threads[place].push(id);
        }
    }
    Ok(threads)
}

/// Opens a thread, again when more is asked of the server than it takes at the moment.
async fn open_thread(
    services: &Services,
    opener: &Caller,
    new: &impl Fn() -> NewWorkbox,
) -> Result<ConversationId> {
    let mut attempts = 0;
    loop {
        match services.workboxes.create(opener, new(), &Once::none()).await {
            Ok(thread) => return Ok(thread.id),
            Err(error) if error.is_temporary() && attempts < ATTEMPTS => attempts += 1,
            Err(error) => return Err(error),
        }
        tokio::time::sleep(PAUSE * attempts).await;
    }
}

/// A notice for people to read.
fn letter(notice: &Outgoing) -> String {
    let Outgoing { id, channel, recipient, subject, text, state, created_at, last_error, .. } = notice;
    let error = last_error.as_ref().map(|error| format!(" ({error})")).unwrap_or_default();
    format!("#{id} {state}{error} {channel} to {recipient}, {created_at}\n{subject}\n{text}\n")
}

#[derive(Serialize)]
struct RecruitLine<'a> {
    id: PersonId,
    email: &'a str,
    token: &'a str,
    workboxes: &'a [ConversationId],
}

impl<'a> RecruitLine<'a> {
    fn new(person: &'a Recruit, workboxes: &'a [ConversationId]) -> Self {
        Self { id: person.id, email: &person.email, token: &person.token, workboxes }
    }
}

fn json_line(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(Error::unavailable)
}

async fn print(lines: &Lines, line: String) -> Result<()> {
    // Who reads went away: stop, what is done stays done.
    lines.send(line).await.map_err(|_| Error::unavailable("nobody reads the output any more"))
}
