"""The edits of an operator's kamailio.cfg: made, checked by Kamailio, and removed again."""

from __future__ import annotations

import os
import re
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner

from kamailio.cli import main
from kamailio.patching.edits import BEGIN, END, patched, unpatched
from kamailio.patching.script import NotUnderstood
from sql.schema.migrate import migrate
from sql.settings import DatabaseSettings
from tests.stand.onlooker import seen_in
from tests.stand.phone import Phone
from tests.stand.stock import STOCK, stock_proxy, stock_save

COMMAND = Path(sys.executable).parent / "registrations-kamailio"
try:
    SAVE = stock_save()
except (FileNotFoundError, ValueError):  # an error here would keep pytest from running any test
    pytest.skip("no stock kamailio.cfg of the distribution", allow_module_level=True)
LINE = STOCK.read_text(encoding="utf-8").partition(SAVE)[0].count("\n") + 1
LOCAL = '#!define WITH_USRLOCDB\n#!define DBURL "postgres://kamailio@127.0.0.1/kamailio"\nloadmodule "db_postgres.so"\n'
FEATURES = {
    "as it comes": "",
    "WITH_AUTH": "#!define WITH_AUTH\n",
    "WITH_NAT": "#!define WITH_NAT\n#!define WITH_NATSIPPING\n",
    "WITH_JSONRPC": "#!define WITH_JSONRPC\n",
    "WITH_MULTIDOMAIN": "#!define WITH_MULTIDOMAIN\n",
    "WITH_ANTIFLOOD": "#!define WITH_ANTIFLOOD\n",
    "many": "".join(f"#!define WITH_{name}\n" for name in ("AUTH", "NAT", "JSONRPC", "ALIASDB", "ACCDB", "BLOCK3XX")),
}
OWN_EDITS: dict[str, Callable[[str], str]] = {
    "as it comes": lambda text: text,
    "spaces for tabs": lambda text: text.replace("\t", "    "),
    "CRLF": lambda text: text.replace("\n", "\r\n"),
    "no end of the last line": lambda text: text.rstrip("\n"),
    "flags of save": lambda text: text.replace('save("location")', 'save("location", "0x04")'),
    "brace on its own line": lambda text: text.replace('save("location")) {', 'save("location"))\n\t{ // own'),
    "comments": lambda text: text.replace(SAVE, f'\t/* here {{ save("location") \n stands */\n{SAVE}\t# done: }}\n'),
    "bytes that are no UTF-8": lambda text: text + "# M\udcfcller\n",
    "own mode": lambda text: text.replace('"db_mode", 2', '"db_mode", 1'),
    "a backslash that escapes nothing": lambda text: text.replace(
        "request_route {\n", "request_route {\n\t$var(x) = 'C:\\';\n"
    ),
    "a route at start in each branch": lambda text: (
        text
        + 'event_route[core:worker-one-init] {\n\txlog("up\\n");\n}\n'.join(
            ("#!ifdef WITH_X\n", "#!else\n", "#!endif\n")
        )
    ),
    "own route at start": lambda text: text + 'event_route[core:worker-one-init] {\n\txlog("up\\n");\n}\n',
}


def _stock() -> str:
    return STOCK.read_text(encoding="utf-8")


def _run(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, "patch", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
        timeout=60,
    )


@pytest.fixture
def configuration(tmp_path: Path) -> Path:
    """The stock file with PostgreSQL in kamailio-local.cfg."""
    (tmp_path / "kamailio-local.cfg").write_text(LOCAL, encoding="utf-8")
    path = tmp_path / "kamailio.cfg"
    path.write_bytes(STOCK.read_bytes())
    return path


@pytest.mark.parametrize("own", OWN_EDITS.values(), ids=OWN_EDITS)
def test_the_edits_only_add_lines_between_marks_and_can_be_taken_out(own: Callable[[str], str]) -> None:
    """Without the marked lines the text is the same byte by byte. A second patch changes nothing."""
    before = own(_stock())
    after = patched(before, defines={})
    assert after != before
    assert unpatched(after) == before
    assert patched(after, defines={}) == after
    if before.endswith("\n"):
        assert re.sub(f"{BEGIN}\r?\n.*?{END}\r?\n", "", after, flags=re.DOTALL) == before
    if "\r\n" in before:
        # Except where Kamailio would read it as part of a value.
        bare = [line for line in after.split("\n")[:-1] if not line.endswith("\r")]
        assert bare
        assert all(line.startswith("#!") for line in bare)


