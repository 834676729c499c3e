-- A count comes in the statement that checks its token, and takes as long as it takes: until it is over, the token's row is
-- locked if its use was noted. Who asks with the same token meanwhile does not wait for that and leaves the note to the first.
create or replace function token_access(given_hash bytea, wanted_account text)
    returns table (
        token_hash bytea, account_id text, superduper_admin boolean, wanted_exists boolean, wanted_in_tree boolean,
        restrictions jsonb
    )
    language plpgsql volatile security definer set search_path from current
as $$
#variable_conflict use_column
begin
    update auth_token t set last_used_at = now()
    where t.id = (
        select u.id
        from auth_token u
        where u.token_hash = given_hash
            and u.last_used_at < now() - least(interval '1 minute', u.idle_lifetime / 10)
            and (u.idle_lifetime is null or u.last_used_at + u.idle_lifetime > now())
        for no key update skip locked
    );
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
