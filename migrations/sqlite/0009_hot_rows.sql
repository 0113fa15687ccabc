-- What every message changes is found by its number at once: an `integer primary key` is the table's own order, a `bigint` one has an
-- index beside the table that is searched first.
create table stream_by_number (
    id integer primary key,
    organization_id bigint not null,
    kind text not null,
    name text not null,
    epoch text not null,
    head bigint not null,
    first_offset bigint not null,
    owner_epoch bigint not null
);
insert into stream_by_number
    select id, organization_id, kind, name, epoch, head, first_offset, owner_epoch from stream order by id;
drop table stream;
alter table stream_by_number rename to stream;
create unique index stream_name on stream (name);
create index stream_kind on stream (kind, id);
create table conversation_by_number (
    id integer primary key,
    uuid uuid not null,
    organization_id bigint not null,
    kind text not null,
    stream_id bigint not null,
    internal_stream_id bigint not null,
    title text not null,
    description text not null,
    status text not null,
    created_by bigint not null,
    assigned_to bigint,
    auto_created boolean not null,
    call_id text,
    reported_at bigint not null,
    assigned_at bigint,
    closed_at bigint,
    last_message_id bigint not null,
    last_active_at bigint not null,
    internal_message_id bigint not null,
    internal_active_at bigint not null,
    version bigint not null,
    created_at bigint not null,
    updated_at bigint not null
);
insert into conversation_by_number
    select id, uuid, organization_id, kind, stream_id, internal_stream_id, title, description, status, created_by, assigned_to,
        auto_created, call_id, reported_at, assigned_at, closed_at, last_message_id, last_active_at, internal_message_id,
        internal_active_at, version, created_at, updated_at
    from conversation order by id;
drop table conversation;
alter table conversation_by_number rename to conversation;
create unique index conversation_uuid on conversation (uuid);
create index conversation_organization on conversation (organization_id, internal_active_at, id);
create index conversation_call on conversation (call_id) where call_id is not null;
