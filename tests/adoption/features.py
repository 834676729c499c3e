"""The table of what an operator has switched on in the stock file, and every combination that is run.

A new feature is one line of FEATURES; it is then run alone and together with all others, in each db_mode.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

DB_MODES = (1, 2, 3)
END_OF_MODULES = "####### Routing Logic ########\n"
"""A line of the stock file behind the last modparam and before the first route."""


@dataclass(frozen=True)
class Feature:
    """One thing that an operator has switched on.

    Attributes:
        name: how the table and the tests name it.
        defines: names for `#!define` in kamailio-local.cfg.
        modules: lines behind the stock file's last modparam: modules, parameters, routes.
        edits: text of the stock file, and what the operator has instead.
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
    ),  # no pings by the clock
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
# Together with the others they would leave nothing to see: the first changes nothing, the last forgets phones.
APART = ("plain", "own parameters")
# What the test needs, in both runs: it does not wait for half a minute where nobody answers, and a phone may ask for a
# second. The clean-up comes when the test asks for it, so that both runs show the same at the same step.
TEST_BED = """modparam("tm", "fr_timer", 3000)
modparam("registrar", "min_expires", 1)
modparam("usrloc", "timer_interval", 3600)
"""


@dataclass(frozen=True)
class Combination:
    """Features, and how usrloc uses the database.

    Attributes:
        features: names of FEATURES.
        db_mode: of usrloc; 0 is the stock file without WITH_USRLOCDB, which keeps bindings in memory alone.
    """

    features: tuple[str, ...]
    db_mode: int

    def __str__(self) -> str:
        what = " + ".join(self.features) if len(self.features) <= 3 else "all features"
        return f"{what}, db_mode {self.db_mode}"

    def has(self, *names: str) -> bool:
        """Whether one of these features is on."""
        return not set(names).isdisjoint(self.features)

    @property
    def parts(self) -> list[Feature]:
        """What its features are."""
        return [each for each in FEATURES if each.name in self.features]

    @property
    def defines(self) -> list[str]:
        """For `#!define`, each once."""
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
