"""The operator's own parameters of usrloc stay, and flush and check know them. `patch` refuses harm."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from kamailio.patching.edits import patched, unpatched
from kamailio.patching.script import NotUnderstood
from kamailio.rpc import JsonRpcClient
from kamailio.survey import ask_parameter
from kamailio.transports.by_url import transport_for
from tests.stand.stock import STOCK, stock_proxy, stock_save

COMMAND = Path(sys.executable).parent / "registrations-kamailio"
try:
    stock_save()
except (FileNotFoundError, ValueError):
    pytest.skip("no stock kamailio.cfg of the distribution", allow_module_level=True)
URL = "postgres://kamailio:secret@127.0.0.1/kamailio"
LOCAL = f'#!define WITH_USRLOCDB\n#!define DBURL "{URL}"\nloadmodule "db_postgres.so"\n'
LINE = 'modparam("usrloc", "db_mode", 2)'
NUMBER = STOCK.read_text(encoding="utf-8").partition(LINE)[0].count("\n") + 1
FORMS = {
    "as it comes": (LINE, 2),
    "a list of modules": ('modparam("usrloc|nosuchmodule", "db_mode", 1)', 1),
    "an expression": ('modparam("(presence_x|usr)loc", "db_mode", 3)', 3),
    "capitals": ('modparam("UsrLoc", "db_mode", 3)', 3),
    "single quotes": ("modparam('usrloc', 'db_mode', 1)", 1),
    "pieces of a string": ('modparam("usr" "loc", "db_" "mode", 1)', 1),
    "hexadecimal": ('modparam("usrloc", "db_mode", 0x3)', 3),
    "octal": ('modparam("usrloc", "db_mode", 03)', 3),
    "binary": ('modparam("usrloc", "db_mode", 11b)', 3),
    "a word": ('modparam("usrloc", "db_mode", yes)', 1),
    "modparamx": ('modparamx("usrloc", "db_mode", 1)', 1),
    "a define": ('#!define MODE 3\nmodparam("usrloc", "db_mode", MODE)', 3),
    "a define of a define": ('#!define A 1\n#!define B A\n#!define MODE B\nmodparam("usrloc", "db_mode", MODE)', 1),
    "a substdef": ('#!substdef "!MODE!3!g"\nmodparam("usrloc", "db_mode", MODE)', 3),
    "a module in a define": ('#!define UL "usrloc"\nmodparam(UL, "db_mode", 3)', 3),
    "over lines": ('modparam( "usrloc"\n\t, # here\n\t"db_mode",\n\n\t3 /* so\n*/ ) # there', 3),
    "twice": (f'{LINE}\nmodparam("usrloc", "db_mode", 1)', 1),
    "in a branch": (
        f'#!ifdef WITH_NOTHING\n{LINE}\n#!else\nmodparam("usrloc", "db_mode", 1)\n#!endif\n'
        '#!ifdef WITH_USRLOCDB\nmodparam("usrloc", "db_mode", 3)\n#!endif\n#!ifndef WITH_USRLOCDB\n'
        'modparam("usrloc", "db_mode", 1)\n#!endif',
        3,
    ),
    "that looks like others": (
        f'# modparam("usrloc", "db_mode", 1)\n{LINE}\nmodparam("usrloc", "db_update_as_insert", 0)\n'
        'modparam("tm", "fr_timer", 30000)',
        2,
    ),
}


def _stock(line: str = LINE) -> str:
    return STOCK.read_text(encoding="utf-8").replace(LINE, line)


def _patch(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, "patch", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.fixture
def configuration(tmp_path: Path) -> Path:
    """The stock file with PostgreSQL in kamailio-local.cfg."""
    (tmp_path / "kamailio-local.cfg").write_text(LOCAL, encoding="utf-8")
    path = tmp_path / "kamailio.cfg"
    path.write_text(_stock(), encoding="utf-8")
    return path


def _edit(configuration: Path, *, line: str = LINE, local: str = LOCAL) -> str:
    text = _stock(line)
    configuration.write_text(text, encoding="utf-8")
    configuration.with_name("kamailio-local.cfg").write_text(local, encoding="utf-8")
    return text


@pytest.mark.parametrize(("line", "mode"), FORMS.values(), ids=FORMS)
def test_the_mode_stays_and_is_known(kamdbctl_url: str, tmp_path: Path, line: str, mode: int) -> None:
    """However it is written. A second patch changes nothing, and --undo removes the lines."""
    text = _stock(line)
    once = patched(text, defines={})
    assert patched(once, defines={}) == once
    assert unpatched(once) == text
    with stock_proxy(tmp_path, database_url=kamdbctl_url, edits={LINE: line}) as proxy:
        shown = _patch(proxy.configuration)
        assert "db_mode changes" not in shown.stdout
        written = _patch("--write", proxy.configuration)
        assert written.returncode == 0, written.stderr
        proxy.start()
        with JsonRpcClient(transport_for(proxy.rpc_url)) as client:
            assert ask_parameter(client, "db_mode") == mode
            assert ask_parameter(client, "use_domain") == 0
            assert ask_parameter(client, "expires_type") == 0
            assert ask_parameter(client, "server_id_filter") is None


def test_other_values_are_known_too(kamdbctl_url: str, tmp_path: Path) -> None:
    """use_domain by WITH_MULTIDOMAIN, and the other values that flush and check need."""
    more = f'{LINE}\nmodparam("usrloc", "server_id_filter", 1)\nmodparam("usrloc", "matching_mode", 0)'
    with stock_proxy(tmp_path, database_url=kamdbctl_url, edits={LINE: more}, features=["WITH_MULTIDOMAIN"]) as proxy:
        written = _patch("--write", proxy.configuration)
        assert written.returncode == 0, written.stderr
        proxy.start()
        with JsonRpcClient(transport_for(proxy.rpc_url)) as client:
            told = [ask_parameter(client, name) for name in ("use_domain", "server_id_filter", "matching_mode")]
    assert told == [1, 1, 0]


@pytest.mark.parametrize("way", ["--define", "environment", "#!define"])
def test_a_mode_that_is_given_wins(kamdbctl_url: str, tmp_path: Path, way: str) -> None:
    """It replaces the operator's own, and the output says so beforehand."""
    with stock_proxy(tmp_path, database_url=kamdbctl_url) as proxy:
        options = ["--define", "KAMAILIO_DB_MODE=1"] if way == "--define" else []
        environment = {"KAMAILIO_DB_MODE": "1"} if way == "environment" else {}
        if way == "#!define":
            with proxy.configuration.with_name("kamailio-local.cfg").open("a") as local:
                local.write("#!define KAMAILIO_DB_MODE 1\n")
        shown = _patch(*options, proxy.configuration, **environment)
        assert "  usrloc: db_mode changes from 2 to 1\n" in shown.stdout
        written = _patch("--write", *options, proxy.configuration, **environment)
        assert written.returncode == 0, written.stderr
        proxy.environment.update(environment)
        proxy.start()
        with JsonRpcClient(transport_for(proxy.rpc_url)) as client:
            assert ask_parameter(client, "db_mode") == 1


