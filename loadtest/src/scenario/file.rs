//! Scenario files (TOML). Every key has a default, unknown ones are errors.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::client::wire::Format;

/// A scenario.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Its name.
    pub name: String,
    /// The question that it answers.
    pub question: String,
    /// Where chance begins: the same seed gives the same choices.
    #[serde(default = "one")]
    pub seed: u64,
    /// Who takes part.
    pub population: Population,
    /// What is sent.
    #[serde(default)]
    pub message: MessageShape,
    /// What they do, by weight, unless a stage says otherwise.
    #[serde(default)]
    pub mix: Mix,
    /// One after the other.
    #[serde(rename = "stage")]
    pub stages: Vec<Stage>,
    /// Rings.
    #[serde(default)]
    pub ring: Rings,
    /// Attachments.
    #[serde(default)]
    pub attachment: Attachments,
    /// What must hold at the end.
    #[serde(default, rename = "threshold")]
    pub thresholds: Vec<Threshold>,
}

fn one() -> u64 {
    1
}

/// Who takes part.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Population {
    /// People. 0: as many as the rooms need.
    pub people: usize,
    /// Sockets of each.
    pub devices: usize,
    /// Rooms (help threads).
    pub rooms: usize,
    /// People in each room, taken in turn.
    pub members: usize,
    /// Connections opened per second.
    pub connect_rate: f64,
    /// The wire format.
    pub format: Format,
    /// Clients take places in their rooms' channels.
    pub subscribe: bool,
}

impl Default for Population {
    fn default() -> Self {
        Self {
            people: 0,
            devices: 1,
            rooms: 0,
            members: 0,
            connect_rate: 500.0,
            format: Format::Json,
            subscribe: true,
        }
    }
}

impl Population {
    /// How many people there are.
    pub fn count(&self) -> usize {
        if self.people > 0 { self.people } else { (self.rooms * self.members).max(1) }
    }

    /// Whose turn it is to be in a room: numbers of people.
    pub fn members_of(&self, room: usize) -> Vec<usize> {
        let count = self.count();
        (0..self.members.min(count)).map(|seat| (room * self.members + seat) % count).collect()
    }
}

/// What is sent.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct MessageShape {
    /// Characters of a message's text.
    pub bytes: usize,
    /// By rpc over the socket; otherwise by REST.
    pub over_socket: bool,
}

impl Default for MessageShape {
    fn default() -> Self {
        Self { bytes: 128, over_socket: true }
    }
}

/// Something that people do.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Sends a message.
    Send,
    /// Changes a message of one's own.
    Edit,
    /// Removes a message of one's own.
    Delete,
    /// Marks everything as read.
    Read,
    /// Marks everything as received.
    Received,
    /// Says that one is typing.
    Typing,
    /// Lists one's help threads (REST).
    List,
    /// Opens a help thread (REST).
    Open,
    /// Reads a page of history (REST).
    History,
    /// Reads who one is (REST).
    Profile,
    /// Lists colleagues (REST).
    Colleagues,
    /// Counts what is unread (REST).
    Unread,
    /// Uploads a file and downloads it again.
    Attach,
    /// Rings somebody; goes the whole way of a ring.
    Ring,
    /// Joins or leaves the room's call.
    CallRoom,
    /// Signals to somebody in the same call.
    Signal,
    /// A connection ends without a word and comes back.
    Reconnect,
}

/// Weights of actions.
pub type Mix = BTreeMap<Action, f64>;

/// How arrivals are spread.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Arrivals {
    /// At even distances.
    #[default]
    Even,
    /// As independent people do.
    Poisson,
}

/// What a stage is.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StageKind {
    /// The mix, at a rate or in a window; nothing without either.
    #[default]
    Work,
    /// Sends `messages` messages as fast as the window allows.
    Fill,
    /// Clients go away, miss `messages` messages per room, come back and catch up.
    Storm,
}

/// A stretch of a scenario.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// Its name.
    pub name: String,
    /// What it is.
    #[serde(default)]
    pub kind: StageKind,
    /// How long. Fill and storm: at most so long.
    pub seconds: f64,
    /// Actions per second, whether or not earlier ones have been answered; latency counts from when each was due.
    #[serde(default)]
    pub rate: Option<f64>,
    /// Rate at the end of the stage: a ramp.
    #[serde(default)]
    pub to: Option<f64>,
    /// How they are spread.
    #[serde(default)]
    pub arrivals: Arrivals,
    /// Instead of a rate: so many at a time, each after the answer to the last.
    #[serde(default)]
    pub window: Option<usize>,
    /// With a window: so many people of each room write, nobody else, and each has a window of their own.
    #[serde(default)]
    pub talkers: usize,
    /// Milliseconds between an answer and the next action, in a window.
    #[serde(default)]
    pub think_ms: u64,
    /// Weights in this stage.
    #[serde(default)]
    pub mix: Option<Mix>,
    /// Fill: messages in all. Storm: messages per room.
    #[serde(default)]
    pub messages: usize,
    /// Storm: the share of clients that go away. Work with `stall_ms`: the share that stops reading.
    #[serde(default = "whole")]
    pub share: f64,
    /// Work: this long some clients stop reading, at the begin of the stage.
    #[serde(default)]
    pub stall_ms: u64,
    /// Storm: they come back within this time.
    #[serde(default)]
    pub within_ms: u64,
}

