-- Deletes the records of bindings that are done: no node has them, and their rows are gone or have registered again.
delete from flush_binding f
where f.id = any (%(ids)s)
    and flush_holders(f.server_id, %(nodes)s, %(replicated)s) <@ (f.confirmed || %(node)s::integer)
    and not exists (
        select from location l
        where l.ruid = f.ruid
            and registration_is(
                registration_epoch(l.last_modified), l.cseq, l.callid, f.modified_epoch, f.cseq, f.seen_callid
            )
    )
