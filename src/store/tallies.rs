//! How many messages of others lie beyond a watermark, without counting each.
//!
//! A *tally* stands at the last message of each block of a conversation. It says how many messages were written up to
//! there, by anybody (author 0) and by each author of that block; for the others their newest row before it still
//! holds. Deleted ones are in it: they are few, and have an index of their own. So what is unread is the difference of
//! two tallies, corrected at both ends by what stands in the table.
//!
//! Tallies are taken in the commit of the message that fills a block and never change. A conversation without any counts
//! all its messages; one from before there were tallies gets larger blocks, as it goes on.
//!
//! The newest tally is always asked for by order and limit: for `max` PostgreSQL may look at every one.

use super::{Stmt, sql, statements};
use crate::domain::ids::{ConversationId, MessageId, PersonId};

/// The text of the number of messages beyond `$read` that others than `$person` wrote, that are not deleted, and that a
/// `$guest` may see. Where no tally lies beyond the watermark (the common case) that is one look for a tally, and a count.
macro_rules! unread {
    ($conversation:literal, $person:literal, $read:literal, $guest:literal) => {
        concat!(
            // Beyond the newest tally.
            "(select (select count(*) from message m where m.conversation_id = w.conversation_id \
             and m.id > case when w.tallied_id > w.read_id then w.tallied_id else w.read_id end \
             and m.author_id <> w.person_id and m.deleted_at is null and (not w.guest or not m.internal)) \
             + case when w.tallied_id > w.read_id then ",
            // From the tally at or below the watermark to the newest,
            $crate::store::tallies::tallied!("0", "w.tallied_id"),
            " - ",
            $crate::store::tallies::tallied!("w.person_id", "w.tallied_id"),
            " - ",
            $crate::store::tallies::tallied!("0", "w.read_id"),
            " + ",
            $crate::store::tallies::tallied!("w.person_id", "w.read_id"),
            // but for those that are read
            " - (select count(*) from message m where m.conversation_id = w.conversation_id and m.id <= w.read_id \
             and m.id > coalesce((select t.message_id from message_tally t \
             where t.conversation_id = w.conversation_id and t.author_id = 0 and t.message_id <= w.read_id \
             order by t.message_id desc limit 1), 0) \
             and m.author_id <> w.person_id and (not w.guest or not m.internal))",
            // or deleted.
            " - (select count(*) from message m where m.conversation_id = w.conversation_id and m.id > w.read_id \
             and m.id <= w.tallied_id and m.deleted_at is not null \
             and m.author_id <> w.person_id and (not w.guest or not m.internal)) else 0 end \
             from (select cast(",
            $conversation,
            " as bigint) as conversation_id, cast(",
            $person,
            " as bigint) as person_id, cast(",
            $read,
            " as bigint) as read_id, cast(",
            $guest,
            " as boolean) as guest, coalesce((select t.message_id from message_tally t where t.conversation_id = ",
            $conversation,
            // Without the outer limit, PostgreSQL asks for the newest tally wherever it is named.
            " and t.author_id = 0 order by t.message_id desc limit 1), 0) as tallied_id limit 1) w)"
        )
    };
}
pub(super) use unread;

/// Messages that `$author` (0 = anybody) had written at the newest tally up to `$message`, as `w.guest` sees them.
macro_rules! tallied {
    ($author:literal, $message:literal) => {
        concat!(
            "coalesce((select t.public + case when w.guest then 0 else t.internal end from message_tally t \
             where t.conversation_id = w.conversation_id and t.author_id = ",
            $author,
            " and t.message_id <= ",
            $message,
            " order by t.message_id desc limit 1), 0)"
        )
    };
}
pub(super) use tallied;

/// The author of what anybody wrote.
pub(super) const ANYBODY: PersonId = PersonId(0);

statements! {
    /// A tally of what was written after the newest one: of messages up to `$2`, and of `$3` of them at most.
    TAKE = "insert into message_tally (conversation_id, author_id, message_id, public, internal) \
        with counted as (select author_id, max(id) as last_id, count(case when not internal then 1 end) as public, \
        count(case when internal then 1 end) as internal from (select m.id, m.author_id, m.internal from message m \
        where m.conversation_id = $1 and m.id <= $2 and m.id > coalesce((select t.message_id from message_tally t \
        where t.conversation_id = $1 and t.author_id = 0 order by t.message_id desc limit 1), 0) \
        order by m.id limit $3) later \
        group by author_id), \
        block as (select max(last_id) as message_id, cast(sum(public) as bigint) as public, \
        cast(sum(internal) as bigint) as internal from counted having count(*) > 0), \
        written as (select c.author_id, b.message_id, c.public, c.internal from block b cross join counted c \
        union all select 0, message_id, public, internal from block) \
        select cast($1 as bigint), w.author_id, w.message_id, w.public + coalesce((select t.public from message_tally t \
        where t.conversation_id = $1 and t.author_id = w.author_id order by t.message_id desc limit 1), 0), \
        w.internal + coalesce((select t.internal from message_tally t \
        where t.conversation_id = $1 and t.author_id = w.author_id order by t.message_id desc limit 1), 0) \
        from written w";
}

/// So many blocks go into one tally at most, so that a commit waits for no more than that where a long conversation has
/// no tallies yet.
const BLOCKS_AT_ONCE: i64 = 16;

/// Takes a tally with `message`, which fills a block of so many. It is computed from the messages that are there, when
/// all of the commit are in place; none comes below it later, since the numbers of messages grow.
pub fn take(conversation: ConversationId, message: MessageId, block: i64) -> Stmt {
    sql(TAKE).bind(conversation).bind(message).bind(block * BLOCKS_AT_ONCE)
}
