-- Messages are written to the end of their table; only small index entries are scattered over the conversations. A commit of 250
-- messages of as many conversations changed 470 pages of the table before, and changes some 230 now.
create table message_in_order (
    conversation_id bigint not null,
    id bigint not null,
    uuid uuid not null,
    author_id bigint not null,
    author_name text not null,
    type text not null,
    version bigint not null,
    metadata text not null,            -- JSON; '{}' once deleted
    body_hash blob not null,           -- of what the client sent: tells a retry from another message
    internal boolean not null,
    sent_at bigint not null,
    created_at bigint not null,
    edited_at bigint,
    deleted_at bigint,
    changed_at bigint,                 -- last edit or deletion
    stream_offset bigint not null,     -- of its message.created event
    primary key (conversation_id, id)
);
insert into message_in_order
    select conversation_id, id, uuid, author_id, author_name, type, version, metadata, body_hash, internal, sent_at,
        created_at, edited_at, deleted_at, changed_at, stream_offset
    from message order by id;
drop table message;
alter table message_in_order rename to message;
create unique index message_uuid on message (conversation_id, author_id, uuid);
create index message_sent on message (conversation_id, sent_at, id);
create index message_changed on message (conversation_id, changed_at, id) where changed_at is not null;
