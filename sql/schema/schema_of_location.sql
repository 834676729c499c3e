-- Where this session would make tables, where it finds usrloc's, in which schemas there are any, whether nobody chose its
-- search_path, its role and its database, all quoted as commands want them.
select
    quote_ident(current_schema()),
    (
        select quote_ident(n.nspname) from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where c.oid = to_regclass('location')
    ),
    (
        select array_agg(quote_ident(n.nspname) order by n.nspname)
        from pg_class c
        join pg_namespace n on n.oid = c.relnamespace
        join pg_attribute a on a.attrelid = c.oid and a.attname = 'ruid'
        where c.relname = 'location' and c.relkind in ('r', 'p')
    ),
    (select source in ('default', 'configuration file') from pg_settings where name = 'search_path'),
    quote_ident(current_user),
    quote_ident(current_database())
