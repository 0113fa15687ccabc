-- Sessions, rings, calls, attachments.
create table session (
    id uuid not null primary key,
    organization_id bigint not null,
    stream_id bigint not null,
    conversation_id bigint,
    kind text collate "C" not null,                -- direct workbox
    people_key text collate "C",                   -- sorted member ids: same people, same session; null for a forced one
    pin text collate "C" not null,
    created_by bigint not null,
    created_at bigint not null,
    updated_at bigint not null
);
create unique index session_people on session (organization_id, people_key) where people_key is not null;
create index session_conversation on session (conversation_id) where conversation_id is not null;
create table session_member (
    session_id uuid not null,
    person_id bigint not null,
    organizer boolean not null,
    added_at bigint not null,
    removed_at bigint,
    primary key (session_id, person_id)
);
create index session_member_person on session_member (person_id, session_id);
-- What makes a message of a session sent once; its content stands in the event.
create table session_message (
    session_id uuid not null,
    author_id bigint not null,
    uuid uuid not null,
    id bigint not null,
    body_hash bytea not null,
    stream_offset bigint not null,     -- of its message.created event
    created_at bigint not null,
    primary key (session_id, author_id, uuid)
);
create table ring (
    id uuid not null primary key,
    session_id uuid not null,
    organization_id bigint not null,
    call_id text collate "C",                      -- the call it led to, or that it invites into
    from_id bigint not null,
    to_id bigint not null,
    to_login_id bigint not null,
    state text collate "C" not null,               -- ringing accepted declined cancelled timed_out busy unreachable
    reason bigint,
    message text collate "C",
    video boolean not null,
    leased boolean not null,           -- ends when the caller's connection is lost
    created_at bigint not null,
    expires_at bigint not null,
    ended_at bigint
);
create index ring_open on ring (session_id) where state = 'ringing';
create index ring_open_login on ring (to_login_id) where state = 'ringing';
create index ring_session on ring (session_id, created_at);
create index ring_call on ring (call_id) where call_id is not null;
create index ring_to on ring (to_id, created_at);
create index ring_from on ring (from_id, created_at);
create table call (
    id text collate "C" not null primary key,      -- call_<uuid>
    session_id uuid not null,
    organization_id bigint not null,
    conversation_id bigint,
    dialer_id bigint not null,
    receiver_id bigint,
    owner_id bigint not null,
    started_at bigint,                 -- null while one person waits for a second
    ended_at bigint,
    end_reason text collate "C",
    recording_status text collate "C",
    recording_id uuid,                 -- of the recording that runs
    alt1_id text collate "C",
    alt2_id text collate "C",
    alt3_id text collate "C",
    extra_info text collate "C",
    updated_at bigint not null
);
create index call_open on call (session_id) where ended_at is null;
create index call_session on call (session_id, started_at);
create index call_organization on call (organization_id, started_at, id);
create index call_conversation on call (conversation_id, started_at) where conversation_id is not null;
-- One row per stretch: who comes back has several.
create table call_participant (
    call_id text collate "C" not null,
    person_id bigint not null,
    login_id bigint not null,
    joined_at bigint not null,
    left_at bigint,
    leave_reason text collate "C",                 -- left lost removed ended
    primary key (call_id, person_id, joined_at)
);
-- A person is in one call at a time, whatever face they wear: the commit refuses a second.
create unique index call_participant_present on call_participant (login_id) where left_at is null;
create index call_participant_person on call_participant (person_id, joined_at);
create table call_tag (
    call_id text collate "C" not null,
    tag text collate "C" not null,
    created_at bigint not null,
    primary key (call_id, tag)
);
create table call_comment (
    id bigint not null primary key,
    call_id text collate "C" not null,
    organization_id bigint not null,
    author_id bigint not null,
    comment text collate "C" not null,
    created_at bigint not null,
    updated_at bigint not null
);
create index call_comment_call on call_comment (call_id, id);
create table call_rating (
    call_id text collate "C" not null,
    person_id bigint not null,
    rating bigint not null,
    created_at bigint not null,
    primary key (call_id, person_id)
);
create table attachment (
    id bigint not null primary key,
    uuid uuid not null,
    organization_id bigint not null,
    call_id text collate "C",
    session_id uuid,
    conversation_id bigint,
    message_id bigint,                 -- the message of the thread that shows it: both are deleted together
    internal boolean not null,
    creator_id bigint not null,
    type text collate "C" not null,                -- incall postcall recording thread
    name text collate "C" not null,
    mime_type text collate "C" not null,
    size bigint not null,
    sha256 bytea not null,
    path text collate "C" not null,                -- key in the file store; '' once its file is gone
    thumbnail_path text collate "C",
    status text collate "C" not null,              -- ready deleted
    occurred_at bigint not null,
    created_at bigint not null,
    deleted_at bigint
);
create unique index attachment_uuid on attachment (uuid);
create index attachment_call on attachment (call_id, id) where call_id is not null;
create index attachment_conversation on attachment (conversation_id, id) where conversation_id is not null;
create index attachment_message on attachment (conversation_id, message_id) where message_id is not null;
create index attachment_unremoved on attachment (id) where deleted_at is not null and path <> '';
-- Where the events that tell of an attachment stand, so that its name can be taken out of them.
create table attachment_event (
    attachment_id bigint not null,
    stream_id bigint not null,
    stream_offset bigint not null,
    primary key (attachment_id, stream_id, stream_offset)
);
-- Files that are being written and nothing refers to yet; what a crash leaves behind is swept.
create table upload (
    path text collate "C" not null primary key,
    started_at bigint not null
);
create index upload_age on upload (started_at);
