-- Streams, the event log (which is the outbox), idempotency, identifiers.
create table meta (
    name text not null primary key,
    value text not null
);
-- Identifiers are handed out in memory from blocks that are reserved here first, so that none is used twice.
create table sequence (
    name text not null primary key,
    next bigint not null
);
create table stream (
    id bigint not null primary key,
    organization_id bigint not null,
    kind text not null,            -- user org workbox internal session (chat queue event later)
    name text not null,            -- the channel on the socket: workbox:42
    epoch text not null,
    head bigint not null,          -- last offset; 0 = none
    first_offset bigint not null,  -- oldest offset that retention has kept (head + 1 when all is gone)
    owner_epoch bigint not null    -- fencing: an append of an owned stream names the epoch it believes in
);
create unique index stream_name on stream (name);
create index stream_kind on stream (kind, id);
create table event (
    -- Order of the log: what the relay walks. Numbers are never used again, even after the newest rows are forgotten.
    seq integer primary key autoincrement,
    stream_id bigint not null,
    stream_offset bigint not null,
    id uuid not null,
    type text not null,
    time bigint not null,
    data text not null             -- the publication's whole `data` object as sent
);
create unique index event_offset on event (stream_id, stream_offset);
create table relay_position (
    name text not null primary key,
    seq bigint not null
);
create table idempotency (
    organization_id bigint not null,
    caller text not null,
    operation text not null,
    idempotency_key text not null,
    request_hash blob not null,
    outcome text not null,         -- what the reply is rendered from; never a token, never content
    created_at bigint not null,
    primary key (organization_id, caller, operation, idempotency_key)
);
create index idempotency_age on idempotency (created_at);
