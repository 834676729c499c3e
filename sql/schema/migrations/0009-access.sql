-- Tokens of the API. No role reads the hash of a token or of an API key: the functions run with their owner's rights.
-- Locks no table of Kamailio's.

create table auth_token (
    id bigint generated always as identity primary key,
    token_hash bytea not null,
    account_id identifier not null references account (id) on delete cascade,
    note text not null default '',
    created_at timestamptz not null default now(),
    last_used_at timestamptz not null default now(),
    idle_lifetime interval,
    restrictions jsonb,
    constraint auth_token_token_hash_key unique (token_hash),
    constraint auth_token_token_hash_check check (length(token_hash) = 32),
    constraint auth_token_idle_lifetime_check check (idle_lifetime > interval '0'),
    constraint auth_token_restrictions_check check (jsonb_typeof(restrictions) = 'object')
);

create index auth_token_account_id_idx on auth_token (account_id);

comment on table auth_token is 'tokens of the API; each opens an account and those below it';
comment on column auth_token.id is 'number, for commands';
comment on column auth_token.token_hash is 'SHA-256 of the token; the token itself is not kept';
comment on column auth_token.account_id is 'account that it opens';
comment on column auth_token.note is 'what it is for';
comment on column auth_token.created_at is 'when it was made';
comment on column auth_token.last_used_at is 'when it was used last, noted once a minute at the most';
comment on column auth_token.idle_lifetime is 'the token dies when unused for so long; null: never';
comment on column auth_token.restrictions is 'methods, and the patterns of paths that each may be used on; null: all';

-- Its statements are planned once a session (plpgsql). Where the server takes no writes (a standby, or
-- default_transaction_read_only), a token opens what it opens, and its use is not noted. Nobody waits for the note: not for a
-- disk or a synchronous standby, since a note may be lost; and not for another request with the same token, whose transaction
-- may be long (a count).
create function token_access(given_hash bytea, wanted_account text)
    returns table (
        token_hash bytea, account_id text, superduper_admin boolean, wanted_exists boolean, wanted_in_tree boolean,
        restrictions jsonb
    )
    language plpgsql volatile security definer set search_path from current
as $$
#variable_conflict use_column
begin
    if not current_setting('transaction_read_only')::boolean then
        update auth_token t set last_used_at = now()
        where t.id = (
            select u.id
            from auth_token u
            where u.token_hash = given_hash
                and u.last_used_at < now() - least(interval '1 minute', u.idle_lifetime / 10)
                and (u.idle_lifetime is null or u.last_used_at + u.idle_lifetime > now())
            for no key update skip locked
        );
        if found then
            perform set_config('synchronous_commit', 'off', true);
        end if;
    end if;
    return query
    select
        t.token_hash, t.account_id::text, a.superduper_admin,
        exists (select from account w where w.id = wanted_account),
        exists (
            with recursive above (id, parent_id) as (
                select w.id::text, w.parent_id::text from account w where w.id = wanted_account
                union
                select p.id::text, p.parent_id::text from account p join above on p.id = above.parent_id
            )
            select from above where above.id = t.account_id
        ),
        t.restrictions
    from auth_token t
    join account a on a.id = t.account_id
    where t.token_hash = given_hash
        and a.enabled
        and (t.idle_lifetime is null or t.last_used_at + t.idle_lifetime > now());
end $$;

-- Two functions with texts as bodies, which depend on no table: `uninstall` drops tables first.
create function token_from_api_key(
    given_key_hash bytea, new_token_hash bytea, new_idle_lifetime interval, new_restrictions jsonb
)
    returns table (account_id text)
    language sql volatile security definer set search_path from current
as $$
    insert into auth_token (token_hash, account_id, note, idle_lifetime, restrictions)
    select new_token_hash, a.id, 'api_auth', new_idle_lifetime, new_restrictions
    from account a
    where a.api_key_hash = given_key_hash and a.enabled
    returning auth_token.account_id::text
$$;

create function token_revoke(given_hash bytea) returns void
    language sql volatile security definer set search_path from current
as $$
    delete from auth_token t where t.token_hash = given_hash
$$;

revoke execute on function token_access(bytea, text) from public;
revoke execute on function token_from_api_key(bytea, bytea, interval, jsonb) from public;
revoke execute on function token_revoke(bytea) from public;

comment on function token_access(bytea, text) is 'what a token opens: its account, and whether the wanted account is in its tree; no row: no such token, or it is dead';
comment on function token_from_api_key(bytea, bytea, interval, jsonb) is 'makes a token for the account with this API key; no row: there is none, or it is disabled';
comment on function token_revoke(bytea) is 'removes a token';
