//! A ring from its begin to its end, in one of the ways that rings end.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use rand::{RngExt as _, rngs::SmallRng};
use serde_json::{Value, json};
use tokio::time::sleep;
use uuid::Uuid;

use super::{Due, World};
use crate::{
    client::socket::Client,
    failure::{Failure, Outcome},
    ledger::{Entry, violation::Violation},
    scenario::file::Rings as Shares,
};

/// How long a ring may take to be heard.
const HEARD: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Accept,
    Race,
    Decline,
    Cancel,
    TimeOut,
    Busy,
}

fn way(shares: &Shares, random: &mut SmallRng) -> Way {
    let ways = [
        (Way::Accept, shares.accept),
        (Way::Race, shares.race),
        (Way::Decline, shares.decline),
        (Way::Cancel, shares.cancel),
        (Way::TimeOut, shares.time_out),
        (Way::Busy, shares.busy),
    ];
    let mut at = random.random::<f64>() * ways.iter().map(|(_, share)| share).sum::<f64>();
    for (way, share) in ways {
        at -= share;
        if at < 0.0 {
            return way;
        }
    }
    Way::Accept
}

/// Two people (three for busy) who are free; taken.
fn people(world: &World, count: usize, random: &mut SmallRng) -> Option<Vec<usize>> {
    for _ in 0..32 {
        let mut chosen = Vec::with_capacity(count);
        while chosen.len() < count {
            let person = random.random_range(0..world.people.len());
            if !chosen.contains(&person) {
                chosen.push(person);
            }
        }
        let here = |person: &usize| world.clients_of(*person).iter().any(|client| client.is_online());
        if chosen.iter().all(here) && world.rings.take(&chosen) {
            return Some(chosen);
        }
    }
    None
}

/// Rings somebody.
pub async fn ring(world: &Arc<World>, due: &mut Due) -> Outcome<bool> {
    let way = way(&world.scenario.ring, &mut due.random);
    let count = if way == Way::Busy { 3 } else { 2 };
    if world.people.len() < count {
        return Ok(false);
    }
    let Some(chosen) = people(world, count, &mut due.random) else { return Ok(false) };
    let outcome = Ring { world, due_us: due.at_us, way }.go(&chosen).await;
    world.rings.release(&chosen);
    outcome.map(|()| true)
}

struct Ring<'a> {
    world: &'a Arc<World>,
    due_us: u64,
    way: Way,
}

/// A ring that was started.
struct Started {
    session: String,
    request: Uuid,
    state: String,
}

fn text(value: &Value, name: &str) -> Outcome<String> {
    let found = value[name].as_str().map(str::to_owned);
    found.ok_or_else(|| Failure::Unexpected(format!("no {name} in {value:.100}")))
}

