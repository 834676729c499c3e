"""The table of features that an operator may have switched on in the stock file, and all combinations to run.

Add a feature as one line of FEATURES. It runs alone and together with all others, in each db_mode.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

DB_MODES = (1, 2, 3)
END_OF_MODULES = "####### Routing Logic ########\n"
"""A line of the stock file between the last modparam and the first route."""


@dataclass(frozen=True)
class Feature:
    """One feature that an operator may have switched on.

    Attributes:
        name: its name in the table and in the tests.
        defines: names for `#!define` in kamailio-local.cfg.
        modules: lines after the stock file's last modparam: modules, parameters, routes.
        edits: text of the stock file, and its replacement.
        statements: SQL that the operator ran before Kamailio started.
    """

    name: str
    defines: tuple[str, ...] = ()
    modules: str = ""
    edits: Mapping[str, str] = field(default_factory=dict)
    statements: tuple[str, ...] = ()


WEBSOCKET = """loadmodule "xhttp.so"
loadmodule "websocket.so"
event_route[xhttp:request] {
	if ($hdr(Upgrade) =~ "websocket" && ws_handle_handshake()) {
		exit;
	}
	xhttp_reply("404", "Not Found", "", "");
}
"""
OWN_PARAMETERS = """modparam("usrloc", "matching_mode", 1)
modparam("usrloc", "handle_lost_tcp", 1)
modparam("usrloc", "db_clean_tcp", 1)
modparam("usrloc", "timer_procs", 2)
server_id=7
"""
ADDRESS = "insert into address (grp, ip_addr, mask, port, tag) values (1, '127.0.0.1', 32, 0, 'Офис “Nord”')"
FEATURES = (
    Feature("plain"),
    Feature("WITH_AUTH", ("WITH_AUTH",)),
    Feature(
        "WITH_NAT", ("WITH_NAT",), modules='modparam("nathelper", "natping_interval", 0)\n'
    ),  # no pings at times that differ between the runs
    Feature(
        "WITH_MULTIDOMAIN",
        ("WITH_MULTIDOMAIN",),
        statements=("insert into domain (domain) values ('example.com'), ('other.example.com')",),
    ),
    Feature("WITH_IPAUTH", ("WITH_AUTH", "WITH_IPAUTH"), statements=(ADDRESS,)),
    Feature("WITH_ALIASDB", ("WITH_ALIASDB",)),
    Feature("websocket", modules=WEBSOCKET),
    Feature("GRUU", modules='modparam("registrar", "gruu_enabled", 1)\n'),
    Feature("outbound", modules='modparam("registrar", "outbound_mode", 1)\n'),
    Feature("Path's received", modules='modparam("registrar", "path_use_received", 1)\n'),
    Feature(
        "long contacts",
        modules='modparam("registrar", "contact_max_size", 1024)\n',
        statements=("alter table location alter column contact type varchar(1024)",),
    ),
    Feature("own parameters", modules=OWN_PARAMETERS),
)
# Not combined with the others: the first changes nothing, and the last forgets the phones that the others need.
APART = ("plain", "own parameters")
# Parameters of the test in both runs: calls without an answer end after three seconds, a phone may register for one
# second, and expired rows are removed only when the test asks, so that both runs show the same at each step.
TEST_BED = """modparam("tm", "fr_timer", 3000)
modparam("registrar", "min_expires", 1)
modparam("usrloc", "timer_interval", 3600)
"""


@dataclass(frozen=True)
class Combination:
    """Features together with a db_mode.

    Attributes:
        features: names of FEATURES.
        db_mode: usrloc's mode. 0 is the stock file without WITH_USRLOCDB, which keeps bindings in memory only.
    """

    features: tuple[str, ...]
    db_mode: int

    def __str__(self) -> str:
        what = " + ".join(self.features) if len(self.features) <= 3 else "all features"
        return f"{what}, db_mode {self.db_mode}"

    def has(self, *names: str) -> bool:
        """Return whether one of these features is on."""
        return not set(names).isdisjoint(self.features)

    @property
    def parts(self) -> list[Feature]:
        """Its features."""
        return [each for each in FEATURES if each.name in self.features]

    @property
    def defines(self) -> list[str]:
        """Names for `#!define`, each once."""
        return list(dict.fromkeys(name for part in self.parts for name in part.defines))

    @property
    def edits(self) -> dict[str, str]:
        """The operator's edits of the stock file."""
        own = "".join(part.modules for part in self.parts)
        mode = {'modparam("usrloc", "db_mode", 2)': f'modparam("usrloc", "db_mode", {self.db_mode})'}
        return {
            **({} if self.db_mode == 0 else mode),
            END_OF_MODULES: TEST_BED + own + END_OF_MODULES,
            **{old: new for part in self.parts for old, new in part.edits.items()},
        }


TOGETHER = tuple(each.name for each in FEATURES if each.name not in APART)
COMBINATIONS = (
    *(Combination((each.name,), mode) for each in FEATURES for mode in DB_MODES),
    *(Combination(TOGETHER, mode) for mode in DB_MODES),
    Combination(("plain",), 0),
)
