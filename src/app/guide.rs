//! The demo: an organisation with people, a group and a help thread, made once; and a text that says who can sign in
//! and what to try. Passwords are random and stand in a file that only the owner of the data folder can read.

use std::{
    fmt::Write as _,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
};

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Kernel, StartError};
use crate::{
    base::{master_key::write_private, random::Random, secret::Secret},
    domain::{
        caller::{Caller, TokenKind},
        error::{Error, Result},
        ids::{ConversationId, PersonId},
        once::Once,
    },
    service::{
        Services,
        messages::Draft,
        people::NewUser,
        workboxes::{ListRequest, NewWorkbox},
    },
    store::people,
};

const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Name and title; the first one administers.
const PEOPLE: [(&str, &str); 4] =
    [("Ann", "Plant manager"), ("Ben", "Pump expert"), ("Cara", "Electrician"), ("Dan", "Apprentice")];

/// What the file keeps.
#[derive(Serialize, Deserialize)]
struct Demo {
    people: Vec<Login>,
}

#[derive(Serialize, Deserialize)]
struct Login {
    name: String,
    email: String,
    password: String,
}

impl Login {
    fn secret(&self) -> Secret {
        Secret::new(self.password.clone())
    }
}

/// Makes what is missing of the demo and says what to try.
pub(super) async fn demo(kernel: &Kernel, address: SocketAddr) -> std::result::Result<String, StartError> {
    let file = kernel.folder().path().join("demo.json");
    let demo = load_or_create(&file, &kernel.ports().random)
        .map_err(|error| StartError::Folder(file.clone(), error))?;
    let made = match make(kernel, &demo).await {
        Ok(made) => made,
        Err(error) => {
            // Somebody changed a password or removed somebody: the rest of the demo still works.
            tracing::warn!(%error, "the demo is not as it was made");
            Made { thread: ConversationId(1), others: Vec::new() }
        }
    };
    let base = kernel.config().http.public_url(address);
    Ok(text(&demo, &base, &made, &file))
}

fn load_or_create(file: &Path, random: &Random) -> io::Result<Demo> {
    match std::fs::read(file) {
        Ok(text) => Ok(serde_json::from_slice(&text)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let people = PEOPLE
                .iter()
                .map(|(name, _)| Login {
                    name: (*name).to_owned(),
                    email: format!("{}@demo.example", name.to_lowercase()),
                    password: random.token::<9>(),
                })
                .collect();
            let demo = Demo { people };
            write_private(file, &format!("{}\n", serde_json::to_string_pretty(&demo)?))?;
            Ok(demo)
        }
        Err(error) => Err(error),
    }
}

/// What the snippets name.
struct Made {
    thread: ConversationId,
    others: Vec<PersonId>,
}

/// Makes what is not there yet.
async fn make(kernel: &Kernel, demo: &Demo) -> Result<Made> {
    let services = &*kernel.services;
    let (boss, others) = demo.people.split_first().ok_or_else(|| Error::invalid("demo.json names nobody"))?;
    let is_new = people::credentials(kernel.db(), &boss.email).await?.is_none();
    let token = if is_new {
        let secret = boss.secret();
        services
            .provisioning
            .create_organization("Demo", (&boss.name, &boss.email), Some(&secret))
            .await?
            .admin
            .token
    } else {
        services.sign_in.password(&boss.email, &boss.secret(), LOCAL).await?.token
    };
    let ann = services.tokens.verify(&token, &[TokenKind::User]).await?;
    if is_new {
        services.provisioning.create_pod(ann.organization, "Experts", "Who knows the machines").await?;
    }
    let mut made = Made { thread: ConversationId(0), others: Vec::new() };
    for (other, (_, title)) in others.iter().zip(PEOPLE.iter().skip(1)) {
        made.others.push(match people::credentials(kernel.db(), &other.email).await? {
            Some(known) => known.id,
            None => create_person(services, &ann, other, title).await?,
        });
    }
    let threads = services.workboxes.list(&ann, &ListRequest { limit: 1, ..ListRequest::default() }).await?;
    made.thread = match threads.entries.first() {
        Some(thread) => thread.id,
        None => open_thread(services, &ann, made.others.clone()).await?,
    };
    Ok(made)
}

async fn create_person(services: &Services, ann: &Caller, login: &Login, title: &str) -> Result<PersonId> {
    let new = NewUser {
        name: login.name.clone(),
        email: login.email.clone(),
        title: Some(title.to_owned()),
        password: Some(login.secret()),
        ..NewUser::default()
    };
    services.people.create(ann, new, &Once::none()).await
}

async fn open_thread(services: &Services, ann: &Caller, others: Vec<PersonId>) -> Result<ConversationId> {
    let new = NewWorkbox {
        title: "Pump 3 is loud".to_owned(),
        description: "It began this morning.".to_owned(),
        participants: others,
        ..NewWorkbox::default()
    };
    let thread = services.workboxes.create(ann, new, &Once::none()).await?;
    let hello = Draft {
        uuid: None,
        kind: "Text".to_owned(),
        metadata: json!({ "message": "Can somebody listen to pump 3?" }),
        version: 2,
        internal: false,
        sent_at: None,
        username: None,
    };
    services.messages.send(ann, thread.id, hello, &Once::none()).await?;
    Ok(thread.id)
}

/// What is printed.
fn text(demo: &Demo, base: &str, made: &Made, file: &Path) -> String {
    let mut text = String::from("Who can sign in:\n");
    for login in &demo.people {
        let _ = writeln!(text, "  {:<5} {:<18} {}", login.name, login.email, login.password);
    }
    let _ = writeln!(text, "(kept in {})\n", file.display());
    let others: Vec<_> = made.others.iter().map(ToString::to_string).collect();
    let password = |name: &str| {
        demo.people.iter().find(|login| login.name == name).map_or("...", |login| login.password.as_str())
    };
    let snippets = include_str!("guide.txt")
        .replace("{base}", base)
        .replace("{socket}", &format!("{}/connection/websocket", base.replacen("http", "ws", 1)))
        .replace("{thread}", &made.thread.to_string())
        .replace("{others}", &others.join(","))
        .replace("{ann}", password("Ann"))
        .replace("{ben}", password("Ben"));
    text + &snippets
}
