//! A page costs as many statements with thirty rows as with three: nothing is looked up row by row.

use serde_json::{Value, json};
use switchboard::{
    api::FAMILIES,
    domain::ids::{CallId, PersonId, SessionId},
    http::{Auth, Method},
    store::sql,
};
use uuid::Uuid;

use super::{Target as _, Whose, estate::Estate};
use crate::harness::{
    db::on_both,
    log::{COUNTED, statements_of},
};

const FEW: usize = 3;
const MANY: usize = 30;
/// An organisation has no more partner keys.
const PARTNER_KEYS: usize = 9;

/// What one request took.
struct Cost {
    operation: &'static str,
    statements: Vec<String>,
    bytes: usize,
}

impl Estate {
    /// Adds one of everything for each number.
    async fn grow(&self, numbers: std::ops::Range<usize>) {
        let token = async |kind| self.token(kind, Whose::Master).await.expect("the master has one");
        let (ada, admin) = (token(Auth::User).await, token(Auth::Enterprise).await);
        let place = token(Auth::Workbox).await;
        let server = &self.server;
        let post =
            async |path: &str, body: Value, token: &str| server.post(path, body).with(token).ok().await;
        let call: CallId = self.name("call_id").parse().unwrap();
        let session: SessionId = self.name("session_id").parse().unwrap();
        let workbox = "/api/v1r1/workbox";
        let (mut people, mut pods) = (Vec::new(), Vec::new());
        for n in numbers {
            let person = server.hire(&format!("Person{n}")).await;
            people.push(person);
            let services = &server.kernel().services;
            let pod =
                services.provisioning.create_pod(server.acme.organization.id, &format!("Pod {n}"), "").await;
            pods.push(pod.unwrap().0);
            post("/api/v1r1/enterprise/api_keys", json!({ "description": "x" }), &admin).await;
            if n < PARTNER_KEYS {
                post("/api/v1r1/enterprise/partner_keys", json!({ "description": "x" }), &admin).await;
            }
            post("/api/v1r1/personal_access_token", json!({}), &ada).await;
            let field = json!({ "name": format!("F{n}"), "type": "TEXT" });
            let field = post("/api/v1r1/enterprise/custom_fields", field, &admin).await;
            let values = json!({ "values": [{ "id": field["id"], "value": "v" }] });
            server.put(&format!("{workbox}/custom_fields"), values.clone()).with(&place).ok().await;
            let words = json!({ "type": "Text", "metadata": { "message": format!("message {n}") } });
            post(&format!("{workbox}/messages"), words.clone(), &place).await;
            post(&format!("{workbox}/invite/silent"), json!({ "name": format!("Guest {n}") }), &place).await;
            post(&format!("{workbox}/procedure"), json!({ "procedure_id": n + 10 }), &place).await;
            self.attach(&place).await;
            let new = json!({ "title": format!("T{n}"), "participants": [{ "id": person }] });
            let thread = post("/api/v1r1/workboxes", new, &ada).await;
            let own = thread["token"].as_str().unwrap();
            post(&format!("{workbox}/messages"), words, own).await;
            server.put(&format!("{workbox}/custom_fields"), values).with(own).ok().await;
            let member = server.sign_in(&format!("person{n}@acme.test")).await;
            post("/api/v1/sessions", json!({ "contact_tokens": [member] }), &ada).await;
            let of_call = format!("/api/v1r1/user/calls/{call}");
            post(&format!("{of_call}/comments"), json!({ "comment": "c" }), &ada).await;
            post(&format!("{of_call}/tags"), json!([format!("tag {n}")]), &ada).await;
            let note = json!({
                "attachment": "aGVsbG8=", "name": "n.txt", "mime_type": "text/plain", "type": "postcall",
            });
            post(&format!("{of_call}/attachments"), note, &ada).await;
            self.past_call(n, PersonId(person), &call, session).await;
        }
        let body = json!({ "coworker_ids": people });
        server.put(&format!("{workbox}/participants"), body).with(&place).ok().await;
        let user = format!("/api/v1r1/enterprise/users/{}", self.name("user_id"));
        server.put(&user, json!({ "pod_ids": pods })).with(&admin).ok().await;
    }

