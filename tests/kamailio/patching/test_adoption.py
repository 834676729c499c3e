"""Debian's stock proxy works as before with registrations.cfg: same bindings, same calls, same database."""

from __future__ import annotations

import re
import secrets
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from kamailio import usrloc
from kamailio.rpc import JsonRpcClient
from kamailio.transports.by_url import transport_for
from tests.stand.kamailio import CONFIGURATION
from tests.stand.phone import Phone
from tests.stand.postgres import Cluster
from tests.stand.queue import finish
from tests.stand.sip_transport import TransportName
from tests.stand.stock import StockProxy, stock_proxy, stock_save

DB_MODE = 'modparam("usrloc", "db_mode", 2)'


def adopt(proxy: StockProxy, *defines: str, db_mode: int) -> None:
    """Make the edits that registrations.cfg asks for, as `patch` does, and put it beside the configuration."""
    text = proxy.configuration.read_text(encoding="utf-8").replace(
        stock_save(),
        f"\troute(REGISTRATIONS_PRESAVE);\n{stock_save()}\telse {{\n\t\troute(REGISTRATIONS_POSTSAVE);\n\t}}\n",
    )
    lines = "".join(f"#!define {each}\n" for each in (f"KAMAILIO_DB_MODE {db_mode}", *defines))
    proxy.configuration.write_text(f'{text}\n{lines}include_file "registrations.cfg"\n', encoding="utf-8")
    include = CONFIGURATION.with_name("registrations.cfg").read_text(encoding="utf-8")
    proxy.configuration.with_name("registrations.cfg").write_text(include, encoding="utf-8")


@contextmanager
def stock(
    directory: Path, url: str, *features: str, db_mode: int = 2
) -> Iterator[tuple[StockProxy, psycopg.Connection]]:
    """The stock proxy, not yet started, and its database."""
    edits = {DB_MODE: DB_MODE.replace("2", str(db_mode)), "\nchildren=8\n": "\nchildren=1\n"}
    with (
        stock_proxy(directory, database_url=url, features=features, edits=edits) as proxy,
        psycopg.connect(url, autocommit=True) as database,
    ):
        yield proxy, database


def memory(proxy: StockProxy, aor: str) -> list[str]:
    """Return the contacts of an AoR in Kamailio's memory. In the stock configuration use_domain is 0."""
    with JsonRpcClient(transport_for(proxy.rpc_url)) as rpc:
        return sorted(each.address for each in usrloc.lookup(rpc, aor))


def phone(proxy: StockProxy, user: str = "anna", **options: object) -> Phone:
    """Return a phone of the proxy's realm."""
    return Phone(user, proxy.realm, "secret", proxy=("127.0.0.1", proxy.port), **options)  # type: ignore[arg-type]


def call(proxy: StockProxy, user: str) -> None:
    """Send a request to a phone, as another user does."""
    message = (
        f"MESSAGE sip:{user}@{proxy.realm} SIP/2.0\r\n"
        f"Via: SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bK{secrets.token_hex(6)}\r\n"
        f"Max-Forwards: 70\r\nFrom: <sip:caller@{proxy.realm}>;tag=1\r\nTo: <sip:{user}@{proxy.realm}>\r\n"
        f"Call-ID: {secrets.token_hex(6)}\r\nCSeq: 1 MESSAGE\r\nContent-Length: 0\r\n\r\n"
    )
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as caller:
        caller.sendto(message.encode(), ("127.0.0.1", proxy.port))


AGENTS = ["plain/1", "LinphoneiOS/4.5.1 (Anna\u2019s iPhone)", "LinphoneAndroid/4.6 (\u0421\u0432\u0435\u0442\u0430)"]


@pytest.mark.parametrize("db_mode", [1, 2, 3])
@pytest.mark.parametrize("agent", AGENTS, ids=ascii)
def test_phones_from_before_are_there_and_refresh(kamdbctl_url: str, tmp_path: Path, db_mode: int, agent: str) -> None:
    """Rows from before the edit load with their exact bytes, and a refresh does not duplicate them."""
    with stock(tmp_path, kamdbctl_url, db_mode=db_mode) as (proxy, database), ExitStack() as stack:
        proxy.start()
        anna = stack.enter_context(phone(proxy, user_agent=agent))
        assert anna.register().ok
        proxy.stop()  # mode 2 writes its memory now
        adopt(proxy, db_mode=db_mode)
        proxy.start()
        assert memory(proxy, "anna") == [anna.contact]
        assert anna.register().ok
        call(proxy, "anna")
        anna.wait_for_request("MESSAGE")
        proxy.stop()
        assert database.execute("select user_agent, contact from location").fetchall() == [(agent, anna.contact)]