@pytest.mark.parametrize(
    "line",
    [
        'modparamx("usrloc", "db_mode", $def(MODE))',
        'modparam("usrloc", "db_mode",\n#!ifdef WITH_X\n1\n#!else\n2\n#!endif\n)',
    ],
)
def test_a_mode_that_cannot_be_read_is_refused_unless_it_is_given(configuration: Path, line: str) -> None:
    """The message names the line and what to do."""
    with pytest.raises(
        NotUnderstood, match=rf"line {NUMBER}: cannot read usrloc's db_mode: .* --define KAMAILIO_DB_MODE="
    ):
        patched(_stock(line), defines={})
    assert "REGISTRATIONS_OWN_DB_MODE" not in patched(_stock(line), defines={"KAMAILIO_DB_MODE": "1"})


@pytest.mark.parametrize(
    "line",
    [f"{LINE} {LINE}", f"{LINE} #!endif\n#!ifdef WITH_USRLOCDB", f"{LINE} /* a\n*/"],
    ids=["code", "#!", "comment"],
)
def test_what_goes_on_behind_it_is_not_torn_apart(line: str) -> None:
    """It is refused, and the message names the line."""
    with pytest.raises(NotUnderstood, match=f"line {NUMBER}|line {NUMBER + 1}"):
        patched(_stock(line), defines={})


