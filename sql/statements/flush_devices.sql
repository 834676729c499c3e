-- AoRs of the devices of an account, or of those with one username, that no row shows to be registered: whatever a node
-- holds of them is to go. For a day: no registration is older by then.
insert into flush_binding
    (flush_id, ruid, username, domain, server_id, modified_epoch, cseq, expires_epoch, shown, due_at)
select
    %(flush_id)s, null, unseen.username, unseen.realm, null::integer, 0, 0,
    floor(extract(epoch from now()))::bigint + 86400,
    false,
    now() + make_interval(secs => %(lease)s)
from (
    select d.username, d.realm
    from directory d
    where d.account_id = %(account_id)s and (%(username)s::text is null or d.username = lower(%(username)s))
    except
    select lower(f.username), coalesce(lower(f.domain), d.realm)
    from flush_binding f
    left join directory d on f.domain is null and d.account_id = %(account_id)s and d.username = lower(f.username)
    where f.flush_id = %(flush_id)s
) unseen
returning
    id, ruid, username, domain, server_id, modified_epoch, cseq, shown, confirmed,
    floor(extract(epoch from now()))::bigint as requested_epoch
