"""What PostgreSQL's catalogs say of Kamailio's tables, line by line, so that a change of anything shows as a line."""

from __future__ import annotations

import psycopg

# Everything that an ALTER, GRANT, COMMENT or CREATE leaves behind, but for numbers that name nothing and statistics.
QUERIES = (
    """
    select format('%s: owner %s, kind %s, options %s, row security %s', oid::regclass, relowner::regrole, relkind,
        coalesce(reloptions, '{}'), relrowsecurity)
    from pg_class where oid = any (%(tables)s)
    """,
    """
    select format('%s: column %s %s %s default %s%s', attrelid::regclass, attname, format_type(atttypid, atttypmod),
        case when attnotnull then 'not null' end, pg_get_expr(d.adbin, d.adrelid),
        -- PostgreSQL 17.12 counts there how often a table with views was altered, and nobody else reads it
        array(select o from unnest(attoptions) o where o not like 'pg_attver=%%'))
    from pg_attribute a left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
    where attrelid = any (%(tables)s) and attnum > 0 and not attisdropped
    """,
    """
    select format('%s: index %s, valid %s', indrelid::regclass, pg_get_indexdef(indexrelid), indisvalid)
    from pg_index where indrelid = any (%(tables)s)
    """,
    """
    select format('%s: constraint %s %s', conrelid::regclass, conname, pg_get_constraintdef(oid))
    from pg_constraint where conrelid = any (%(tables)s)
    """,
    "select format('%s: trigger %s', tgrelid::regclass, pg_get_triggerdef(oid)) from pg_trigger "
    "where tgrelid = any (%(tables)s)",
    "select format('%s: rule %s', ev_class::regclass, pg_get_ruledef(oid)) from pg_rewrite "
    "where ev_class = any (%(tables)s)",
    "select format('%s: policy %s', polrelid::regclass, polname) from pg_policy where polrelid = any (%(tables)s)",
    """
    select format('%s: privilege %s %s', c.oid::regclass, x.grantee::regrole, x.privilege_type)
    from pg_class c,
        aclexplode(coalesce(relacl, acldefault(case relkind when 'S' then 's' else 'r' end::"char", relowner))) x
    where c.oid = any (%(tables)s) or c.oid = any (%(sequences)s)
    """,
    """
    select format('%s: privilege %s %s (%s)', attrelid::regclass, x.grantee::regrole, x.privilege_type, attname)
    from pg_attribute, aclexplode(attacl) x where attrelid = any (%(tables)s)
    """,
    """
    select format('%s: comment %s on %s', objoid::regclass, description,
        (select attname from pg_attribute where attrelid = objoid and attnum = objsubid))
    from pg_description where objoid = any (%(tables)s)
    """,
    "select format('%s: sequence %s', seqrelid::regclass, (s.*)::text) from pg_sequence s "
    "where seqrelid = any (%(sequences)s)",
    "select format('%s: statistics %s', stxrelid::regclass, stxname) from pg_statistic_ext "
    "where stxrelid = any (%(tables)s)",
    "select format('%s: published by %s', prrelid::regclass, prpubid) from pg_publication_rel "
    "where prrelid = any (%(tables)s)",
)


def snapshot(connection: psycopg.Connection, tables: tuple[str, ...]) -> set[str]:
    """Lines about these tables, and the sequences that they own."""
    oids = [
        row[0]
        for row in connection.execute("select to_regclass(n)::oid from unnest(%s::text[]) n", (list(tables),))
        if row[0]
    ]
    sequences = [
        row[0]
        for row in connection.execute(
            "select objid from pg_depend where classid = 'pg_class'::regclass and refobjid = any (%s) "
            "and deptype in ('a', 'i') and objid in (select seqrelid from pg_sequence)",
            (oids,),
        )
    ]
    values = {"tables": oids, "sequences": sequences}
    return {
        row[0]
        for query in QUERIES
        for row in connection.execute(query.replace("%s", "%%s").encode(), values).fetchall()
    }
