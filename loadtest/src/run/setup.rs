//! People and rooms for a scenario: those of a file where they suffice, otherwise new ones.

use std::{collections::BTreeMap, sync::Arc};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::json;

use super::world::Room;
use crate::{
    client::rest::Rest,
    failure::{Failure, Outcome},
    people::{Login, Person},
    scenario::file::Population,
    target::Target,
};

/// Rooms made at once.
const AT_ONCE: usize = 8;

/// People and the rooms that they are in.
pub struct Cast {
    /// People.
    pub people: Vec<Arc<Person>>,
    /// Rooms.
    pub rooms: Vec<Room>,
}

/// Puts the people into rooms as the population wants it.
pub async fn gather(
    population: &Population,
    target: Target,
    rest: &Rest,
    logins: Vec<Login>,
    topics: &[String],
) -> Outcome<Cast> {
    let wanted = population.count();
    if logins.len() < wanted {
        let what = format!("the scenario wants {wanted} people, there are {}", logins.len());
        return Err(Failure::Unexpected(what));
    }
    let rooms = if target.is_ours() {
        match existing(population, target, &logins) {
            Some(rooms) => rooms,
            None => make(population, target, rest, &logins).await?,
        }
    } else {
        let room = |number: usize| Room {
            id: number.cast_signed() as i64,
            channel: target
                .channel(number.cast_signed() as i64, topics.get(number).map(String::as_str))
                .into(),
            members: population.members_of(number),
        };
        (0..population.rooms).map(room).collect()
    };
    // Rooms of a file may hold other people than the first ones.
    let used = rooms.iter().flat_map(|room| room.members.iter().copied()).max().map_or(0, |last| last + 1);
    let people = logins.into_iter().take(wanted.max(used)).map(|login| Person::new(login, rest.clone()));
    Ok(Cast { people: people.collect(), rooms })
}

/// Rooms of the file, when there are enough of the right size.
fn existing(population: &Population, target: Target, logins: &[Login]) -> Option<Vec<Room>> {
    let mut members = BTreeMap::<i64, Vec<usize>>::new();
    for (person, login) in logins.iter().enumerate() {
        for workbox in &login.workboxes {
            members.entry(*workbox).or_default().push(person);
        }
    }
    let fitting = members.into_iter().filter(|(_, people)| people.len() == population.members);
    let rooms: Vec<_> = fitting
        .take(population.rooms)
        .map(|(id, members)| Room { id, channel: target.channel(id, None).into(), members })
        .collect();
    (rooms.len() == population.rooms).then_some(rooms)
}

async fn make(population: &Population, target: Target, rest: &Rest, logins: &[Login]) -> Outcome<Vec<Room>> {
    let one = |number: usize| async move {
        let members = population.members_of(number);
        let Some((first, others)) = members.split_first() else {
            return Err(Failure::Unexpected("a room needs members".to_owned()));
        };
        let others: Vec<_> = others.iter().map(|person| logins[*person].id).collect();
        let new = json!({ "title": format!("Load {number}"), "participant_ids": others });
        let made = rest.post("/api/v1r1/workboxes", &logins[*first].token, &new).await?;
        let id = made["id"].as_i64().ok_or_else(|| Failure::Unexpected(format!("no id: {made:.100}")))?;
        Ok(Room { id, channel: target.channel(id, None).into(), members })
    };
    stream::iter(0..population.rooms).map(one).buffered(AT_ONCE).try_collect().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rooms_of_the_file_are_used_when_they_fit() {
        let login = |id, workboxes: &[i64]| Login { id, workboxes: workboxes.to_vec(), ..Login::default() };
        let logins = [login(10, &[1]), login(11, &[1, 2]), login(12, &[2]), login(13, &[3])];
        let population = Population { rooms: 2, members: 2, ..Population::default() };
        let rooms = existing(&population, Target::Switchboard, &logins).unwrap();
        assert_eq!((rooms[1].id, rooms[1].members.as_slice()), (2, [1, 2].as_slice()));
        assert_eq!(&*rooms[0].channel, "workbox:1");
        let three = Population { rooms: 3, members: 2, ..Population::default() };
        assert!(existing(&three, Target::Switchboard, &logins).is_none());
    }
}
