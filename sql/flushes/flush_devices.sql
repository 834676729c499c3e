-- The AoRs of an account's devices, or of those with one username, that have no live row: a node has to remove whatever it
-- holds of them from before this second. If usrloc writes late (db_mode 2), also AoRs with a row: they may have another
-- binding, or be at another node. The records last a day; no registration is older by then. For AoRs without a domain
-- (use_domain=0) only devices of their realm: Kamailio could not tell those of another realm from them.
insert into flush_binding
    (flush_id, ruid, username, domain, server_id, modified_epoch, cseq, expires_epoch, shown, due_at)
select
    %(flush_id)s, null, unseen.username, unseen.realm, null::integer,
    floor(extract(epoch from now()))::bigint, -1,
    floor(extract(epoch from now()))::bigint + 86400,
    false,
    now() + make_interval(secs => %(lease)s)
from (
    select d.username, d.realm
    from directory d
    where d.account_id = %(account_id)s
        and (%(username)s::text is null or d.username = sip_lower(%(username)s))
        and d.realm = coalesce(kamailio_default_realm(), d.realm)
    union
    select f.username, f.domain from flush_binding f where %(late)s and f.flush_id = %(flush_id)s
    except
    select sip_lower(f.username), coalesce(sip_lower(f.domain), d.realm)
    from flush_binding f
    left join directory d on f.domain is null and d.account_id = %(account_id)s and d.username = sip_lower(f.username)
    where not %(late)s and f.flush_id = %(flush_id)s
) unseen
returning
    id, ruid, username, domain, server_id, modified_epoch, cseq, seen_callid as call_id, shown, confirmed
