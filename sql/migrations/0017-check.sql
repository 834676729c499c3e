-- What `registrations-sync check` needs, and the cure for one thing that it finds.

grant select (realm) on account to registrations_sync;

-- A table that an older kamdbctl made, and that was kept, may have a contact of 255: longer ones are refused by
-- PostgreSQL, and their phones cannot register. A column that views show cannot change its type, so all views over
-- location are dropped and made again, with their owners, grants and comments. A wider varchar rewrites nothing.
create function widen_location() returns text[]
    language plpgsql set search_path from current
    as $$
declare
    column_ record;
    view_ record;
    widened text[] = '{}';
    drops text[] = '{}';
    creates text[] = '{}';
begin
    lock table location in access exclusive mode;  -- first of all, so that who waits in vain has changed nothing
    for view_ in
        with recursive above (oid, depth) as (
            select 'location'::regclass::oid, 0
            union
            select r.ev_class, a.depth + 1
            from above a
            join pg_depend d on d.refclassid = 'pg_class'::regclass and d.refobjid = a.oid
            join pg_rewrite r on d.classid = 'pg_rewrite'::regclass and r.oid = d.objid and r.ev_class <> a.oid
        )
        select c.oid, c.oid::regclass::text as name, max(a.depth) as depth, c.relowner::regrole::text as owner
        from above a
        join pg_class c on c.oid = a.oid and c.relkind = 'v'
        group by c.oid, c.relowner
        order by 3
    loop
        drops = format('drop view %s', view_.name) || drops;
        creates = creates
            || format('create view %s as %s', view_.name, pg_get_viewdef(view_.oid))
            || format('alter view %s owner to %s', view_.name, view_.owner)
            || array(
                select format('grant %s on %s to %s', x.privilege_type, view_.name, coalesce(nullif(x.grantee, 0)::regrole::text, 'public'))
                from pg_class c, aclexplode(c.relacl) x
                where c.oid = view_.oid and x.grantee <> c.relowner
            )
            || array(
                select format('comment on view %s is %L', view_.name, d.description)
                from pg_description d
                where d.objoid = view_.oid and d.classoid = 'pg_class'::regclass and d.objsubid = 0
            );
    end loop;
    for column_ in
        select a.attname as name, w.width
        from (
            values ('ruid', 64), ('username', 64), ('domain', 64), ('contact', 512), ('received', 128), ('path', 512),
                ('callid', 255), ('user_agent', 255), ('socket', 64), ('instance', 255)
        ) w (name, width)
        join pg_attribute a on a.attrelid = 'location'::regclass and a.attname = w.name
        where a.atttypid = 'varchar'::regtype and a.atttypmod - 4 between 0 and w.width - 1
    loop
        widened = widened || column_.name::text;
        if array_length(widened, 1) = 1 and drops <> '{}' then
            execute array_to_string(drops, ';');
        end if;
        execute format('alter table location alter %I type varchar(%s)', column_.name, column_.width);
    end loop;
    if widened <> '{}' and creates <> '{}' then
        execute array_to_string(creates, ';');
    end if;
    return widened;
end $$;

revoke execute on function widen_location() from public;

do $$
begin
    if exists (
        select from pg_attribute
        where attrelid = 'location'::regclass and attname = 'contact' and atttypmod - 4 between 0 and 511
    ) then
        perform widen_location();
    end if;
end $$;
