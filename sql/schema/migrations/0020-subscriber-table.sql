-- Kamailio asks for a password at each REGISTER, and does not keep the plan: through the view and two tables with twelve
-- indexes the plan alone took a tenth of the processor time of a REGISTER. So what was a view is a table that follows
-- device and account. The foreign key removes what is deleted, by truncate, too.

do $$
declare
    old regclass := coalesce(to_regclass('directory_subscriber'), to_regclass('subscriber'));
    name text := format('%s', old);
    not_null text;
begin
    -- Nobody writes devices and accounts from here on; phones are served from the view meanwhile.
    lock table account, device in share row exclusive mode;
    -- Kamailio's own types: db_postgres calls a column of type text a blob, and auth_db of 6.1 refuses that.
    create table subscriber_to_be (
        device_id identifier primary key references device on update cascade on delete cascade,
        username varchar(64) not null,
        domain varchar(253) not null,
        password varchar(64) not null default '',
        ha1 varchar(128) not null,
        -- What auth_db takes for a digest username with "@": no such user exists, so nobody knows it. Empty, it would have
        -- auth_db compare with whatever lies in its memory.
        ha1b varchar(128) not null
            default left(encode(sha256((gen_random_uuid()::text || gen_random_uuid()::text)::bytea), 'hex'), 32)
    );
    insert into subscriber_to_be (device_id, username, domain, ha1)
        select d.id, d.sip_username, d.realm, d.ha1
        from device d
        join account a on a.id = d.account_id
        where d.enabled and a.enabled and d.ha1 is not null;
    -- Unique, since device has its AoRs so.
    execute format('create unique index %s_aor_idx on subscriber_to_be (username, domain)', name);

    -- The account is locked: else one that is disabled at this moment would keep the device that comes now.
    execute format($function$
        create function device_note_subscriber() returns trigger
            language plpgsql security definer set search_path from current
        as $body$
        begin
            delete from %1$s s using came d where s.device_id = d.id;
            insert into %1$s (device_id, username, domain, ha1)
                select d.id, d.sip_username, d.realm, d.ha1
                from came d
                join account a on a.id = d.account_id
                where d.enabled and a.enabled and d.ha1 is not null
                for share of a;
            return null;
        end $body$
    $function$, name);
    execute format($function$
        create function account_note_subscribers() returns trigger
            language plpgsql security definer set search_path from current
        as $body$
        begin
            delete from %1$s s using device d where d.account_id = new.id and s.device_id = d.id;
            insert into %1$s (device_id, username, domain, ha1)
                select d.id, d.sip_username, d.realm, d.ha1 from device d
                where d.account_id = new.id and d.enabled and new.enabled and d.ha1 is not null;
            return null;
        end $body$
    $function$, name);
    -- Whoever may execute them may make them triggers of a table of his own.
    revoke execute on function device_note_subscriber(), account_note_subscribers() from public;
    create trigger device_note_subscriber_new after insert on device
        referencing new table as came for each statement execute function device_note_subscriber();
    create trigger device_note_subscriber_changed after update on device
        referencing new table as came for each statement execute function device_note_subscriber();
    create trigger account_note_subscribers after update of enabled on account
        for each row when (old.enabled <> new.enabled) execute function account_note_subscribers();

    execute format('drop view %s', old);
    execute format('alter table subscriber_to_be rename to %s', name);
    execute format('alter index subscriber_to_be_pkey rename to %s_pkey', name);
    for not_null in
        select conname from pg_constraint where conrelid = to_regclass(name) and contype = 'n'  -- from PostgreSQL 18 on
    loop
        execute format(
            'alter table %s rename constraint %I to %I', name, not_null, replace(not_null, 'subscriber_to_be', name)
        );
    end loop;
    execute format('grant select on %s to registrations_kamailio', name);
    execute format('comment on table %s is %L', name, 'what auth_db reads: every device that may log in; follows device and account by itself');
    drop index device_subscriber_idx;
end $$;

comment on column location.enriched_at is 'when the sync worker first set the three; null: not yet';
