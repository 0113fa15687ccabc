-- Help threads (workboxes), later group chats: participants, messages, receipts, guests, custom fields.
create table conversation (
    id bigint not null primary key,
    uuid uuid not null,
    organization_id bigint not null,
    kind text collate "C" not null,                -- workbox chat
    stream_id bigint not null,
    internal_stream_id bigint not null,
    title text collate "C" not null,
    description text collate "C" not null,
    status text collate "C" not null,              -- REPORTED ASSIGNED CLOSED
    created_by bigint not null,
    assigned_to bigint,
    auto_created boolean not null,
    call_id text collate "C",                      -- the call it was made for
    reported_at bigint not null,
    assigned_at bigint,
    closed_at bigint,
    last_message_id bigint not null,   -- newest that guests may see; 0 = none
    last_active_at bigint not null,    -- of what guests may see
    internal_message_id bigint not null,
    internal_active_at bigint not null, -- of everything: what members see and lists are ordered by
    version bigint not null,           -- grows with each change of the row's own fields
    created_at bigint not null,
    updated_at bigint not null
);
create unique index conversation_uuid on conversation (uuid);
create index conversation_organization on conversation (organization_id, internal_active_at, id);
create index conversation_call on conversation (call_id) where call_id is not null;
create table participant (
    id bigint not null primary key,
    conversation_id bigint not null,
    person_id bigint not null,
    guest boolean not null,
    creator boolean not null,
    important boolean not null,
    has_participated boolean not null,
    accepted_at bigint,
    joined_at bigint not null,
    removed_at bigint,
    received_id bigint not null,       -- watermarks: they only grow
    read_id bigint not null,
    announced_received_id bigint not null,
    announced_read_id bigint not null
);
create unique index participant_person on participant (conversation_id, person_id);
create index participant_of on participant (person_id, conversation_id) where removed_at is null;
create index participant_unannounced on participant (conversation_id)
    where received_id > announced_received_id or read_id > announced_read_id;
create table message (
    conversation_id bigint not null,
    id bigint not null,
    uuid uuid not null,
    author_id bigint not null,
    author_name text collate "C" not null,
    type text collate "C" not null,
    version bigint not null,
    metadata text collate "C" not null,            -- JSON; '{}' once deleted
    body_hash bytea not null,           -- of what the client sent: tells a retry from another message
    internal boolean not null,
    sent_at bigint not null,
    created_at bigint not null,
    edited_at bigint,
    deleted_at bigint,
    changed_at bigint,                 -- last edit or deletion
    stream_offset bigint not null,     -- of its message.created event
    primary key (conversation_id, id)
);
create unique index message_uuid on message (conversation_id, author_id, uuid);
create index message_sent on message (conversation_id, sent_at, id);
create index message_changed on message (conversation_id, changed_at, id) where changed_at is not null;
create table message_revision (
    conversation_id bigint not null,
    message_id bigint not null,
    revision bigint not null,
    metadata text collate "C" not null,            -- what it said before
    edited_at bigint not null,
    edited_by bigint not null,
    primary key (conversation_id, message_id, revision)
);
create table guest_link (
    id bigint not null primary key,
    uuid uuid not null,
    conversation_id bigint not null,
    organization_id bigint not null,
    person_id bigint not null,         -- the guest
    hash bytea not null,                -- of the link's 128 random bits
    sealed bytea not null,              -- the link itself, to send again
    email text collate "C",
    phone text collate "C",
    action text collate "C" not null,              -- '' join_session start_procedure=<id>
    invited_by bigint not null,
    created_at bigint not null,
    sent_at bigint,
    joined_at bigint,
    expires_at bigint not null,
    revoked_at bigint
);
create unique index guest_link_uuid on guest_link (uuid);
create unique index guest_link_hash on guest_link (hash);
create index guest_link_conversation on guest_link (conversation_id);
create index guest_link_person on guest_link (person_id);
create table custom_field (
    id bigint not null primary key,
    organization_id bigint not null,
    name text collate "C" not null,
    description text collate "C" not null,
    type text collate "C" not null,                -- TEXT BOOLEAN LIST
    mandatory text collate "C" not null,           -- OPTIONAL MANDATORY_ON_CREATION MANDATORY_ON_CLOSE
    hidden boolean not null,
    multi_select boolean not null,
    default_value text collate "C" not null,       -- JSON
    options text collate "C" not null,             -- JSON list of {id, name}
    position bigint not null,
    created_at bigint not null,
    updated_at bigint not null,
    removed_at bigint
);
create index custom_field_organization on custom_field (organization_id, position);
create table custom_field_value (
    conversation_id bigint not null,
    field_id bigint not null,
    value text collate "C" not null,               -- JSON
    primary key (conversation_id, field_id)
);
create table procedure_link (
    id bigint not null primary key,
    conversation_id bigint not null,
    procedure_id bigint not null,
    procedure_version bigint not null,
    owner_id bigint not null,
    state text collate "C" not null,
    task_uuid text collate "C",
    values_url text collate "C",
    offline boolean not null,
    action_time bigint,
    created_at bigint not null,
    updated_at bigint not null,
    removed_at bigint
);
create index procedure_link_conversation on procedure_link (conversation_id, id);
