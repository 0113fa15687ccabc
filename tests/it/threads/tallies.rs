//! Tallies of messages are what a recount gives, wherever blocks end and whatever was refused.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::try_join_all;
use switchboard::{
    base::random::Random,
    domain::{
        codes::Code,
        ids::{ConversationId, MessageId, PersonId},
        once::Once,
    },
    service::messages::Draft,
    store::{Db, inboxes, messages, sql},
};
use uuid::Uuid;

use super::world::{ADA, ANN, BEN, BLOCK, CARL, World, code, draft};
use crate::harness::db::on_both;

const ANYBODY: PersonId = PersonId(0);

/// Compares the tallies of a thread with its messages; gives the number of its blocks.
pub async fn recount(db: &Db, thread: ConversationId) -> usize {
    let text = "select id, author_id, internal from message where conversation_id = $1 order by id";
    let messages: Vec<(MessageId, PersonId, bool)> = sql(text).bind(thread).all(db).await.unwrap();
    let text = "select author_id, message_id, public, internal from message_tally where conversation_id = $1";
    let tallies: Vec<(PersonId, MessageId, i64, i64)> = sql(text).bind(thread).all(db).await.unwrap();
    let tallies: BTreeSet<_> = tallies.into_iter().collect();
    let ends: BTreeSet<MessageId> = tallies.iter().map(|(_, message, ..)| *message).collect();

    let mut written: BTreeMap<PersonId, [i64; 2]> = BTreeMap::new();
    let (mut want, mut authors) = (BTreeSet::new(), BTreeSet::from([ANYBODY]));
    for (message, author, internal) in messages {
        for author in [author, ANYBODY] {
            written.entry(author).or_default()[usize::from(internal)] += 1;
        }
        authors.insert(author);
        if ends.contains(&message) {
            let block = std::mem::replace(&mut authors, BTreeSet::from([ANYBODY]));
            want.extend(
                block.iter().map(|author| (*author, message, written[author][0], written[author][1])),
            );
        }
    }
    assert_eq!(tallies, want, "tallies and a recount");
    ends.len()
}

/// So many messages in one go, by Ann and Ben.
async fn send_many(world: &World, thread: ConversationId, count: usize) {
    let (ann, ben, none) = (world.user(ANN).await, world.user(BEN).await, Once::none());
    let author = |n: usize| if n.is_multiple_of(3) { &ann } else { &ben };
    let sends = (0..count).map(|n| world.messages.send(author(n), thread, draft("one of many"), &none));
    let sends: Vec<_> = sends.collect();
    try_join_all(sends).await.unwrap();
}

