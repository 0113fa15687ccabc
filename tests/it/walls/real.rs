//! The walls of the real server: all operations of the table, on both databases.

use switchboard::{
    api::{FAMILIES, assist::error::answers_bare},
    domain::codes::Code,
    http::{Auth, Family, Op},
};

use super::{Target as _, doors, estate::Estate, walls};
use crate::harness::{
    app::Server,
    db::on_both,
    schema::{CONTRACT, code_of},
};

fn rows() -> impl Iterator<Item = (&'static Family, &'static Op)> {
    FAMILIES.iter().flat_map(|family| family.operations().map(|op| (*family, op)))
}

on_both! {
    async fn nobody_gets_in_who_should_not(db: TestDb) {
        let estate = Estate::new(db).await;
        let before = estate.fingerprint().await;
        let mut faults = walls(&estate, FAMILIES, &CONTRACT).await;
        assert_eq!(estate.fingerprint().await, before);
        assert!(estate.stands().await);
        faults.extend(doors(&estate, FAMILIES, &CONTRACT).await);
        assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    }

    /// A link to a file is opened by browsers, which send no header of ours: its signature is its credential.
    async fn the_applications_key_is_asked_everywhere_where_it_is_required(db: TestDb) {
        let settings = "[auth]\nrequire_api_key = true\nargon2_memory_kib = 64\nargon2_passes = 1\n";
        let server = Server::start_with(db, settings).await;
        let mut faults = Vec::new();
        for (family, op) in rows().filter(|(_, op)| op.id != "download_file") {
            let path = op.full_path(family).replace(['{', '}'], "");
            for (key, wanted) in [(None, Code::MissingApiKey), (Some("unknown"), Code::InvalidApiKey)] {
                let mut call = server.call(op.method.name(), &path);
                if let Some(key) = key {
                    call = call.header("x-helplightning-api-key", key);
                }
                let answer = call.send().await;
                // A bare string cannot say which.
                let told = if answers_bare(op) { Code::InvalidToken } else { wanted };
                if answer.status < 400 || code_of(&answer.response.body) != Some(told) {
                    faults.push(format!("{} with {key:?}: {} {}", op.id, answer.status, answer.body));
                }
            }
        }
        let known = server.get("/api/v1/info").header("x-helplightning-api-key", &server.acme.api_key);
        assert_eq!(known.refused().await.0, 401, "the key authorises nothing");
        let file = server.get("/files/unknown").send().await;
        assert_ne!(code_of(&file.response.body), Some(Code::MissingApiKey));
        assert!(faults.is_empty(), "{}", faults.join("\n"));
    }
}

#[test]
fn every_kind_of_token_is_tried() {
    for (_, op) in rows().filter(|(_, op)| op.auth != Auth::None) {
        assert!(
            super::KINDS.iter().any(|kind| kind.kinds().iter().all(|kind| op.auth.accepts(*kind))),
            "{}",
            op.id
        );
    }
}
