//! The scenarios that come with the program.

use std::path::Path;

use super::Scenario;

/// Names and texts of the scenarios in `loadtest/scenarios`.
pub const ALL: &[(&str, &str)] = &[
    ("idle", include_str!("../../scenarios/idle.toml")),
    ("fan_out", include_str!("../../scenarios/fan_out.toml")),
    ("fan_out_10x100", include_str!("../../scenarios/fan_out_10x100.toml")),
    ("rooms", include_str!("../../scenarios/rooms.toml")),
    ("pairs", include_str!("../../scenarios/pairs.toml")),
    ("chat_day", include_str!("../../scenarios/chat_day.toml")),
    ("ring_storm", include_str!("../../scenarios/ring_storm.toml")),
    ("call_room", include_str!("../../scenarios/call_room.toml")),
    ("reconnect_storm", include_str!("../../scenarios/reconnect_storm.toml")),
    ("catch_up", include_str!("../../scenarios/catch_up.toml")),
    ("slow_readers", include_str!("../../scenarios/slow_readers.toml")),
    ("attachments", include_str!("../../scenarios/attachments.toml")),
    ("rest_mix", include_str!("../../scenarios/rest_mix.toml")),
    ("hot_thread", include_str!("../../scenarios/hot_thread.toml")),
    ("growth", include_str!("../../scenarios/growth.toml")),
    ("soak", include_str!("../../scenarios/soak.toml")),
    ("chaos", include_str!("../../scenarios/chaos.toml")),
];

/// The scenario of this name, or in this file.
pub fn find(name: &str) -> Result<Scenario, String> {
    if let Some((_, text)) = ALL.iter().find(|(known, _)| *known == name) {
        return Scenario::parse(text);
    }
    let path = Path::new(name);
    if !path.exists() {
        let known: Vec<_> = ALL.iter().map(|(name, _)| *name).collect();
        return Err(format!("there is no scenario or file {name}; known: {}", known.join(", ")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| format!("{name}: {error}"))?;
    Scenario::parse(&text).map_err(|error| format!("{name}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_can_be_read_and_has_its_page() {
        let page = include_str!("../../../docs/LOADTEST.md");
        for (name, text) in ALL {
            let scenario = Scenario::parse(text).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(scenario.name, *name);
            assert!(page.contains(&format!("### {name}\n")), "docs/LOADTEST.md says nothing of {name}");
        }
        assert!(find("nothing_of_the_kind").unwrap_err().contains("chat_day"));
    }
}
