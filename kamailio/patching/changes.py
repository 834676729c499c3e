"""What the edits of a kamailio.cfg change for the proxy: which changes `patch` refuses, and which it reports.

Compares the configuration before and after the edits, so it needs no list of what registrations.cfg sets.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from kamailio.patching.edits import INCLUDE, INTERIM
from kamailio.patching.file import include, read_included
from kamailio.patching.preprocessor import Place
from kamailio.patching.reading import Parameter, Reading, as_number, read_configuration
from kamailio.patching.script import NotUnderstood
from kamailio.patching.values import OWN_VALUES

HTTP = 1  # bit of jsonrpcs' transport
DEFAULT_TRANSPORT = 6  # FIFO and datagram
WITH_ROWS = (1, 2, 3)
# A modparam of these names adds a value; any other replaces the one before.
_ADDING = frozenset({"shvset", "htable", "mqueue", "event", "sqlcon"})
_CALL = re.compile(r"^[ \t]*(route\(REGISTRATIONS_\w+\);)", re.MULTILINE)


class Change:
    """A kamailio.cfg on disk and with the edits."""

    def __init__(self, file: Path, *, now: str, after: str) -> None:
        """Read the file and what it includes, before and after the edits, which bring a new registrations.cfg."""

        def reading(text: str, included: str | None) -> Reading:
            def at(path: Path) -> str | None:
                return included if path.name == INCLUDE and included is not None else read_included(path)

            return read_configuration(text, file, text_at=at)

        self._file, self._text, self._text_now = file, after, now
        self.now, self.after = reading(now, None), reading(after, include())
        self._edited = reading(after, "")

    def _given(self, name: str) -> str | None:
        """Return the value that a define or the environment gives to registrations.cfg."""
        return self._edited.defined(name) or os.environ.get(name)

    def _own(self, module: str, name: str) -> Parameter | None:
        """Return the operator's own modparam in force."""
        own = (each for each in reversed(self.now.parameters) if each.place.path.name not in (INCLUDE, INTERIM))
        return next((each for each in own if (each.module, each.name) == (module, name)), None)

    def _at(self, place: Place) -> str:
        return f"line {place.line}" if place.path == self._file else str(place)

    def _line_of(self, text: str) -> str:
        before, found, _ = self._text_now.partition(text)
        return f"line {before.count(chr(10)) + 1}" if found else "its last line"

    def refuse_harm(self) -> None:
        """Refuse edits that would harm the proxy.

        Raises:
            NotUnderstood: says what, where, and what to do.
        """
        self._refuse_unread()
        self._refuse_unknown_values()
        self._refuse_no_rows()
        self._refuse_lone_socket()
        self._refuse_lost_rows()
        self._refuse_transport()

    def _refuse_unread(self) -> None:
        if all(each.place.path.name != INCLUDE for each in self.after.parameters):
            raise NotUnderstood(
                f"{INCLUDE} would not be read: a comment or an #!ifdef is still open at the end of the file"
            )

    def _refuse_unknown_values(self) -> None:
        for name, own in OWN_VALUES.items():
            found = self._own("usrloc", name)
            if found is None or self._given(f"KAMAILIO_{name.upper()}") is not None:
                continue
            if self._edited.defined(own) != found.value:
                raise NotUnderstood(
                    f"{self._at(found.place)}: usrloc's {name} is {found.value} in a file that `patch` does not edit: "
                    f"add the line `#!redefine {own} {found.value}` below it"
                )

    def _refuse_no_rows(self) -> None:
        if "usrloc" not in self.now.modules:
            raise NotUnderstood("it does not load the module usrloc")
        found = self._own("usrloc", "db_mode")
        mode = self._given("KAMAILIO_DB_MODE") or (found.value if found else "0")
        choose = "or use --define KAMAILIO_DB_MODE=1, 2 or 3"
        if as_number(mode) not in WITH_ROWS:
            where = self._at(found.place) if found else self._line_of('"db_mode"')
            raise NotUnderstood(
                f"{where}: usrloc's db_mode is {mode}, so it keeps its bindings in memory only and there is nothing "
                f"to list: define WITH_USRLOCDB if your file has it, {choose}"
            )
        url = self._own("usrloc", "db_url")
        scheme = re.match(r"(\w+):", url.value) if url else None
        is_elsewhere = scheme is not None and scheme[1] not in ("postgres", "postgresql")
        if self._given("KAMAILIO_DB_URL") is None and (url is None or is_elsewhere):
            where = (
                f"{self._at(url.place)}: usrloc's db_url begins with {scheme[1]}:"
                if url and scheme
                else "usrloc has no db_url"
            )
            raise NotUnderstood(
                f"{where}, but its rows must be in PostgreSQL: set a db_url that begins with postgres://, or use "
                "--define 'KAMAILIO_DB_URL=\"postgres://user:password@host/database\"'"
            )

    def _refuse_lone_socket(self) -> None:
        if self.after.sockets and not self.now.sockets:
            (socket, place), *_ = self.after.sockets.items()
            raise NotUnderstood(
                f"{self._at(place)}: listen={socket} would be the only listen= line. Kamailio would then no longer "
                "find its addresses by itself, and no phone would reach it: add a listen= line for each address that "
                "phones use, or leave out KAMAILIO_RPC_LISTEN and use Kamailio's datagram socket"
            )

    def _refuse_lost_rows(self) -> None:
        before, after = _server_id(self.now), _server_id(self.after)
        if before == after or not self.after.number("usrloc", "server_id_filter", default=0):
            return
        found = self._own("usrloc", "server_id_filter")
        where = self._at(found.place) if found else "KAMAILIO_SERVER_ID_FILTER"
        raise NotUnderstood(
            f"{where}: with server_id_filter Kamailio loads and cleans only the rows of its own server_id. Server "
            f"{after} would forget the rows of {before}, and nobody would delete them: set the server_id first, and "
            "the filter when `registrations-sync check` finds no row of another server_id"
        )

    def _refuse_transport(self) -> None:
        own = self._own("jsonrpcs", "transport")
        now = self.after.number("jsonrpcs", "transport", default=DEFAULT_TRANSPORT)
        had = as_number(own.value) if own else None
        if own is None or had is None or now == had or self._given("KAMAILIO_RPC_TRANSPORT") is not None:
            return
        wanted = had | HTTP if had else had  # 0 means every way
        if now != wanted:
            raise NotUnderstood(
                f"{self._at(own.place)}: jsonrpcs' transport is {own.value}, and {now} would open more transports: use "
                f"--define KAMAILIO_RPC_TRANSPORT={wanted}"
            )

    def told(self) -> list[str]:
        """Return one line for each change."""
        now, after = self.now, self.after
        return [
            *self._told_parameters(),
            *(f"module {name} is loaded" for name in after.modules if name not in now.modules),
            *(f"module {name} is no longer loaded" for name in now.modules if name not in after.modules),
            *self._told_settings(),
            *(f"Kamailio also listens on {socket}" for socket in after.sockets if socket not in now.sockets),
            *(f"Kamailio no longer listens on {socket}" for socket in now.sockets if socket not in after.sockets),
            *self._told_calls(),
        ]

    def _told_parameters(self) -> Iterator[str]:
        now, after = self.now, self.after
        for module, name in dict.fromkeys((each.module, each.name) for each in (*now.parameters, *after.parameters)):
            had, has = now.parameter(module, name), after.parameter(module, name)
            if module not in now.modules or module not in after.modules or _meaning(had) == _meaning(has):
                continue
            if name in _ADDING:
                more = [value for value in _values(after, module, name) if value not in _values(now, module, name)]
                yield f"{module}: {name} also has {', '.join(value.partition('=')[0] for value in more)}"
                continue
            why = f" ({has.why})" if has and has.why else ""
            yield f"{module}: {name} changes from {_harmless(had)} to {_harmless(has)}{why}"

    def _told_settings(self) -> Iterator[str]:
        for name in dict.fromkeys((*self.now.settings, *self.after.settings)):
            had, has = (reading.settings.get(name, "Kamailio's default") for reading in (self.now, self.after))
            if had != has:
                yield f"{name} changes from {had} to {has}"

    def _told_calls(self) -> Iterator[str]:
        had = Counter(call[1] for call in _CALL.finditer(self._text_now))
        for call in _CALL.finditer(self._text):
            had[call[1]] -= 1
            if had[call[1]] < 0:
                yield f"{call[1]} is called, in line {self._text.count(chr(10), 0, call.start(1)) + 1}"


def _server_id(reading: Reading) -> int | None:
    return as_number(reading.settings.get("server_id", "0"))


def _values(reading: Reading, module: str, name: str) -> list[str]:
    return [each.value for each in reading.parameters if (each.module, each.name) == (module, name)]


def _meaning(parameter: Parameter | None) -> int | str | None:
    if parameter is None:
        return None
    number = as_number(parameter.value)
    return parameter.value if number is None else number


def _harmless(parameter: Parameter | None) -> str:
    """Return the value without its password."""
    return re.sub(r"://[^@]*@", "://...@", parameter.value) if parameter else "Kamailio's default"
