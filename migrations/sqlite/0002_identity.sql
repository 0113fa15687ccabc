-- Organisations, people, groups, credentials.
create table organization (
    id bigint not null primary key,
    uuid uuid not null,
    parent_id bigint,
    name text not null,
    description text not null,
    active boolean not null,
    auto_accept boolean not null,
    contact_name text,
    contact_email text,
    contact_phone text,
    domains text not null,         -- JSON list of approved e-mail domains
    time_zone text not null,
    max_users bigint,
    recording_policy text not null default 'opt_in', -- opt_in opt_out always_on: of calls from the next one on
    settings text not null,        -- JSON object of what has no column
    stream_id bigint not null,
    created_at bigint not null,
    updated_at bigint not null
);
create unique index organization_uuid on organization (uuid);
create index organization_parent on organization (parent_id);
create table person (
    id bigint not null primary key,
    uuid uuid not null,
    organization_id bigint not null,
    login_id bigint not null,      -- the person whose log-in this face belongs to; own id for a login user
    kind text not null,            -- member, guest (by a thread's link), anonymous
    name text not null,
    name_key text not null,        -- lower case, for search and order
    email text,
    email_key text,                -- lower case; unique among the living
    username text,
    username_key text,
    title text,
    location text,
    phone text,                    -- E.164
    language text,
    license text not null,         -- expert team bot
    role text not null,            -- SiteAdmin EnterpriseAdmin GroupAdmin User
    password_hash text,
    status bigint not null,        -- 100..105 of the contract
    status_message text,
    unavailable_expires_at bigint,
    on_call boolean not null,
    active boolean not null,
    first_login boolean not null,
    confirmed_at bigint,
    confirmation_sent_at bigint,
    invitation_sent_at bigint,
    first_call_at bigint,
    last_used_at bigint,
    current_sign_in_at bigint,
    avatar_file text,
    token_version bigint not null, -- tokens of an older version are dead
    stream_id bigint not null,
    created_at bigint not null,
    updated_at bigint not null,
    removed_at bigint
);
create unique index person_uuid on person (uuid);
create unique index person_email on person (email_key) where email_key is not null and removed_at is null;
create unique index person_username on person (username_key) where username_key is not null and removed_at is null;
create index person_organization on person (organization_id, name_key, id);
create index person_organization_updated on person (organization_id, updated_at);
create index person_login on person (login_id);
create index person_anonymous on person (id) where kind = 'anonymous';
-- pods, personas, departments, locations, security groups
create table people_group (
    id bigint not null primary key,
    organization_id bigint not null,
    kind text not null,
    name text not null,
    name_key text not null,
    description text not null,
    is_default boolean not null,
    expert boolean not null,
    settings text not null,
    created_at bigint not null,
    updated_at bigint not null
);
create index people_group_organization on people_group (organization_id, kind, name_key);
create table group_member (
    group_id bigint not null,
    person_id bigint not null,
    admin boolean not null,
    member boolean not null,
    primary key (group_id, person_id)
);
create index group_member_person on group_member (person_id, group_id);
create table favorite (
    person_id bigint not null,
    contact_id bigint not null,
    created_at bigint not null,
    primary key (person_id, contact_id)
);
create index favorite_contact on favorite (contact_id);
create table device (
    id bigint not null primary key,
    person_id bigint not null,
    login_id bigint not null,
    device_id text not null,
    platform text not null,
    push_id text not null,
    created_at bigint not null,
    updated_at bigint not null
);
create unique index device_push on device (platform, push_id);
create index device_login on device (login_id);
create index device_person on device (person_id);
create table signing_key (
    id bigint not null primary key,
    sealed blob not null,          -- encrypted under auth.master_key
    created_at bigint not null,
    retired_at bigint
);
create table api_key (
    id bigint not null primary key,
    organization_id bigint not null,
    description text not null,
    hash blob not null,
    sealed blob not null,
    created_at bigint not null,
    removed_at bigint
);
create unique index api_key_hash on api_key (hash);
create index api_key_organization on api_key (organization_id, id);
create table partner_key (
    id bigint not null primary key,
    organization_id bigint not null,
    description text not null,
    public_key text not null,
    created_at bigint not null,
    updated_at bigint not null
);
create index partner_key_organization on partner_key (organization_id, id);
-- One sign-in (password, PAT, link, partner, acting): what is revoked together.
create table token_family (
    id uuid not null primary key,
    organization_id bigint not null,
    person_id bigint not null,
    origin text not null,          -- password pat link partner acting admin
    origin_id bigint,              -- the PAT, guest link or partner key it came from
    added_permissions bigint not null,
    removed_permissions bigint not null,
    created_at bigint not null,
    expires_at bigint not null,
    revoked_at bigint
);
create index token_family_person on token_family (person_id);
create index token_family_origin on token_family (origin, origin_id);
create index token_family_expiry on token_family (expires_at);
create table refresh_token (
    hash blob not null primary key,
    family_id uuid not null,
    created_at bigint not null,
    expires_at bigint not null,
    replaced_at bigint
);
create index refresh_token_family on refresh_token (family_id);
create index refresh_token_expiry on refresh_token (expires_at);
create table personal_access_token (
    id bigint not null primary key,
    person_id bigint not null,
    organization_id bigint not null,
    description text not null,
    hash blob not null,
    hint text not null,            -- its last four characters, to tell tokens apart
    created_at bigint not null,
    last_used_at bigint,
    removed_at bigint
);
create unique index personal_access_token_hash on personal_access_token (hash);
create index personal_access_token_person on personal_access_token (person_id, id);
create table audit_log (
    id bigint not null primary key,
    organization_id bigint not null,
    time bigint not null,
    actor_id bigint,
    acting_for_id bigint,
    action text not null,
    subject text not null,
    detail text not null
);
create index audit_log_organization on audit_log (organization_id, time);
create table notice (
    id bigint not null primary key,
    organization_id bigint not null,
    kind text not null,            -- guest_link user_invitation welcome
    channel text not null,         -- email sms
    recipient text not null,
    subject text not null,
    body_text text not null,
    body_html text not null,
    sealed_link blob,              -- the link of the notice, encrypted; put in when it is sent or shown to an operator
    state text not null,           -- pending sent failed
    attempts bigint not null,
    next_attempt_at bigint not null,
    last_error text,
    created_at bigint not null,
    sent_at bigint
);
create index notice_pending on notice (channel, next_attempt_at) where state = 'pending';
create index notice_organization on notice (organization_id, id);
-- By which people choose the password of an account that was made for them, once.
create table invitation (
    hash blob not null primary key,   -- of the 128 random bits in the notice
    person_id bigint not null,
    organization_id bigint not null,
    created_at bigint not null,
    expires_at bigint not null
);
create index invitation_expiry on invitation (expires_at);
