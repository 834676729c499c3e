-- The commands that make a schema with copies of Kamailio's tables, with the sequences of
-- their columns and the triggers on location, but without rows. The session's search_path is that schema from then on.
with copied (oid, name) as (
    select c.oid, c.relname
    from unnest(%(tables)s::text[]) t (name)
    join pg_class c on c.oid = to_regclass(t.name)
    where c.relkind = 'r'
        -- a subscriber of ours
        and not (
            c.relname = 'subscriber'
            and exists (select from pg_attribute a where a.attrelid = c.oid and a.attname = 'device_id')
        )
),
command (step, text) as (
    select 1, 'create schema registrations_trial'
    union all
    select 1, format('create table registrations_trial.%%I (like %%I.%%I including all)', c.name, current_schema(), c.name)
    from copied c
    union all
    select distinct 2, format('create sequence registrations_trial.%%I', s.relname)
    from copied c
    join pg_attrdef f on f.adrelid = c.oid
    join pg_depend d on d.classid = 'pg_attrdef'::regclass and d.objid = f.oid
    join pg_class s on d.refclassid = 'pg_class'::regclass and s.oid = d.refobjid and s.relkind = 'S'
    union all
    select 3, format(
        'alter table registrations_trial.%%I alter column %%I set default nextval(%%L)',
        c.name, a.attname, format('registrations_trial.%%I', s.relname)
    )
    from copied c
    join pg_attrdef f on f.adrelid = c.oid
    join pg_attribute a on a.attrelid = c.oid and a.attnum = f.adnum
    join pg_depend d on d.classid = 'pg_attrdef'::regclass and d.objid = f.oid
    join pg_class s on d.refclassid = 'pg_class'::regclass and s.oid = d.refobjid and s.relkind = 'S'
    union all
    select 4, format(
        '%%s; alter table registrations_trial.location %%s trigger %%I',
        replace(
            pg_get_triggerdef(t.oid),
            format(' ON %%I.location ', current_schema()), ' ON registrations_trial.location '
        ),
        case t.tgenabled
            when 'D' then 'disable' when 'R' then 'enable replica' when 'A' then 'enable always' else 'enable'
        end,
        t.tgname
    )
    from copied c
    join pg_trigger t on t.tgrelid = c.oid and not t.tgisinternal
    where c.name = 'location' and t.tgname <> 'location_id_wide'
    union all
    select 5, $$select set_config('search_path', 'registrations_trial, pg_temp', true)$$
)
select string_agg(text, E';\n' order by step) from command
