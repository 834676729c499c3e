-- Tokens that open less than their account, that clients make with an API key and give back, and that are cleaned
-- up when they are dead. As in 0005, the API sees no hash but the one it asks about.

alter table auth_token
    add column restrictions jsonb,
    add constraint auth_token_restrictions_check check (jsonb_typeof(restrictions) = 'object');

comment on column auth_token.restrictions is 'methods, and the patterns of paths that each may be used on; null: all';

drop function token_access(bytea, text);

create function token_access(given_hash bytea, wanted_account text)
    returns table (
        token_hash bytea, account_id text, superduper_admin boolean,
        wanted_exists boolean, wanted_in_tree boolean, restrictions jsonb
    )
    language sql volatile security definer set search_path from current
    begin atomic
        update auth_token t set last_used_at = now()
        where t.token_hash = given_hash
            and t.last_used_at < now() - least(interval '1 minute', t.idle_lifetime / 10)
            and (t.idle_lifetime is null or t.last_used_at + t.idle_lifetime > now());
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
    end;

-- A token for the account whose API key has this hash; no row when there is none, or the account is disabled.
create function token_from_api_key(
    given_key_hash bytea, new_token_hash bytea, new_idle_lifetime interval, new_restrictions jsonb
)
    returns table (account_id text)
    language sql volatile security definer set search_path from current
    begin atomic
        insert into auth_token (token_hash, account_id, note, idle_lifetime, restrictions)
        select new_token_hash, a.id, 'api_auth', new_idle_lifetime, new_restrictions
        from account a
        where a.api_key_hash = given_key_hash and a.enabled
        returning auth_token.account_id::text;
    end;

create function token_revoke(given_hash bytea) returns void
    language sql volatile security definer set search_path from current
    begin atomic
        delete from auth_token t where t.token_hash = given_hash;
    end;

revoke execute on function token_access(bytea, text) from public;
revoke execute on function token_from_api_key(bytea, bytea, interval, jsonb) from public;
revoke execute on function token_revoke(bytea) from public;

grant execute on function token_access(bytea, text) to registrations_api;
grant execute on function token_from_api_key(bytea, bytea, interval, jsonb) to registrations_api;
grant execute on function token_revoke(bytea) to registrations_api;

grant select (id, last_used_at, idle_lifetime), delete on auth_token to registrations_sync;