def test_rows_and_users_of_other_modules_are_what_they_were(kamdbctl_url: str, tmp_path: Path) -> None:
    """We do not change how db_postgres talks to PostgreSQL: Cyrillic loads, a user with an umlaut authenticates."""
    with stock(tmp_path, kamdbctl_url, "WITH_AUTH", "WITH_IPAUTH", db_mode=1) as (proxy, database):
        database.execute(
            "insert into address (grp, ip_addr, mask, port, tag) "
            "values (1, '192.0.2.1', 32, 0, '\u041e\u0444\u0438\u0441')"
        )
        database.execute(
            "insert into subscriber (username, domain, password) values ('j\u00f6rg', 'example.com', 'secret')"
        )
        adopt(proxy, db_mode=1)
        proxy.start()
        raw = "j\u00f6rg"
        with phone(proxy, raw) as joerg:
            joerg.aor = joerg.from_uri = f"sip:{raw}@example.com"
            assert joerg.register().ok


@pytest.mark.parametrize("db_mode", [1, 2, 3])
@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize("adopted", [False, True], ids=["stock", "adopted"])
def test_a_phone_that_listens_elsewhere_is_called_there(
    kamdbctl_url: str, tmp_path: Path, adopted: bool, transport: TransportName, db_mode: int
) -> None:
    """A Cisco 79xx and a softphone over TCP send from another port than they listen on."""
    kind = socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM
    with stock(tmp_path, kamdbctl_url, db_mode=db_mode) as (proxy, _), socket.socket(socket.AF_INET, kind) as listens:
        listens.bind(("127.0.0.1", 0))
        listens.settimeout(5)
        if transport == "tcp":
            listens.listen()
        if adopted:
            adopt(proxy, db_mode=db_mode)
        proxy.start()
        contact = f"sip:2010@127.0.0.1:{listens.getsockname()[1]};transport={transport}"
        with phone(proxy, "2010", contact=contact, transport=transport) as cisco:
            assert cisco.register().ok
            call(proxy, "2010")
            heard = listens.accept()[0] if transport == "tcp" else listens
            assert heard.recv(65536).startswith(f"MESSAGE {contact} SIP/2.0\r\n".encode())
            heard.close()


@pytest.mark.parametrize("event", ["closed", "restart"])
@pytest.mark.parametrize("db_mode", [1, 2, 3])
def test_a_binding_outlives_its_tcp_connection(kamdbctl_url: str, tmp_path: Path, event: str, db_mode: int) -> None:
    """After the connection ends, and after a restart of Kamailio, calls reach the phone at its Contact."""
    with stock(tmp_path, kamdbctl_url, db_mode=db_mode) as (proxy, database):
        if event == "closed":
            adopt(proxy, "KAMAILIO_TIMER_INTERVAL 1", db_mode=db_mode)
        proxy.start()
        contact = "sip:2010@127.0.0.1:9;transport=tcp"
        with phone(proxy, "2010", contact=contact, transport="tcp") as cisco:
            assert cisco.register().ok
        if event == "closed":
            time.sleep(3)  # three intervals of usrloc's timer
        else:
            proxy.stop()
            adopt(proxy, db_mode=db_mode)
            proxy.start()
        assert memory(proxy, "2010") == [contact]
        proxy.stop()
        assert database.execute("select contact from location").fetchall() == [(contact,)]


@pytest.mark.parametrize("db_mode", [1, 2, 3])
def test_a_first_server_id_hides_no_phone(kamdbctl_url: str, tmp_path: Path, db_mode: int) -> None:
    """Rows of the previous server_id are loaded, and a refresh does not duplicate them."""
    with stock(tmp_path, kamdbctl_url, db_mode=db_mode) as (proxy, database), ExitStack() as stack:
        proxy.start()
        anna = stack.enter_context(phone(proxy))
        assert anna.register().ok
        proxy.stop()
        adopt(proxy, "KAMAILIO_SERVER_ID 2", db_mode=db_mode)
        proxy.start()
        assert memory(proxy, "anna") == [anna.contact]
        assert anna.register().ok
        proxy.stop()
        assert database.execute("select contact, server_id from location").fetchall() == [(anna.contact, 2)]


# All printable ASCII, and both ways to begin an escape in a string of Kamailio. Kamailio itself allows no slash in a
# password: the database follows it.
PASSWORD = "a" + "".join(map(chr, range(0x20, 0x7F))).replace("/", "") + r"\b\n"


