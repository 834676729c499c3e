-- The contacts of a flush's phones. An AoR without a domain (use_domain=0) has the account's realm.
select
    aor_username(l.username, l.domain) as username,
    coalesce(aor_realm(l.domain), kamailio_default_realm(), a.realm::text) as domain, l.contact::text,
    nullif(l.received, '') as received, nullif(l.path, '') as path, nullif(l.socket, '') as socket, l.server_id,
    s.received as source
from flush_binding f
join flush q on q.id = f.flush_id
join location l on l.ruid = f.ruid
left join registration_source s on s.ruid = l.ruid
left join account a on a.id = q.account_id
where f.flush_id = %(flush_id)s and f.shown
order by l.id