@pytest.mark.parametrize("own", OWN_EDITS.values(), ids=OWN_EDITS)
def test_kamailio_takes_the_result_of_own_edits(configuration: Path, own: Callable[[str], str]) -> None:
    """`--write` runs `kamailio -c`, and --undo restores the same bytes."""
    before = own(_stock()).encode(errors="surrogateescape")
    configuration.write_bytes(before)
    written = _run("--write", configuration)
    assert written.returncode == 0, written.stderr
    assert _run("--check", configuration).returncode == 0
    assert _run("--undo", "--write", configuration).returncode == 0
    assert configuration.read_bytes() == before
    assert not configuration.with_name("registrations.cfg").exists()
    assert _run("--check", configuration).returncode == 1


@pytest.mark.parametrize("features", FEATURES.values(), ids=FEATURES)
def test_kamailio_takes_the_result_with_each_feature(configuration: Path, features: str) -> None:
    """With every feature of the stock file that an operator may have switched on."""
    (configuration.parent / "kamailio-local.cfg").write_text(features + LOCAL, encoding="utf-8")
    written = _run("--write", configuration)
    assert written.returncode == 0, written.stderr


@pytest.mark.parametrize(
    ("own", "complaint"),
    [
        (lambda text: text.replace("route[REGISTRAR]", "route[REGISTRATION]"), "there is no route[REGISTRAR]"),
        (lambda text: text.replace('save("location")', 'save("aor")'), "it is missing"),
        (lambda text: text.replace(SAVE, SAVE + SAVE), f"it is in line {LINE}, {LINE + 3}"),
        (lambda text: text.replace(SAVE, '\tsave("location");\n'), f"line {LINE}: save"),
        (lambda text: text.replace(SAVE, '\tif (!save("location")) sl_reply_error();\n'), f"line {LINE}: save"),
        (lambda text: text.replace(SAVE, "\tif ($au)\n" + SAVE), f"line {LINE + 1}: save"),
        (lambda text: text.replace(SAVE, SAVE.rstrip() + " else { exit; }\n"), "already has an else"),
        (lambda text: text.replace(SAVE, SAVE.rstrip() + " exit;\n"), f"line {LINE + 2}: there is more after '}}'"),
        (lambda text: text.replace(SAVE, SAVE.rstrip() + " /* a\n b */\n"), f"line {LINE + 3}: a comment or a string"),
        (
            lambda text: text.replace(SAVE, "\troute(REGISTRATIONS_PRESAVE);\n" + SAVE),
            f"line {LINE}: it is already edited",
        ),
        (lambda text: text + 'include_file "registrations.cfg"\n', "already edited by hand"),
        (lambda text: text + f"{BEGIN}\n", "lacks its other"),
        (lambda text: text.replace(SAVE + "\texit;\n}", SAVE + "\texit;\n"), "not closed"),
    ],
)
def test_what_is_not_understood_is_refused(configuration: Path, own: Callable[[str], str], complaint: str) -> None:
    """The message names the line and the reason, and nothing is changed."""
    text = own(_stock())
    assert text != _stock()
    with pytest.raises(NotUnderstood) as refused:
        patched(text, defines={})
    assert complaint in str(refused.value)
    configuration.write_text(text, encoding="utf-8")
    result = _run("--write", configuration)
    assert result.returncode == 1
    assert result.stderr.startswith(f"Error: {configuration}: ")
    assert configuration.read_text(encoding="utf-8") == text


@pytest.mark.parametrize("lost", range(5))
@pytest.mark.parametrize("mark", [BEGIN, END])
def test_a_lost_mark_takes_no_line_of_the_operators_along(configuration: Path, mark: str, lost: int) -> None:
    """Whichever mark is missing, the file stays the same and the message says what is wrong."""
    text = patched(_stock(), defines={})
    line = list(re.finditer(f"^{mark}\n", text, re.MULTILINE))[lost]
    text = text[: line.start()] + text[line.end() :]
    configuration.write_text(text, encoding="utf-8")
    for options in (["--undo", "--write"], ["--write"]):
        refused = _run(*options, configuration)
        assert refused.returncode == 1
        assert "lacks its other" in refused.stderr
        assert configuration.read_text(encoding="utf-8") == text


