"""Other modules read and write the same bytes after adoption."""

from __future__ import annotations

import json
from pathlib import Path

import psycopg

from kamailio.rpc import JsonRpcClient
from kamailio.transports.by_url import transport_for
from tests.adoption.steps import REALM, adopt, stock
from tests.stand.caller import Caller
from tests.stand.phone import Phone
from tests.stand.process import wait_until
from tests.stand.stock import StockProxy

CREATE_HTABLE = Path("/usr/share/kamailio/postgres/htable-create.sql")
# ASCII, letters of Latin-1, and others. No blanks: they end a value in dispatcher's attrs.
TEXTS = ["Office", "Büro-Köln", "Anna\u2019s", "Офис", "📞office"]
MODULES = """loadmodule "dispatcher.so"
modparam("dispatcher", "db_url", DBURL)
loadmodule "dialplan.so"
modparam("dialplan", "db_url", DBURL)
loadmodule "htable.so"
modparam("htable", "db_url", DBURL)
modparam("htable", "htable", "names=>size=4;dbtable=htable;")
"""
DUMPS = {
    "permissions.addressDump": (),
    "dispatcher.list": (),
    "dialplan.dump": (1,),
    "htable.dump": ("names",),
    "domain.dump": (),
}


def _fill(database: psycopg.Connection) -> None:
    """Insert each text once into each table."""
    database.execute(CREATE_HTABLE.read_bytes())
    for statement in (
        "insert into address (grp, ip_addr, mask, port, tag) select 1, '192.0.2.' || n, 32, 0, text",
        "insert into dispatcher (setid, destination, attrs) select 1, 'sip:192.0.2.' || n, 'name=' || text",
        "insert into dialplan (dpid, pr, match_op, match_exp, match_len, subst_exp, repl_exp, attrs) "
        "select 1, n, 0, '^' || n, 0, '', '', text",
        "insert into htable (key_name, key_type, value_type, key_value) select 'name' || n, 0, 0, text",
        "insert into domain (domain, did) select 'domain' || n || '.example', text",
    ):
        database.execute(f"{statement} from unnest(%s::text[]) with ordinality t (text, n)".encode(), (TEXTS,))


def _loaded(proxy: StockProxy) -> dict[str, str]:
    with JsonRpcClient(transport_for(proxy.rpc_url)) as client:
        return {name: json.dumps(client.call(name, *params), ensure_ascii=False) for name, params in DUMPS.items()}


def test_tables_that_are_loaded_at_start(kamdbctl_url: str, tmp_path: Path) -> None:
    """Kamailio starts with these tables and loads the same content as before."""
    features = ("WITH_AUTH", "WITH_IPAUTH", "WITH_MULTIDOMAIN")
    with (
        psycopg.connect(kamdbctl_url, autocommit=True) as database,
        stock(kamdbctl_url, tmp_path, lines=MODULES, features=features) as proxy,
    ):
        _fill(database)
        proxy.start()
        before = _loaded(proxy)
        assert [(name, text) for name, loaded in before.items() for text in TEXTS if text not in loaded] == []
        adopt(proxy, kamdbctl_url)
        assert _loaded(proxy) == before


WIDER_ACC = """
alter table {table} add src_user varchar(64), add src_domain varchar(64), add src_ip varchar(64),
    add dst_ouser varchar(64), add dst_user varchar(64), add dst_domain varchar(64)
"""
FEATURES = ("WITH_AUTH", "WITH_ALIASDB", "WITH_ACCDB")


# The phone's answer to a call, and the table that then has it.
ANSWERS = {"missed_calls": (486, "Занято, звоните завтра"), "acc": (200, "Слушаю")}


def _written(database: psycopg.Connection, table: str, call_id: str) -> tuple[str, str]:
    """Wait for the row that acc writes about the phone's answer, and return it."""
    query = f"select sip_reason, dst_ouser from {table} where callid = %s and sip_code <> '407'".encode()
    wait_until(lambda: database.execute(query, (call_id,)).fetchone() is not None, 10, f"a row in {table}")
    (row,) = database.execute(query, (call_id,)).fetchall()
    return row


def test_users_aliases_and_accounting(kamdbctl_url: str, tmp_path: Path) -> None:
    """A user whose name is not ASCII can authenticate and has a working alias. Accounting keeps texts unchanged."""
    with (
        psycopg.connect(kamdbctl_url, autocommit=True) as database,
        stock(kamdbctl_url, tmp_path, features=FEATURES) as proxy,
    ):
        for user in ("jörg", "caller"):
            database.execute(
                "insert into subscriber (username, domain, password) values (%s, %s, 'secret')", (user, REALM)
            )
        database.execute(
            "insert into dbaliases (alias_username, alias_domain, username, domain) values ('команда', %s, 'jörg', %s)",
            (REALM, REALM),
        )
        for table in ("acc", "missed_calls"):
            database.execute(WIDER_ACC.format(table=table).encode())
        proxy.start()
        address = ("127.0.0.1", proxy.port)
        with (
            Phone("jörg", REALM, "secret", proxy=address) as phone,
            Caller("caller", REALM, "secret", proxy=address) as caller,
        ):
            phone.aor = phone.from_uri = f"sip:jörg@{REALM}"
            written = set()
            for step in ("before", "after"):
                assert phone.register().status == 200
                for table, answer in ANSWERS.items():
                    phone.answers["INVITE"] = answer
                    call_id = f"{table}-{step}"
                    assert caller.call(f"sip:команда@{REALM}", method="INVITE", call_id=call_id)[-1].status == answer[0]
                    written.add(_written(database, table, call_id))
                if step == "before":
                    adopt(proxy, kamdbctl_url)
            assert written == {(reason, "команда") for _, reason in ANSWERS.values()}
