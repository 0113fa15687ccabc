//! What admin commands do, and what they print.

use std::time::Duration;

use serde::Serialize;
use tokio::sync::mpsc;

use super::Command;
use crate::{
    domain::{
        error::{Error, Result},
        ids::{ConversationId, OrgId, PersonId},
    },
    service::{Services, provisioning::Recruit},
};

/// Where lines go.
type Lines = mpsc::Sender<String>;

/// Runs a command; its lines go to `lines` as they come.
pub(super) async fn execute(services: &Services, command: Command, lines: &Lines) -> Result<()> {
    match command {
        Command::CreateOrganization { name, admin_email, admin_password, json } => {
            let password = admin_password.map(|password| password.0);
            let made =
                services.provisioning.create_organization(&name, &admin_email, password.as_ref()).await?;
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
            let people = services.provisioning.create_people(OrgId(organization), count as usize, life).await?;
            let threads = services.provisioning.create_threads(&people, workboxes, members).await?;
            for (person, workboxes) in people.iter().zip(threads) {
                let line = if json_lines {
                    json_line(&RecruitLine::new(person, &workboxes))?
                } else {
                    format!("{} {} {}", person.id, person.email, person.token)
                };
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