@pytest.mark.parametrize("own", ["include_file", "import_file"])
def test_an_included_file_is_not_edited_but_read(configuration: Path, own: str) -> None:
    """The message says which line to add there. With that line, or with --define, `patch` succeeds."""
    included = configuration.with_name("usrloc.cfg")
    included.write_text(f"{LINE}\n", encoding="utf-8")
    _edit(configuration, line=f'{own} "usrloc.cfg"')
    refused = _patch("--write", configuration)
    assert refused.returncode == 1
    assert f"{included}, line 1: usrloc's db_mode is 2 in a file" in refused.stderr
    assert not configuration.with_name("registrations.cfg").exists()
    assert _patch("--define", "KAMAILIO_DB_MODE=2", configuration).returncode == 0
    (cure,) = [part for part in refused.stderr.split("`") if part.startswith("#!redefine")]
    included.write_text(f"{LINE}\n{cure}\n", encoding="utf-8")
    written = _patch("--write", configuration)
    assert written.returncode == 0, written.stderr


HARM = {
    "in memory only": (
        {"local": LOCAL.replace("#!define WITH_USRLOCDB\n", "")},
        [],
        f"line {NUMBER}: usrloc's db_mode is 0",
    ),
    "in memory by choice": ({"line": LINE.replace("2", "0")}, [], f"line {NUMBER}: usrloc's db_mode is 0"),
    "another database": (
        {"local": LOCAL.replace("postgres:", "mysql:")},
        [],
        f"line {NUMBER - 1}: usrloc's db_url begins with mysql:",
    ),
    "no database": ({"local": 'loadmodule "db_postgres.so"\n'}, ["KAMAILIO_DB_MODE=1"], "usrloc has no db_url"),
    "the only socket": ({}, ["KAMAILIO_RPC_LISTEN=127.0.0.1"], "would be the only listen= line"),
    "another number with a filter": (
        {"line": f'{LINE}\nmodparam("usrloc", "server_id_filter", 1)'},
        ["KAMAILIO_SERVER_ID=2"],
        f"line {NUMBER + 1}: with server_id_filter",
    ),
    "number and filter at once": (
        {},
        ["KAMAILIO_SERVER_ID=2", "KAMAILIO_SERVER_ID_FILTER=1"],
        "Server 2 would forget the rows of 0",
    ),
    "no FIFO": (
        {"local": f"{LOCAL}listen=udp:127.0.0.1:5060\n", "line": f'{LINE}\nmodparam("jsonrpcs", "transport", 4)'},
        ["KAMAILIO_RPC_LISTEN=127.0.0.1"],
        f"line {NUMBER + 1}: jsonrpcs' transport is 4, .* KAMAILIO_RPC_TRANSPORT=5",
    ),
}


@pytest.mark.parametrize(("edit", "defines", "complaint"), HARM.values(), ids=HARM)
def test_harm_is_refused_before_anything_is_written(
    configuration: Path, edit: dict[str, str], defines: list[str], complaint: str
) -> None:
    """With or without --write and --no-check. The message names the line and what to do."""
    before = _edit(configuration, **edit)
    options = [part for each in defines for part in ("--define", each)]
    for way in ([], ["--write"], ["--write", "--no-check"]):
        refused = _patch(*way, *options, configuration)
        assert refused.returncode == 1
        assert re.search(complaint, refused.stderr), refused.stderr
    assert configuration.read_text(encoding="utf-8") == before
    assert sorted(path.name for path in configuration.parent.iterdir()) == ["kamailio-local.cfg", "kamailio.cfg"]