    /// A call of Ada with this person that is over, with its rings; the person was in the estate's call too.
    async fn past_call(&self, n: usize, person: PersonId, call: &CallId, session: SessionId) {
        let (db, ada) = (&self.server.db.db, self.server.acme.admin.id);
        let at = self.server.clock.now();
        let copy = format!("call_{}", Uuid::from_u128(0xca11_0000 + n as u128));
        sql("insert into call (id, session_id, organization_id, conversation_id, dialer_id, receiver_id, owner_id, \
             started_at, ended_at, end_reason, updated_at) \
             select $2, session_id, organization_id, conversation_id, dialer_id, receiver_id, owner_id, \
             $3, $3, 'left', $3 from call where id = $1")
            .bind(call.clone())
            .bind(copy.as_str())
            .bind(at)
            .execute(db)
            .await
            .unwrap();
        let whole = call.to_string();
        let places = [(copy.as_str(), ada), (copy.as_str(), person), (whole.as_str(), person)];
        for (k, (call, person)) in places.into_iter().enumerate() {
            sql("insert into call_participant (call_id, person_id, login_id, joined_at, left_at, leave_reason) \
                 values ($1, $2, $2, $3, $3, 'left')")
                .bind(call)
                .bind(person)
                .bind(at)
                .execute(db)
                .await
                .unwrap();
            sql("insert into ring (id, session_id, organization_id, call_id, from_id, to_id, to_login_id, state, \
                 video, leased, created_at, expires_at, ended_at) \
                 values ($1, $2, $3, $4, $5, $6, $6, 'accepted', true, false, $7, $7, $7)")
                .bind(Uuid::from_u128(0x1e55_0000 + (3 * n + k) as u128))
                .bind(session)
                .bind(self.server.acme.organization.id)
                .bind(call)
                .bind(person)
                .bind(ada)
                .bind(at)
                .execute(db)
                .await
                .unwrap();
        }
        sql("insert into session_member (session_id, person_id, organizer, added_at) values ($1, $2, false, $3)")
            .bind(session)
            .bind(person)
            .bind(at)
            .execute(db)
            .await
            .unwrap();
    }

    /// What each reading operation takes once all caches are warm.
    async fn costs(&self, rows: usize) -> Vec<Cost> {
        let mut costs = Vec::new();
        for family in FAMILIES {
            for op in family.operations().filter(|op| op.method == Method::Get || op.id == "search_people") {
                let target = self.path(family, op).await + &self.query(op);
                let body = self.body(op).map(|sent| sent.bytes).unwrap_or_default();
                let mut bytes = 0;
                let id = format!("{COUNTED}{}-{rows}-{:?}", op.id, self.server.db.dialect());
                for _ in 0..2 {
                    statements_of(&id);
                    let headers = format!("\nauthorization: {}\nx-request-id: {id}", self.key(op));
                    let (response, judgement) =
                        self.server.exchange(op.method.name(), &target, &headers, &body).await;
                    assert!(judgement.is_ok() && response.status < 300, "{}: {}", op.id, response.text());
                    bytes = response.body.len();
                }
                costs.push(Cost { operation: op.id, statements: statements_of(&id), bytes });
            }
        }
        costs
    }
}

on_both! {
    async fn a_page_costs_a_fixed_number_of_statements(db: TestDb) {
        let estate = Estate::new(db).await;
        estate.grow(0..FEW).await;
        let few = estate.costs(FEW).await;
        estate.grow(FEW..MANY).await;
        let many = estate.costs(MANY).await;
        let (mut faults, mut grown) = (Vec::new(), 0);
        for (few, many) in few.iter().zip(&many) {
            grown += usize::from(many.bytes > few.bytes);
            if few.statements.len() != many.statements.len() {
                faults.push(format!(
                    "{}: {} statements for few rows, {} for many: {:#?}",
                    few.operation,
                    few.statements.len(),
                    many.statements.len(),
                    many.statements
                ));
            }
        }
        assert!(faults.is_empty(), "{}", faults.join("\n"));
        // Else it would prove nothing.
        assert!(grown > 25, "{grown} replies grew");
        assert!(many.iter().any(|cost| !cost.statements.is_empty()));
    }
}
