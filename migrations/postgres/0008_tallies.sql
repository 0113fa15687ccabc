-- How many messages were written up to the end of each block of a conversation, so that those beyond a watermark need not be
-- counted one by one. Nothing is tallied here: a conversation without tallies counts all messages, as before. Those that exist get
-- theirs when the next messages are written, in large blocks.
create table message_tally (
    conversation_id bigint not null,
    author_id bigint not null,         -- 0 = anybody
    message_id bigint not null,        -- up to this one; in a block without a row the author has none
    public bigint not null,            -- so many that everybody sees, deleted ones included
    internal bigint not null,          -- so many that guests do not see
    primary key (conversation_id, author_id, message_id)
);
create index message_deleted on message (conversation_id, id) where deleted_at is not null;