@pytest.fixture
def role_with_password(postgres: Cluster) -> Iterator[str]:
    """A role that logs in with a password (SCRAM)."""
    name, hba = f"marks_{secrets.token_hex(4)}", postgres.directory / "data" / "pg_hba.conf"
    before = hba.read_text(encoding="utf-8")
    with psycopg.connect(postgres.url(), autocommit=True) as admin:
        admin.execute(
            sql.SQL("create role {} login superuser password {}").format(sql.Identifier(name), sql.Literal(PASSWORD))
        )
        hba.write_text(f"host all {name} 127.0.0.1/32 scram-sha-256\n{before}", encoding="utf-8")
        admin.execute("select pg_reload_conf()")
        yield name
        hba.write_text(before, encoding="utf-8")
        admin.execute("select pg_reload_conf()")
        admin.execute(sql.SQL("drop role {}").format(sql.Identifier(name)))


@pytest.mark.parametrize("way", ["DBURL", "define", "environment"])
def test_any_mark_may_be_in_the_password(
    kamdbctl_url: str, tmp_path: Path, postgres: Cluster, role_with_password: str, way: str
) -> None:
    """Kamailio starts and writes, wherever its URL comes from, if it is escaped as in DBURL of the stock proxy."""
    with stock(tmp_path, kamdbctl_url, db_mode=1) as (proxy, database):
        escaped = PASSWORD.replace("\\", "\\\\").replace('"', '\\"')
        url = f"postgres://{role_with_password}:{escaped}@127.0.0.1:{postgres.port}/{database.info.dbname}"
        local = proxy.configuration.with_name("kamailio-local.cfg")
        text = local.read_text(encoding="utf-8")
        line = next(each for each in text.splitlines() if "DBURL" in each)
        if way == "DBURL":
            local.write_text(text.replace(line, f'#!define DBURL "{url}"'), encoding="utf-8")
            adopt(proxy, db_mode=1)
        elif way == "define":
            adopt(proxy, f'KAMAILIO_DB_URL "{url}"', db_mode=1)
        else:
            adopt(proxy, db_mode=1)
            proxy.environment["KAMAILIO_DB_URL"] = url
        proxy.start()
        with phone(proxy) as anna:
            assert anna.register().ok
            assert database.execute("select contact from location").fetchall() == [(anna.contact,)]
        users = database.execute("select distinct usename from pg_stat_activity where datname = current_database()")
        assert role_with_password in {name for (name,) in users}


def asked(postgres: Cluster, proxy: StockProxy, work: Callable[[], object]) -> list[str]:
    """Return the kinds of statements on `location` that an action causes, in lower case."""
    before = len(postgres.log.read_text(encoding="utf-8", errors="replace"))
    work()
    finish("127.0.0.1", proxy.port)
    text = postgres.log.read_text(encoding="utf-8", errors="replace")[before:]
    return [kind.lower() for kind in re.findall(r"statement: (\w+)\b.*\blocation\b", text)]


@pytest.mark.parametrize(
    ("db_mode", "new", "refresh"),
    [
        (1, ["insert"], ["update"]),
        (2, [], []),
        (3, ["select", "insert"], ["select", "update"]),
    ],
)
@pytest.mark.parametrize("features", [(), ("WITH_NAT",)], ids=["stock", "WITH_NAT"])
def test_what_a_register_costs_postgresql(
    kamdbctl_url: str,
    tmp_path: Path,
    postgres: Cluster,
    features: tuple[str, ...],
    db_mode: int,
    new: list[str],
    refresh: list[str],
) -> None:
    """The same as before the edit; in mode 3 one SELECT more for a new phone, none for a refresh."""
    with stock(tmp_path, kamdbctl_url, *features, db_mode=db_mode) as (proxy, database):
        database.execute(f"alter database {database.info.dbname} set log_statement = 'all'")
        adopt(proxy, "KAMAILIO_TIMER_INTERVAL 600", db_mode=db_mode)
        proxy.start()
        with phone(proxy) as here, phone(proxy, "away", contact="sip:away@10.0.0.1") as away:
            more = ["select"] if db_mode == 3 else []
            assert asked(postgres, proxy, here.register) == [*new, *more]
            assert asked(postgres, proxy, here.register) == refresh
            assert asked(postgres, proxy, away.register) == [*new, *more]
            assert asked(postgres, proxy, away.register) == refresh
        with JsonRpcClient(transport_for(proxy.rpc_url)) as rpc:
            assert rpc.call("mqueue.get_size", "registrations") == {"name": "registrations", "size": 2}