AUTH = 'if (!auth_check("$fd", "subscriber", "1")) {'
UNUSUAL_AUTH = {
    "no condition": lambda text: text.replace(
        AUTH, '$var(x) = auth_check("$fd", "subscriber", "1");\n\t\tif ($rc < 0) {'
    ),
    "below an if": lambda text: text.replace(AUTH, f'if (is_method("REGISTER"))\n{AUTH}'),
    "of two conditions": lambda text: text.replace(AUTH, AUTH.replace("!auth", '$au == "x" || !auth')),
    "behind a comment": lambda text: text.replace(AUTH, f"/* who?\n */ {AUTH}"),
}


def test_the_password_is_checked_after_our_call() -> None:
    """The call is one line above the stock file's auth_check(), also among $var, comments and conditions."""
    lines = patched(_stock(), defines={}).splitlines()
    at = lines.index(f"\t\t{AUTH}")
    assert lines[at - 3 : at] == [BEGIN, "\t\troute(REGISTRATIONS_PREAUTH);", END]
    other = _stock().replace("auth_check(", "www_authenticate(")
    assert patched(other, defines={}).count("route(REGISTRATIONS_PREAUTH);") == 1
    without = _stock().replace(AUTH, "{ {")
    assert "PREAUTH" not in patched(without, defines={})


@pytest.mark.parametrize("own", UNUSUAL_AUTH.values(), ids=UNUSUAL_AUTH)
def test_another_check_of_passwords_is_refused_only_with_our_users(own: Callable[[str], str]) -> None:
    """Without REGISTRATIONS_AUTH_HA1 no call is needed; with it the message names the line."""
    text = own(_stock())
    assert text != _stock()
    assert "PREAUTH" not in patched(text, defines={})
    for with_ha1, defines in (
        (f"#!define REGISTRATIONS_AUTH_HA1\n{text}", {}),
        (text, {"REGISTRATIONS_AUTH_HA1": "1"}),
    ):
        with pytest.raises(NotUnderstood, match="auth_check must be in the form if"):
            patched(with_ha1, defines=defines)


def test_without_write_the_diff_is_shown_and_nothing_changed(configuration: Path) -> None:
    """patch(1) accepts the diff, with the same result as --write."""
    shown = _run(configuration)
    assert shown.returncode == 0
    assert configuration.read_bytes() == STOCK.read_bytes()
    assert not configuration.with_name("registrations.cfg").exists()
    first, _, diff = shown.stdout.partition("\n")
    assert first == f"{configuration.with_name('registrations.cfg')}: a new file"
    assert not re.search(r"^-(?!--)", diff, re.MULTILINE)
    _run("--write", configuration)
    diff = diff.partition("After its next start the proxy")[0]
    added = re.findall(r"^\+(?!\+\+)(.*\n)", diff, re.MULTILINE)
    stock, now = _stock().splitlines(keepends=True), configuration.read_text().splitlines(keepends=True)
    assert sorted(stock + added) == sorted(now)


def test_mode_and_owner_stay_a_link_stays_a_link_and_the_old_file_is_kept(configuration: Path, tmp_path: Path) -> None:
    """The file is replaced in one step and keeps its attributes."""
    configuration.chmod(0o640)
    owner = (65534, 65534) if os.geteuid() == 0 else (os.geteuid(), os.getegid())
    os.chown(configuration, *owner)
    link = tmp_path / "link" / "kamailio.cfg"
    link.parent.mkdir()
    link.symlink_to(configuration)
    configuration.with_name("kamailio-local.cfg").rename(link.with_name("kamailio-local.cfg"))
    assert _run("--write", link).returncode == 0
    assert link.is_symlink()
    for path in (configuration, link.with_name("registrations.cfg")):
        status = path.stat()
        assert (status.st_mode & 0o7777, status.st_uid, status.st_gid) == (0o640, *owner)
    (kept,) = configuration.parent.glob("kamailio.cfg.*.bak")
    assert kept.read_bytes() == STOCK.read_bytes()
    assert (kept.stat().st_mode & 0o7777, kept.stat().st_uid) == (0o640, owner[0])


