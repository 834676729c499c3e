"""The operator's own parameters of usrloc: found in a kamailio.cfg, and passed to registrations.cfg by defines.

Owns which parameters these are. `kamailio.patching.edits` inserts the lines.
"""

import re
from collections.abc import Iterator, Mapping

from kamailio.patching.preprocessor import unquoted
from kamailio.patching.reading import names
from kamailio.patching.script import STRING, Insertion, NotUnderstood, Script, line_at

# registrations.cfg must know these parameters of usrloc. These defines tell it the operator's values.
_PARAMETERS = ("db_mode", "expires_type", "use_domain", "server_id_filter", "matching_mode")
OWN_VALUES = {name: f"REGISTRATIONS_OWN_{name.upper()}" for name in _PARAMETERS}
_MODPARAM = re.compile(rf"\bmodparamx?\s*\((?P<arguments>(?:{STRING.pattern}|\([^()]*\)|[^\"'()])*)\)")


def below_parameters(script: Script, defines: Mapping[str, str]) -> Iterator[Insertion]:
    """Insert a define after each such modparam, inside the same `#!ifdef`."""
    for found in _MODPARAM.finditer(script.uncommented):
        arguments = _arguments(script, found["arguments"])
        if (
            script.bare[found.start()].isspace()  # within a string
            or len(arguments) < 2
            or arguments[1] not in OWN_VALUES
            or not names(arguments[0], "usrloc")
        ):
            continue
        name, line = arguments[1], line_at(script.text, found.start())
        if re.search("[#!]!", script.text[found.start() : found.end()]) or not re.fullmatch(r"-?\w+", arguments[-1]):
            if script.gives(defines, f"KAMAILIO_{name.upper()}"):
                continue
            raise NotUnderstood(
                f"line {line}: cannot read usrloc's {name}: write one number or the name of a #!define, or use "
                f"--define KAMAILIO_{name.upper()}=NUMBER"
            )
        at = script.next_line(found.end())
        if re.search("[#!]!", script.text[found.end() : at]):
            raise NotUnderstood(f"line {line}: a preprocessor directive follows ')'; move it to a line of its own")
        yield Insertion(
            at,
            [
                f"# This is {name} of the modparam above. If you change one, change both.",
                f"#!redefine {OWN_VALUES[name]} {arguments[-1]}",
            ],
        )


def _arguments(script: Script, text: str) -> list[str]:
    """Return the arguments of a modparam: strings without quotes, and a define's string instead of its name."""
    arguments = [""]
    for found in re.finditer(rf"{STRING.pattern}|[^\s,]+?(?=[\s,\"']|\Z)|,", text):
        if found[0] == ",":
            arguments.append("")
        else:
            arguments[-1] += unquoted(found[0]) if found[0][0] in "\"'" else found[0]
    for index, word in enumerate(arguments[:2]):
        define = re.search(rf"^#!\w+[ \t]+{re.escape(word)}[ \t]+({STRING.pattern})", script.text, re.MULTILINE)
        if define:
            arguments[index] = unquoted(define[1])
    return arguments