@pytest.mark.parametrize("db_mode", [1, 2, 3])
@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_what_the_operator_does_to_a_register_stays_when_a_header_is_made_valid(
    kamdbctl_url: str, tmp_path: Path, db_mode: int, transport: TransportName
) -> None:
    """With WITH_NAT, `received` and the branch flag stay, and the reply and a call reach the phone."""
    with stock(tmp_path, kamdbctl_url, "WITH_NAT", db_mode=db_mode) as (proxy, database):
        adopt(proxy, db_mode=db_mode)
        proxy.start()
        latin1 = "J\udcf6rg"
        with phone(proxy, contact=f"sip:{latin1}@10.0.0.1", user_agent=latin1, transport=transport) as anna:
            assert anna.register().ok
            assert anna.register().ok
            call(proxy, "anna")
            anna.wait_for_request("MESSAGE")
            (host, port), suffix = anna.local, "" if transport == "udp" else ";transport=tcp"
        proxy.stop()
        row = database.execute("select user_agent, contact, received, cflags from location").fetchall()
    assert row == [("J%f6rg", "sip:J%f6rg@10.0.0.1", f"sip:{host}:{port}{suffix}", 1 << 6)]


def edit(proxy: StockProxy, old: str, new: str) -> None:
    """An edit by the operator."""
    text = proxy.configuration.read_text(encoding="utf-8")
    assert text.count(old) == 1
    proxy.configuration.write_text(text.replace(old, new), encoding="utf-8")


@pytest.mark.parametrize("adopted", [False, True], ids=["stock", "adopted"])
def test_a_script_that_goes_on_reads_what_save_returned(kamdbctl_url: str, tmp_path: Path, adopted: bool) -> None:
    """$rc is 1 for a new binding, 2 for a refresh, 3 for a removed one."""
    with stock(tmp_path, kamdbctl_url, db_mode=1) as (proxy, _):
        before, found, after = proxy.configuration.read_text(encoding="utf-8").partition(stock_save())
        proxy.configuration.write_text(
            f'{before}{found}\txlog("L_ERR", "save said $rc\\n");\n{after}', encoding="utf-8"
        )
        if adopted:
            adopt(proxy, db_mode=1)
        proxy.start()
        with phone(proxy) as anna:
            assert all(answer.ok for answer in (anna.register(), anna.register(), anna.unregister()))
        finish("127.0.0.1", proxy.port)
        assert re.findall(r"save said (\S+)", proxy.log) == ["1", "2", "3"]


def test_what_the_script_does_to_a_contact_stays_when_it_is_made_valid(kamdbctl_url: str, tmp_path: Path) -> None:
    """fix_nated_contact() changes a part of the header that we replace as a whole."""
    with stock(tmp_path, kamdbctl_url, db_mode=1) as (proxy, database):
        adopt(proxy, db_mode=1)
        edit(proxy, "\troute(REGISTRATIONS_PRESAVE);\n", "\tfix_nated_contact();\n\troute(REGISTRATIONS_PRESAVE);\n")
        edit(proxy, 'loadmodule "registrar.so"\n', 'loadmodule "registrar.so"\nloadmodule "nathelper.so"\n')
        proxy.start()
        with phone(proxy, contact="J\udcf6rg <sip:j\udcf6rg@10.0.0.1>", user_agent="plain/1") as anna:
            assert anna.register().ok
            host, port = anna.local
            call(proxy, "anna")
            anna.wait_for_request("MESSAGE")
        row = database.execute("select user_agent, contact from location").fetchall()
        assert row == [("plain/1", f"sip:j%f6rg@{host}:{port}")]


def test_no_header_is_lost_where_loops_end_early(kamdbctl_url: str, tmp_path: Path) -> None:
    """With a small max_while_loops such a phone is treated as by the stock proxy."""
    with stock(tmp_path, kamdbctl_url, db_mode=1) as (proxy, database):
        adopt(proxy, db_mode=1)
        edit(proxy, "\nchildren=1\n", "\nchildren=1\nmax_while_loops=5\n")
        proxy.start()
        path = [("Supported", "path"), *(("Path", f"<sip:\udcf6@192.0.2.{number};lr>") for number in range(1, 8))]
        with phone(proxy, extra_headers=path) as anna:
            assert anna.register().status == 500
            assert database.execute("select path from location").fetchall() == []
            anna.extra_headers = path[:6]
            assert anna.register().ok
            (row,) = database.execute("select path from location").fetchall()
            assert str(row[0]).count("%f6") == 5