def test_what_another_configuration_loads_stays(configuration: Path) -> None:
    """If two Kamailios share a directory, undoing one takes nothing from the other."""
    other = configuration.with_name("edge.cfg")
    other.write_bytes(STOCK.read_bytes())
    included = configuration.with_name("registrations.cfg")
    assert _run("--write", configuration).returncode == 0
    assert _run("--write", other).returncode == 0
    undone = _run("--undo", "--write", configuration)
    assert undone.returncode == 0, undone.stderr
    assert f"{other} also loads registrations.cfg: the file stays" in undone.stderr
    assert _run("--check", other).returncode == 0
    assert included.exists()
    included.write_text("# of another release\n", encoding="utf-8")
    assert f"{other} also loads registrations.cfg: patch it as well" in _run("--write", configuration).stderr
    for each in (configuration, other):
        assert _run("--undo", "--write", each).returncode == 0
        assert each.read_bytes() == STOCK.read_bytes()
    assert not included.exists()


def test_an_include_of_another_release_or_hand_is_kept(configuration: Path) -> None:
    """--write replaces it and keeps a copy. If Kamailio refuses, nothing changes."""
    assert _run("--write", configuration).returncode == 0
    included = configuration.with_name("registrations.cfg")
    included.write_text("# mine\n", encoding="utf-8")
    refused = _run("--write", "--define", "KAMAILIO_TIMER_INTERVAL=nonsense()", configuration)
    assert refused.returncode == 1
    assert included.read_text(encoding="utf-8") == "# mine\n"
    assert not list(configuration.parent.glob("registrations.cfg.*.bak"))
    written = _run("--write", configuration)
    assert written.returncode == 0
    (kept,) = configuration.parent.glob("registrations.cfg.*.bak")
    assert kept.read_text(encoding="utf-8") == "# mine\n"
    assert str(kept) in written.stderr
    assert included.read_text(encoding="utf-8") != "# mine\n"


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o660])
def test_nobody_else_ever_reads_what_is_written(configuration: Path, mode: int) -> None:
    """The files contain passwords, so no copy is ever readable for others or for another group."""
    group = 65534 if os.geteuid() == 0 else os.getegid()
    os.chown(configuration, -1, group)
    for path in configuration.parent.iterdir():
        path.chmod(mode)
        os.chown(path, -1, group)
    with seen_in(configuration.parent) as seen:
        done = CliRunner().invoke(main, ["patch", "--write", "--no-check", str(configuration)])
    assert done.exit_code == 0, done.output
    assert (".bak", mode, group) in seen
    assert {mode for _, mode, _ in seen} <= {0o600, mode}
    assert {gid for _, mode, gid in seen if mode & 0o070} <= {group}


@pytest.mark.parametrize("has_one", [True, False])
def test_an_acl_stays(configuration: Path, *, has_one: bool) -> None:
    """Kamailio may have access only by an ACL. Without one, the directory's default ACL is not applied."""
    name, everybody = "system.posix_acl_access", 0xFFFFFFFF
    entries = [(0x01, 6, everybody), (0x02, 4, 65534), (0x04, 0, everybody), (0x10, 4, everybody), (0x20, 0, everybody)]
    acl = struct.pack("<I", 2) + b"".join(
        struct.pack("<HHI", *entry) for entry in entries
    )  # acl(5): u::rw-,u:65534:r--
    configuration.chmod(0o640)
    try:
        if has_one:
            os.setxattr(configuration, name, acl)
        else:
            os.setxattr(configuration.parent, "system.posix_acl_default", acl)
    except OSError as error:
        pytest.skip(f"no ACLs here: {error.strerror}")
    assert _run("--write", "--no-check", configuration).returncode == 0
    (kept,) = configuration.parent.glob("kamailio.cfg.*.bak")
    for path in (configuration, kept, configuration.with_name("registrations.cfg")):
        assert (os.getxattr(path, name) if name in os.listxattr(path) else None) == (acl if has_one else None)