on_both! {
    async fn each_full_block_is_tallied_with_its_last_message(db: TestDb) {
        let mut world = World::new(&db).await;
        let thread = world.thread(&[BEN, CARL]).await;
        let guest = world.guest(thread, "Gus").await;
        let people = [world.user(ANN).await, world.user(BEN).await, world.user(CARL).await];
        let said = || Draft { uuid: Some(Uuid::from_u128(7)), ..draft("said before") };
        let random = Random::seeded(5);
        let first = world.messages.send(&people[0], thread, said(), &Once::none()).await.unwrap();
        for sent in 2..=6 * BLOCK {
            let person = &people[usize::try_from(random.below(3)).unwrap()];
            match random.below(4) {
                0 => world.whisper(person, thread, "inside").await,
                1 => world.send(&guest, thread, "from outside").await,
                _ => world.send(person, thread, "hello").await,
            };
            assert_eq!(recount(&db, thread).await, sent / BLOCK);
            // What is refused neither counts nor takes a tally along, also where it would have filled the block.
            let again = world.messages.send(&people[0], thread, said(), &Once::none()).await.unwrap();
            assert_eq!(again.id, first.id);
            assert_eq!(recount(&db, thread).await, sent / BLOCK);
            // An actor that begins in the midst of a block knows how full that is.
            if sent % 7 == 0 {
                world = World::start(&db).await;
            }
        }
    }

    async fn blocks_end_within_a_commit_too(db: TestDb) {
        let world = World::new(&db).await;
        let thread = world.thread(&[BEN]).await;
        let ann = world.user(ANN).await;
        let mut total = 0;
        for count in [1, BLOCK, 3 * BLOCK + 2, 47, 2] {
            send_many(&world, thread, count).await;
            total += count;
            assert_eq!(recount(&db, thread).await, total / BLOCK);
        }
        let by_ben = [1, BLOCK, 3 * BLOCK + 2, 47, 2].map(|count| count - count.div_ceil(3));
        let unread = world.view(&ann, thread).await.unread_messages_count;
        assert_eq!(unread, i64::try_from(by_ben.iter().sum::<usize>()).unwrap());
    }

    async fn unread_messages_are_counted_from_every_watermark(db: TestDb) {
        let world = World::new(&db).await;
        let thread = world.thread(&[BEN, CARL, ADA]).await;
        let guest = world.guest(thread, "Gus").await;
        let people = [guest.clone(), world.user(ANN).await, world.user(BEN).await, world.user(CARL).await];
        let random = Random::seeded(11);
        // (number, author, internal, deleted)
        let mut sent = Vec::new();
        for n in 1..=7 * BLOCK + 3 {
            let author = usize::try_from(random.below(4)).unwrap();
            let internal = author > 0 && random.below(3) == 0;
            let caller = &people[author];
            let message = if internal {
                world.whisper(caller, thread, "inside").await
            } else {
                world.send(caller, thread, "hello").await
            };
            // The end of a block among them.
            let deleted = random.below(4) == 0 || n == 7 * BLOCK;
            if deleted {
                world.messages.delete(caller, thread, message.id).await.unwrap();
            }
            sent.push((message.id, author, internal, deleted));
        }
        assert_eq!(recount(&db, thread).await, 7);

        let middle = sent[3 * BLOCK].0;
        let watermarks = [MessageId(0)].into_iter().chain(sent.iter().map(|message| message.0));
        for read in watermarks {
            let text = "update participant set read_id = $2 where conversation_id = $1";
            sql(text).bind(thread).bind(read).execute(&db.db).await.unwrap();
            // One stands elsewhere, and has written nothing: no tallies are Ada's own.
            let text = "update participant set read_id = $3 where conversation_id = $1 and person_id = $2";
            sql(text).bind(thread).bind(ADA).bind(middle).execute(&db.db).await.unwrap();
            let count_from = |read: MessageId, reader: usize, guest: bool| {
                let counts = |(id, author, internal, deleted): &&(MessageId, usize, bool, bool)| {
                    *id > read && *author != reader && !deleted && !(guest && *internal)
                };
                i64::try_from(sent.iter().filter(counts).count()).unwrap()
            };
            let count = |reader, guest| count_from(read, reader, guest);
            let mut places = people.each_ref().map(|caller| (thread, caller.person.unwrap())).to_vec();
            places.push((thread, ADA));
            let told = inboxes::unread(&db, &places).await.unwrap();
            assert_eq!(told.len(), places.len());
            let of_ada = told.iter().find(|row| row.person == ADA).unwrap();
            assert_eq!(of_ada.unread, count_from(middle, people.len(), false));
            for (reader, caller) in people.iter().enumerate() {
                let own = told.iter().find(|row| Some(row.person) == caller.person).unwrap();
                assert_eq!(own.unread, count(reader, reader == 0), "{reader} is told beyond {read}");
                let view = world.view(caller, thread).await;
                assert_eq!(view.unread_messages_count, count(reader, reader == 0), "{reader} beyond {read}");
                let info = world.workboxes.info(caller).await.unwrap();
                assert_eq!(info.unread_count_total, count(reader, reader == 0));
                if reader > 0 {
                    assert_eq!(view.guests[0].unread_count, Some(count(0, true)));
                }
                for with_internal in [true, false] {
                    let person = caller.person.unwrap();
                    let unread = messages::unread(&db, thread, person, read, with_internal).await.unwrap();
                    assert_eq!(unread, count(reader, !with_internal));
                }
            }
            // Whoever has written nothing has no tallies of their own.
            let unread = messages::unread(&db, thread, ADA, read, true).await.unwrap();
            assert_eq!(unread, count(people.len(), false));
        }
    }

    async fn a_message_and_its_tally_stand_or_fall_together(db: TestDb) {
        let world = World::new(&db).await;
        let thread = world.thread(&[BEN]).await;
        send_many(&world, thread, BLOCK - 1).await;
        // A tally has two rows at least: this refuses it.
        sql("create unique index one_row on message_tally (conversation_id)").execute(&db.db).await.unwrap();
        let ann = world.user(ANN).await;
        let refused = world.messages.send(&ann, thread, draft("the last of its block"), &Once::none()).await;
        assert_eq!(code(refused), Code::Unavailable);
        assert_eq!(world.messages.recent(&ann, thread, 9).await.unwrap().len(), BLOCK - 1);
        assert_eq!(recount(&db, thread).await, 0);
        sql("drop index one_row").execute(&db.db).await.unwrap();
        world.send(&ann, thread, "the last of its block").await;
        assert_eq!(recount(&db, thread).await, 1);
    }

    async fn a_thread_from_before_is_tallied_as_it_goes_on(db: TestDb) {
        let world = World::new(&db).await;
        let thread = world.thread(&[BEN]).await;
        send_many(&world, thread, 20 * BLOCK + 1).await;
        let ben = world.user(BEN).await;
        let unread = world.view(&ben, thread).await.unread_messages_count;
        sql("delete from message_tally where conversation_id = $1").bind(thread).execute(&db.db).await.unwrap();

        let world = World::start(&db).await;
        let count = async || world.view(&ben, thread).await.unread_messages_count;
        assert_eq!(count().await, unread, "without tallies");
        let ann = world.user(ANN).await;
        // What is tallied at once is bounded: 16 blocks, then the rest.
        for (sent, tallies) in [(1, 1), (BLOCK - 1, 1), (1, 2), (BLOCK, 3)] {
            for _ in 0..sent {
                world.send(&ann, thread, "it goes on").await;
            }
            assert_eq!(recount(&db, thread).await, tallies);
        }
        assert_eq!(count().await, unread + i64::try_from(2 * BLOCK + 1).unwrap());
    }
}