@pytest.mark.parametrize("end", ["/* the end\n", "#!ifdef WITH_NOTHING\n"])
def test_an_end_where_nothing_is_read_is_refused(configuration: Path, end: str) -> None:
    """Kamailio would start without the include, and nobody would notice."""
    configuration.write_text(_stock() + end, encoding="utf-8")
    for way in ([], ["--write", "--no-check"]):
        refused = _patch(*way, configuration)
        assert refused.returncode == 1
        assert "registrations.cfg would not be read" in refused.stderr
    assert configuration.read_text(encoding="utf-8") == _stock() + end


def test_what_does_no_harm_is_taken(configuration: Path) -> None:
    """First a server_id, then the filter; HTTP with listen= lines; a chosen transport."""
    _edit(
        configuration, local=f"{LOCAL}listen=udp:127.0.0.1:5060\n", line=f'{LINE}\nmodparam("jsonrpcs", "transport", 4)'
    )
    for defines in (
        ["KAMAILIO_SERVER_ID=2"],
        ["KAMAILIO_SERVER_ID=2", "KAMAILIO_SERVER_ID_FILTER=1"],
        [
            "KAMAILIO_SERVER_ID=2",
            "KAMAILIO_SERVER_ID_FILTER=1",
            "KAMAILIO_RPC_LISTEN=127.0.0.1",
            "KAMAILIO_RPC_TRANSPORT=5",
        ],
    ):
        written = _patch("--write", *(part for each in defines for part in ("--define", each)), configuration)
        assert written.returncode == 0, written.stderr
    refused = _patch(
        "--write", "--define", "KAMAILIO_SERVER_ID=3", "--define", "KAMAILIO_SERVER_ID_FILTER=1", configuration
    )
    assert "Server 3 would forget the rows of 2" in refused.stderr


def test_every_change_is_told_beforehand(configuration: Path) -> None:
    """Parameters with their old values, modules, sockets, routes; no password."""
    _edit(configuration, local=f"{LOCAL}listen=udp:127.0.0.1:5060\nserver_id=7\n")
    given = [
        "KAMAILIO_RPC_LISTEN=127.0.0.1",
        "KAMAILIO_SERVER_ID=2",
        "KAMAILIO_DB_CLEAN_TCP=1",
        f'KAMAILIO_DB_URL="{URL}x"',
    ]
    shown = _patch(*(part for each in given for part in ("--define", each)), configuration)
    assert shown.returncode == 0, shown.stderr
    told = shown.stdout.partition("in these points only:\n")[2].splitlines()
    for line in (
        "  usrloc: db_check_update changes from Kamailio's default to 1 (a row that was lost comes back at the phone's "
        "next refresh)",
        "  usrloc: db_clean_tcp changes from Kamailio's default to 1",
        "  usrloc: db_url changes from postgres://...@127.0.0.1/kamailio to postgres://...@127.0.0.1/kamailiox",
        "  module xhttp is loaded",
        "  server_id changes from 7 to 2",
        "  jsonrpcs: transport changes from Kamailio's default to 7",
        '  Kamailio also listens on tcp:127.0.0.1:5097 name "registrations_rpc"',
    ):
        assert line in told
    assert sum("route(REGISTRATIONS_" in line for line in told) == 4
    assert "secret" not in "".join(told)
    assert not [line for line in told if "db_mode" in line and "shvset" not in line]
    written = _patch("--write", *(part for each in given for part in ("--define", each)), configuration)
    assert written.returncode == 0, written.stderr
    less = _patch("--define", "KAMAILIO_SERVER_ID=2", configuration).stdout.partition("in these points only:\n")[2]
    assert less.splitlines() == [
        "  usrloc: db_url changes from postgres://...@127.0.0.1/kamailiox to postgres://...@127.0.0.1/kamailio",
        "  usrloc: db_clean_tcp changes from 1 to Kamailio's default",
        "  jsonrpcs: transport changes from 7 to Kamailio's default",
        "  module xhttp is no longer loaded",
        '  Kamailio no longer listens on tcp:127.0.0.1:5097 name "registrations_rpc"',
    ]