fn whole() -> f64 {
    1.0
}

impl Stage {
    /// Whether the stage wants open-loop arrivals, and from which rate to which.
    pub fn ramp(&self) -> Option<(f64, f64)> {
        self.rate.map(|rate| (rate, self.to.unwrap_or(rate)))
    }
}

/// How rings end, by weight.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rings {
    /// Accepted by one device.
    pub accept: f64,
    /// Accepted by all devices at once: one wins.
    pub race: f64,
    /// Declined.
    pub decline: f64,
    /// Cancelled by the caller.
    pub cancel: f64,
    /// Not answered.
    pub time_out: f64,
    /// The person rung is in a call already.
    pub busy: f64,
    /// Milliseconds that an accepted call lasts.
    pub talk_ms: u64,
    /// Milliseconds before somebody answers.
    pub answer_ms: u64,
    /// Seconds after which the server gives up a ring, as configured there.
    pub ring_seconds: u64,
}

impl Default for Rings {
    fn default() -> Self {
        Self {
            accept: 55.0,
            race: 5.0,
            decline: 15.0,
            cancel: 15.0,
            time_out: 2.0,
            busy: 8.0,
            talk_ms: 500,
            answer_ms: 100,
            ring_seconds: 40,
        }
    }
}

/// What is uploaded.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Attachments {
    /// `[bytes, weight]` pairs.
    pub sizes: Vec<(usize, f64)>,
    /// It is downloaded again and compared.
    pub download: bool,
}

impl Default for Attachments {
    fn default() -> Self {
        Self { sizes: vec![(1_000, 5.0), (100_000, 4.0), (1_000_000, 1.0)], download: true }
    }
}

/// A figure that must be reached. `metric` is a path such as `send.p99_ms`, `stage.steady.delivery.p99_ms`,
/// `server.deliveries_per_cpu_second` or `errors.share`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Threshold {
    /// The figure.
    pub metric: String,
    /// It must be at most this.
    #[serde(default)]
    pub max: Option<f64>,
    /// It must be at least this.
    #[serde(default)]
    pub min: Option<f64>,
    /// The bounds are for the ratio to this figure.
    #[serde(default)]
    pub ratio_to: Option<String>,
}

impl Scenario {
    /// Reads a scenario and checks that it makes sense.
    pub fn parse(text: &str) -> Result<Self, String> {
        let scenario: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        scenario.check()?;
        Ok(scenario)
    }

    fn check(&self) -> Result<(), String> {
        if self.stages.is_empty() {
            return Err("a scenario needs a [[stage]]".to_owned());
        }
        if self.population.devices == 0 || self.population.connect_rate <= 0.0 {
            return Err("population: devices and connect_rate must be above 0".to_owned());
        }
        for stage in &self.stages {
            let wrong = |what: &str| Err(format!("stage {}: {what}", stage.name));
            if !stage.seconds.is_finite() || stage.seconds <= 0.0 {
                return wrong("seconds must be above 0");
            }
            if stage.rate.is_some() && stage.window.is_some() {
                return wrong("a rate or a window, not both");
            }
            if stage.talkers > 0 && stage.window.is_none() {
                return wrong("talkers need a window");
            }
            let works = stage.rate.is_some() || stage.window.is_some();
            let mix = stage.mix.as_ref().unwrap_or(&self.mix);
            if stage.kind == StageKind::Work && works && mix.values().sum::<f64>() <= 0.0 {
                return wrong("there is nothing to do: give a [mix]");
            }
            if stage.kind != StageKind::Work && stage.messages == 0 {
                return wrong("how many messages?");
            }
            if self.population.rooms == 0 && stage.kind != StageKind::Work {
                return wrong("messages need rooms");
            }
        }
        for threshold in &self.thresholds {
            if threshold.max.is_none() && threshold.min.is_none() {
                return Err(format!("threshold {}: needs `max` or `min`", threshold.metric));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str =
        "name='a'\nquestion='?'\n[population]\nrooms=2\nmembers=3\n[[stage]]\nname='s'\nseconds=1\n";

    #[test]
    fn what_is_left_out_has_defaults_and_mistakes_are_told() {
        let scenario = Scenario::parse(SMALL).unwrap();
        assert_eq!((scenario.seed, scenario.population.count(), scenario.message.bytes), (1, 6, 128));
        for (more, complaint) in [
            ("rate=1\nwindow=1", "not both"),
            ("rate=1", "nothing to do"),
            ("rate=1\ntalkers=1", "need a window"),
            ("kind='storm'", "how many messages"),
            ("rat=1", "unknown field"),
        ] {
            let error = Scenario::parse(&format!("{SMALL}{more}\n")).unwrap_err();
            assert!(error.contains(complaint), "{more}: {error}");
        }
    }

    #[test]
    fn people_take_seats_in_turn() {
        let population = Population { people: 4, rooms: 3, members: 3, ..Population::default() };
        assert_eq!(population.members_of(0), [0, 1, 2]);
        assert_eq!(population.members_of(1), [3, 0, 1]);
        assert_eq!(population.members_of(2), [2, 3, 0]);
    }
}
