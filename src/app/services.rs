//! Builds the services: each gets what it names, nothing gets everything.

use std::sync::Arc;

use super::{Ports, StartError, doors::Crowd, foundation::Foundation, kernel::Wired};
use crate::{
    files::Files,
    service::{
        Services,
        access_tokens::AccessTokens,
        acting::Acting,
        attachments::Attachments,
        attendance::Attendance,
        call_records::{self, CallRecords},
        calls::{self, Calls},
        keys::{self, Keys},
        messages::Messages,
        notices::Notices,
        passwords::Passwords,
        people::{self, People},
        provisioning::{Provisioning, ProvisioningParts},
        reachability::Reachability,
        session_messages::SessionMessages,
        sessions::{self, Sessions},
        sign_in::{SignIn, SignInParts},
        signing_keys::SigningKeys,
        tokens::Tokens,
        tools::Tools,
        workboxes::{WorkboxOptions, Workboxes},
    },
};

/// All services. `public_url` is where clients reach the server.
pub(super) async fn build(
    base: &Foundation,
    wired: &Wired,
    crowd: &Crowd,
    public_url: String,
) -> Result<Services, StartError> {
    let Foundation {
        config, ports: Ports { clock, random }, master, sealer, db, ids, tasks, runtime, ..
    } = base;
    let (db, ids, clock, random) = (|| db.clone(), || ids.clone(), || clock.clone(), || random.clone());
    let (journal, keep) = (|| wired.journal.clone(), config.retention.idempotency_hours);

    let signing_keys = SigningKeys::open(db(), ids(), clock(), random(), sealer.clone()).await?;
    let tokens = Tokens::new(db(), clock(), random(), config.auth.clone(), signing_keys);
    tokens.set_revocations(Arc::new(crowd.clone()));
    let passwords = Passwords::new(&config.auth, random(), tasks.clone())?;
    let attendance = Attendance::default();
    let reachability = Reachability::new(db(), Arc::new(attendance.clone()));
    let sign_in = Arc::new(SignIn::new(
        db(),
        ids(),
        clock(),
        random(),
        journal(),
        SignInParts { auth: config.auth.clone(), tokens: tokens.clone(), passwords: passwords.clone() },
    ));
    let provisioning = Provisioning::new(
        db(),
        ids(),
        clock(),
        random(),
        journal(),
        ProvisioningParts {
            auth: config.auth.clone(),
            sealer: sealer.clone(),
            tokens: tokens.clone(),
            passwords: passwords.clone(),
        },
    );
    let notices = Notices::new(db(), ids(), clock(), random(), sealer.clone());
    let people = People::new(people::Parts {
        notices: notices.clone(),
        invitation_life: config.auth.invitation_days,
        db: db(),
        ids: ids(),
        clock: clock(),
        random: random(),
        journal: journal(),
        tokens: tokens.clone(),
        passwords,
        reachability: reachability.clone(),
        public_url: public_url.clone(),
        keep,
    });
    let keys = Keys::new(keys::Parts {
        db: db(),
        ids: ids(),
        clock: clock(),
        random: random(),
        sealer: sealer.clone(),
        tasks: tasks.clone(),
        tokens: tokens.clone(),
        sign_in: Arc::clone(&sign_in),
        keep,
    });
    let tools = Tools {
        db: db(),
        ids: ids(),
        clock: clock(),
        random: random(),
        journal: journal(),
        conversations: wired.conversations.clone(),
        sessions: wired.sessions.clone(),
        keep_outcomes: keep,
    };
    let files =
        Files::open(&config.files, master, &public_url, runtime.handle()).map_err(StartError::other)?;
    let attachments = Attachments::new((&tools).into(), files);
    let messages = Messages::new(tools.clone(), wired.unread.clone()).with_files(attachments.clone());
    let workboxes = Workboxes::new(
        tools.clone(),
        messages.clone(),
        tokens.clone(),
        sealer.clone(),
        Arc::new(notices.clone()),
        WorkboxOptions { public_url: public_url.clone(), link_life: config.auth.guest_link_days },
    );
    let sessions = Sessions::new(sessions::Parts {
        db: db(),
        ids: ids(),
        clock: clock(),
        random: random(),
        journal: journal(),
        live: wired.sessions.clone(),
        tokens: tokens.clone(),
        max_members: config.calls.max_members,
        keep,
    });
    let session_messages = SessionMessages::new(tools, sessions.clone());
    let calls = Calls::new(calls::Parts {
        db: db(),
        clock: clock(),
        random: random(),
        live: wired.sessions.clone(),
        sessions: sessions.clone(),
        reachability: reachability.clone(),
        config: config.calls.clone(),
        public_url: public_url.clone(),
        keep,
        attendance,
        tasks: tasks.clone(),
    });
    let call_records = CallRecords::new(call_records::Parts {
        db: db(),
        ids: ids(),
        clock: clock(),
        random: random(),
        journal: journal(),
        tokens: tokens.clone(),
        keep,
    });
    Ok(Services {
        db: db(),
        clock: clock(),
        reachability,
        access_tokens: AccessTokens::new(db(), ids(), clock(), random(), journal(), tokens.clone(), keep),
        acting: Acting::new(db(), ids(), clock(), tokens.clone()),
        tokens,
        sign_in,
        people,
        keys,
        messages,
        unread: wired.unread.clone(),
        workboxes,
        sessions,
        session_messages,
        calls,
        call_records,
        attachments,
        notices,
        provisioning,
    })
}
