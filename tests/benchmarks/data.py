"""The data: registrations in accounts of very different size, and their directory. PostgreSQL generates them.

Rows of one account are scattered over the table, as they are when phones register.
"""

from __future__ import annotations

from collections.abc import Sequence

import psycopg
from psycopg import sql

ROOT = "root"  # a superduper admin
PHONES = "phones"  # an account whose devices really register; it has no rows before that
REALM = "phones.example.com"
PASSWORD = "secret"
RUID = "uloc-2-bench-"  # followed by the number of the row, from 1
# server_id of the rows: that of another node, so that our Kamailio does not load them into its memory.
ELSEWHERE = 2

Shape = Sequence[tuple[str, int]]


def mixed(rows: int) -> Shape:
    """Return accounts of 1, 20, 200 (most rows) and 1,000, one of a hundredth and one of a tenth of all rows."""
    shape = [("tenth", rows // 10), ("hundredth", rows // 100)]
    for size, share in ((1000, 0.03), (200, 0.8), (1, 0.01)):
        shape += [(f"a{size}-{number}", size) for number in range(int(rows * share / size))]
    left = rows - sum(size for _, size in shape)
    shape += [(f"a20-{number}", 20) for number in range(left // 20)]
    return [*shape, *([("rest", left % 20)] if left % 20 else [])]


def of_200(rows: int) -> Shape:
    """Return accounts of 200 rows only."""
    return [(f"a200-{number}", 200) for number in range(rows // 200)]


def one(rows: int) -> Shape:
    """Return a single account with all rows."""
    return [("all", rows)]


DIRECTORY = """
insert into account (id, parent_id, name, realm, superduper_admin) values
    ('root', null, 'Root', 'root.example.com', true), ('phones', 'root', 'Phones', 'phones.example.com', false);
insert into account (id, parent_id, name, realm)
    select account_id, 'root', initcap(account_id), account_id || '.example.com' from shape;
insert into owner (id, account_id, name) select a.id || '-owner', a.id, 'Owner of ' || a.name from account a;
insert into device (id, account_id, owner_id, name, sip_username, account_realm, ha1)
    select
        s.account_id || '-' || n, s.account_id, s.account_id || '-owner', 'Phone ' || n, 'u' || n,
        s.account_id || '.example.com', md5('u' || n || ':' || s.account_id || '.example.com:secret')
    from (select account_id, size from shape union all select 'phones', {phones}) s
    cross join lateral generate_series(1, s.size) n;
insert into subscriber (device_id, username, domain, ha1) select id, sip_username, realm, ha1 from device;
analyze account, owner, subscriber;
"""
SUBSCRIBERS = """
insert into subscriber (username, domain, password, ha1, ha1b)
    select 'u' || n, 'phones.example.com', 'secret', md5('u' || n || ':phones.example.com:secret'), ''
    from generate_series(1, {phones}) n;
analyze subscriber;
"""
ENRICHED = ", account_id, device_id, owner_id, enriched_at, device_state"
ENRICHMENT = """
    , account_id, account_id || '-' || n, account_id || '-owner', now(), 'enabled ' || left(
        md5((select key from fingerprint_key) || md5('u' || n || ':' || account_id || '.example.com:secret')), 16
    )
"""
# contact, received, server_id and connection_id are indexed, and a refresh does not change them. So the first two are
# made from the number of the row.
LOCATION = """
insert into location (
    ruid, username, domain, contact, received, expires, q, callid, cseq, last_modified, user_agent, socket, methods,
    instance, reg_id, server_id, connection_id{columns}
)
select
    '{ruid}' || number, 'u' || n, account_id || '.example.com',
    'sip:phone@192.0.2.10:5062;line=' || number, 'sip:198.51.100.' || number % 250 || ':33333',
    {expires}, -1, md5(number::text) || '@192.0.2.' || n % 250, 20 + n % 60, {modified},
    'Yealink SIP-T46U 108.86.0.20', 'udp:203.0.113.1:5060', 5951,
    '<urn:uuid:' || md5(n::text)::uuid || '>', 1, {server_id}, -1{values}
from (
    select account_id, n, row_number() over (order by hashtext(account_id || n)) as number
    from shape cross join lateral generate_series(1, size) n
) scattered
order by number
"""
INDEXES = """
select indexname, indexdef from pg_indexes
where tablename in ('location', 'device') and indexname not in (select conname from pg_constraint)
"""


def fill(
    connection: psycopg.Connection,
    shape: Shape,
    *,
    phones: int,
    enriched: bool = True,
    stock: bool = False,
    server_id: int = ELSEWHERE,
) -> None:
    """Fill a new database.

    Args:
        connection: of a superuser, in autocommit mode.
        shape: accounts with their number of registrations.
        phones: number of devices, or subscribers, in the account that really registers.
        enriched: whether rows have account, device and owner.
        stock: whether to fill kamdbctl's tables, without a directory.
        server_id: of the rows.
    """
    connection.execute("create temporary table shape (account_id text, size integer)")
    with connection.cursor().copy("copy shape from stdin") as copy:
        for row in shape:
            copy.write_row(row)
    # The rows are consistent, so triggers and foreign keys need not check them.
    connection.execute("set session_replication_role = replica")
    connection.execute("set synchronous_commit = off")
    connection.execute("set maintenance_work_mem = '256MB'")
    indexes = connection.execute(INDEXES).fetchall()
    for name, _ in indexes:
        _execute(connection, "drop index {name}", name=sql.Identifier(name))
    _execute(connection, SUBSCRIBERS if stock else DIRECTORY, phones=sql.Literal(phones))
    epoch = "floor(extract(epoch from now()))::bigint"
    _execute(
        connection,
        LOCATION,
        columns=sql.SQL(ENRICHED if enriched and not stock else ""),
        values=sql.SQL(ENRICHMENT if enriched and not stock else ""),
        expires=sql.SQL("now()::timestamp + interval '1 day'" if stock else f"{epoch} + 86400"),
        modified=sql.SQL("now()::timestamp" if stock else epoch),
        ruid=sql.SQL(RUID),
        server_id=sql.Literal(server_id),
    )
    for _, definition in indexes:
        connection.execute(definition)
    # Autovacuum would do the same.
    connection.execute("vacuum analyze location")
    if not stock:
        connection.execute("vacuum analyze device")
    connection.execute("reset all")
    connection.execute("drop table shape")


def _execute(connection: psycopg.Connection, query: str, **parts: sql.Composable) -> None:
    connection.execute(sql.SQL(query).format(**parts))


def forget_phones(connection: psycopg.Connection) -> None:
    """Remove the rows of phones that really registered. No Kamailio may run meanwhile."""
    connection.execute("delete from location where domain = %s", (REALM,))
