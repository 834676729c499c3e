-- Copies id into id_wide for the next rows that lack it. Rows that somebody has locked are left for the next pass, and
-- counted. One row of eight at a time: then its page has room for the new version, and no index is written.
with slice as materialized (
    select id, id_wide from {table}
    where id > %(after)s and id & 7 = %(turn)s
    order by id
    limit %(limit)s
),
taken as materialized (
    select id from {table}
    where id = any (array(select id from slice where id_wide is null))
    order by id
    for update skip locked
),
filled as (
    update {table} l set id_wide = l.id from taken t where l.id = t.id returning l.id
)
select max(id)::bigint, count(*) filter (where id_wide is null) - (select count(*) from filled) from slice