def test_what_kamailio_would_not_start_with_is_not_written(configuration: Path) -> None:
    """The error shows Kamailio's own message. --no-check writes anyway."""
    (configuration.parent / "kamailio-local.cfg").unlink()
    values = {"KAMAILIO_DB_URL": "postgres://kamailio@127.0.0.1/kamailio", "KAMAILIO_DB_MODE": "1"}
    nonsense = _run("--write", "--define", "KAMAILIO_TIMER_INTERVAL=nonsense()", configuration, **values)
    assert nonsense.returncode == 1
    assert "parse error" in nonsense.stderr
    assert configuration.read_bytes() == STOCK.read_bytes()
    assert [path.name for path in configuration.parent.iterdir()] == ["kamailio.cfg"]
    assert _run("--write", configuration, **values).returncode == 0
    assert _run("--undo", "--write", configuration).returncode == 0, "undoing leaves a Kamailio that starts"
    assert _run("--write", "--no-check", configuration, **values).returncode == 0


def test_values_given_stay_until_others_are(configuration: Path) -> None:
    """--define adds a value above the include. A later patch without --define keeps it."""
    assert _run("--write", "--define", "KAMAILIO_SERVER_ID=7", configuration).returncode == 0
    assert "#!redefine KAMAILIO_SERVER_ID 7\n" in configuration.read_text()
    assert _run(configuration).stdout == f"{configuration}: nothing to do\n"
    assert _run("--write", "--define", "KAMAILIO_EXPIRES_TYPE=1", configuration).returncode == 0
    assert "SERVER_ID" not in configuration.read_text()
    assert _run("--define", "KAMAILIO_SERVER_ID", configuration).returncode == 2
    mistyped = _run("--define", "KAMAILIO_SERVERID=7", configuration)
    assert mistyped.returncode == 2
    assert "no value KAMAILIO_SERVERID" in mistyped.stderr
    unknown = _run("--define", "KAMAILIO_DB_MODE=7", configuration)
    assert unknown.returncode == 2
    assert "KAMAILIO_DB_MODE is one of 1 2 3" in unknown.stderr


def test_who_may_not_write_is_told_so(configuration: Path) -> None:
    """The message names the file's owner, and nothing is left behind. Here root lacks the capability."""
    directory = configuration.parent
    before = {path.name: path.read_bytes() for path in directory.iterdir()}
    directory.chmod(0o555)
    as_anybody = ["setpriv", "--inh-caps=-dac_override", "--bounding-set=-dac_override"] if os.geteuid() == 0 else []
    refused = subprocess.run(
        [*as_anybody, COMMAND, "patch", "--write", configuration], capture_output=True, encoding="utf-8", check=False
    )
    directory.chmod(0o755)
    assert refused.returncode == 1
    assert f"run it as root or as the owner of {configuration}" in refused.stderr
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == before


@pytest.mark.parametrize("line_end", ["\n", "\r\n"], ids=["LF", "CRLF"])
@pytest.mark.parametrize("features", [("WITH_AUTH",), ("WITH_NAT",), ("WITH_AUTH", "WITH_JSONRPC")], ids="+".join)
def test_a_phone_registers_at_the_patched_stock_kamailio(
    kamdbctl_url: str, tmp_path: Path, features: tuple[str, ...], line_end: str
) -> None:
    """On a migrated kamdbctl database the binding is in the view at once, with its source address."""
    migrate(DatabaseSettings(database_url=kamdbctl_url))
    with (
        psycopg.connect(kamdbctl_url, autocommit=True) as database,
        stock_proxy(tmp_path, database_url=kamdbctl_url, features=features) as proxy,
    ):
        database.execute("insert into account (id, name, realm) values ('a', 'A', 'example.com')")
        database.execute("insert into subscriber (username, domain, password) values ('anna', 'example.com', 'secret')")
        text = _stock().replace('"db_mode", 2', '"db_mode", 1')
        proxy.configuration.write_bytes(text.replace("\n", line_end).encode())
        written = _run("--write", proxy.configuration)
        assert written.returncode == 0, written.stderr
        proxy.start()
        phone = Phone("anna", "example.com", "secret", proxy=("127.0.0.1", proxy.port))
        assert phone.register().ok
        row = database.execute("select username, realm, source_ip, source_port, expires_at > now() from registrations")
        assert row.fetchall() == [("anna", "example.com", "127.0.0.1", str(phone.local[1]), True)]
        assert phone.unregister().ok
        assert database.execute("select count(*) from location").fetchone() == (0,)
        phone.close()