impl Ring<'_> {
    fn client(&self, person: usize) -> Outcome<Arc<Client>> {
        let clients = self.world.clients_of(person);
        clients.into_iter().find(|client| client.is_online()).ok_or(Failure::Disconnected)
    }

    async fn start(&self, caller: usize, callee: usize) -> Outcome<Started> {
        let (client, callee) = (self.client(caller)?, self.world.people[callee].id);
        let session = client.rpc("session.create", json!({ "users": [callee] })).await?;
        let session = text(&session, "id")?;
        let reply = client.rpc("ring.start", json!({ "session_id": session })).await?;
        let request = &reply["requests"][0];
        let state = text(request, "state")?;
        // Who is busy is not rung, so there is no request to speak of.
        let number = request["request_id"].as_str().unwrap_or_default();
        Ok(Started { session, request: number.parse().unwrap_or_default(), state })
    }

    fn note(&self, ring: &Started, caller: usize, outcome: &str) {
        self.world.ledger.note(Entry::Ring {
            session: ring.session.clone(),
            request: ring.request,
            outcome: outcome.to_owned(),
            person: self.world.people[caller].id,
            at: self.world.watch.now_us(),
        });
    }

    async fn go(&self, chosen: &[usize]) -> Outcome<()> {
        let (caller, callee) = (chosen[0], chosen[1]);
        if let [_, _, third] = chosen {
            return self.busy(caller, callee, *third).await;
        }
        let ring = self.start(caller, callee).await?;
        if ring.state != "ringing" {
            return Err(Failure::Refused(0, format!("ring.start says {}", ring.state)));
        }
        self.note(&ring, caller, "ringing");
        let request = ring.request.to_string();
        let devices = self.world.clients_of(callee).iter().filter(|client| client.is_online()).count();
        let heard = self.world.rings.ringing(&request, devices, HEARD).await;
        let outcome = match heard {
            true => self.end(&ring, caller, callee).await,
            false => Err(Failure::Refused(0, "not every device rang".to_owned())),
        };
        if outcome.is_ok() && !self.world.rings.stopped(&request, devices, HEARD).await {
            self.world.count_failure("ring", &Failure::Refused(0, "a device goes on ringing".to_owned()));
        }
        let metric = self.world.stats.metric("ring_delivery");
        for at in self.world.rings.forget(&request) {
            metric.record(at.saturating_sub(self.due_us));
        }
        outcome
    }

    async fn end(&self, ring: &Started, caller: usize, callee: usize) -> Outcome<()> {
        let shares = &self.world.scenario.ring;
        sleep(Duration::from_millis(shares.answer_ms)).await;
        let request = json!({ "request_id": ring.request });
        match self.way {
            Way::Accept | Way::Busy => {
                let reply = self.client(callee)?.rpc("ring.accept", request).await?;
                self.note(ring, caller, "accepted");
                self.talk(&reply, caller, callee).await
            }
            Way::Race => self.race(ring, caller, callee).await,
            Way::Decline => {
                self.client(callee)?.rpc("ring.decline", request).await?;
                self.note(ring, caller, "declined");
                Ok(())
            }
            Way::Cancel => {
                self.client(caller)?.rpc("ring.cancel", request).await?;
                self.note(ring, caller, "cancelled");
                Ok(())
            }
            Way::TimeOut => {
                sleep(Duration::from_secs(shares.ring_seconds)).await;
                self.note(ring, caller, "timed_out");
                Ok(())
            }
        }
    }

    async fn talk(&self, accepted: &Value, caller: usize, callee: usize) -> Outcome<()> {
        let call = text(accepted, "call_id")?;
        sleep(Duration::from_millis(self.world.scenario.ring.talk_ms)).await;
        self.client(callee)?.rpc("call.leave", json!({ "call_id": call })).await?;
        self.client(caller)?.rpc("call.end", json!({ "call_id": call })).await?;
        Ok(())
    }

    /// All devices accept at once: exactly one may win.
    async fn race(&self, ring: &Started, caller: usize, callee: usize) -> Outcome<()> {
        let request = json!({ "request_id": ring.request });
        let clients = self.world.clients_of(callee);
        let answers = join_all(clients.iter().map(|client| client.rpc("ring.accept", request.clone()))).await;
        let won: Vec<_> = answers.iter().filter_map(|answer| answer.as_ref().ok()).collect();
        if won.len() > 1 {
            let trail = answers.iter().map(|answer| format!("{answer:?}")).collect();
            let what = format!("{} devices were told that they took it", won.len());
            let found = Violation::new("one outcome per ring", ring.request.to_string(), what, trail);
            self.world.ledger.wrong((*found).into());
        }
        let Some(first) = won.first() else {
            return Err(answers.into_iter().find_map(Result::err).unwrap_or(Failure::Disconnected));
        };
        self.note(ring, caller, "accepted");
        self.talk(first, caller, callee).await
    }

    /// Two talk; a third rings one of them.
    async fn busy(&self, caller: usize, callee: usize, third: usize) -> Outcome<()> {
        let ring = self.start(caller, callee).await?;
        self.note(&ring, caller, "ringing");
        let request = json!({ "request_id": ring.request });
        let reply = self.client(callee)?.rpc("ring.accept", request).await?;
        self.note(&ring, caller, "accepted");
        let other = self.start(third, callee).await;
        let talked = self.talk(&reply, caller, callee).await;
        self.world.rings.forget(&ring.request.to_string());
        let state = other?.state;
        talked?;
        if state == "busy" { Ok(()) } else { Err(Failure::Refused(0, format!("not busy but {state}"))) }
    }
}
