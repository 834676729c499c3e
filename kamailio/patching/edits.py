"""The edits that make an operator's kamailio.cfg load registrations.cfg.

Owns which lines they are, and how to insert and remove them. It inserts whole lines between two marks and changes no
other line, so removing them restores the text. `kamailio.patching.file` owns the files.
"""

import re
from collections.abc import Iterator, Mapping
from itertools import groupby
from operator import attrgetter

from kamailio.patching.script import BY_HAND, Insertion, NotUnderstood, Script, line_at
from kamailio.patching.values import below_parameters

INCLUDE = "registrations.cfg"
# The new include's name while `patch` replaces both files. It remains if somebody kills `patch` at that moment.
INTERIM = "registrations-new.cfg"
BEGIN = "# registrations: begin"
END = "# registrations: end"
# Mark of an edit that added a line end to the file's last line.
BEGIN_MENDED = f"{BEGIN}, after a line without end"
# A block contains no second begin mark, so that a missing end mark does not make the operator's lines ours.
_BLOCK = re.compile(
    rf"(?P<before>\r?\n)?^{BEGIN}(?P<mended>, after a line without end)?\r?\n(?P<body>(?:(?!^{BEGIN}).)*?)^{END}\r?\n",
    re.MULTILINE | re.DOTALL,
)
# A configuration may have only one route for each of these events. If the operator has one, the define leaves out ours,
# and the edit calls our route from his.
_EVENTS = {
    "xhttp:request": ("REGISTRATIONS_OWN_XHTTP", "REGISTRATIONS_RPC"),
    "core:worker-one-init": ("REGISTRATIONS_OWN_WORKER_ONE_INIT", "REGISTRATIONS_LOADED"),
}


def patched(text: str, *, defines: Mapping[str, str]) -> str:
    """Return the configuration with our edits, whether it has them already or not.

    Args:
        text: a kamailio.cfg.
        defines: values for registrations.cfg, as in a `#!define`. If empty, keep the values of an earlier edit.

    Raises:
        NotUnderstood: we cannot edit this configuration.
    """
    bare = unpatched(text)
    newline = "\r\n" if "\r\n" in bare else "\n"
    script = Script(bare)
    _refuse_edits_by_hand(script)
    insertions = [
        *below_parameters(script, defines),
        *_before_auth(script, ha1=script.gives(defines, "REGISTRATIONS_AUTH_HA1")),
        *_round_save(script),
        *_in_event_routes(script),
        _at_the_end(script, text, defines),
    ]
    insertions.sort(key=attrgetter("at"))
    for at, there in reversed([(at, list(group)) for at, group in groupby(insertions, key=attrgetter("at"))]):
        script.refuse_within_a_comment(at)
        mended = at == len(bare) and bare != "" and not bare.endswith("\n")
        blocks = newline if mended else ""
        for number, each in enumerate(there):
            lines = [BEGIN_MENDED if mended and number == 0 else BEGIN, *each.lines, END]
            # Kamailio reads a carriage return as part of a define's value.
            blocks += "".join(line + ("\n" if line.startswith("#!") else newline) for line in lines)
        bare = bare[:at] + blocks + bare[at:]
    return bare


def unpatched(text: str) -> str:
    """Return the configuration without our edits.

    Raises:
        NotUnderstood: a begin or end mark is missing.
    """
    bare = _BLOCK.sub(lambda block: "" if block["mended"] else (block["before"] or ""), text)
    left = re.search(f"{BEGIN}|{END}", bare)
    if left:
        raise NotUnderstood(
            f"line {line_at(bare, left.start())}: {left[0]!r} lacks its other mark; remove our lines by hand"
        )
    return bare


def _refuse_edits_by_hand(script: Script) -> None:
    found = re.search(
        rf'route\s*\(\s*"?REGISTRATIONS_|^\s*(include|import)_file\s+"[^"]*{INCLUDE}"',
        script.uncommented,
        re.MULTILINE,
    )
    if found:
        raise NotUnderstood(
            f"line {line_at(script.text, found.end())}: it is already edited by hand: remove these edits, or finish "
            "them by hand"
        )


def _before_auth(script: Script, *, ha1: bool) -> Iterator[Insertion]:
    """Call PREAUTH before each password check. The route does nothing unless Kamailio reads the directory (`ha1`)."""
    for found in re.finditer(r"\b(auth_check|(www|proxy)_authenticate)\s*\(", script.uncommented):
        start = script.line_start(found.start())
        statement = re.compile(r"\s*if\s*\(\s*!?\s*").fullmatch(script.uncommented, start, found.start())
        if statement and re.search(r"[{};]\s*\Z", script.bare[:start]) and not script.is_within_a_comment(start):
            indent = re.match(r"[ \t]*", script.text[start:])
            yield Insertion(start, [f"{indent[0] if indent else ''}route(REGISTRATIONS_PREAUTH);"])
        elif ha1:
            raise NotUnderstood(
                f"line {line_at(script.text, found.start())}: {found[1]} must be in the form if (!{found[1]}(...)) on "
                f"its own line: {BY_HAND}"
            )


def _round_save(script: Script) -> Iterator[Insertion]:
    registrar = next(script.blocks(r'\broute\s*\[\s*"?REGISTRAR"?\s*\]'), None)
    if registrar is None:
        raise NotUnderstood(f"there is no route[REGISTRAR]: {BY_HAND}")
    saves = list(re.finditer(r'\bsave\s*\(\s*"location"', script.uncommented))
    if len(saves) != 1 or not registrar[0] < saves[0].start() < registrar[1]:
        lines = ", ".join(str(line_at(script.text, each.start())) for each in saves)
        where = f"it is in line {lines}" if saves else "it is missing"
        raise NotUnderstood(f'save("location") must be in route[REGISTRAR], once, but {where}: {BY_HAND}')
    statement = re.compile(r'\bif\s*\(\s*!\s*save\s*\(\s*"location"[^()]*\)\s*\)\s*{')
    start = script.line_start(saves[0].start())
    found = statement.search(script.uncommented, start)
    number = line_at(script.text, saves[0].start())
    if (
        found is None
        or found.start() > saves[0].start()
        or script.bare[start : found.start()].strip()
        or not re.search(r"[{};]\s*\Z", script.bare[:start])
    ):
        raise NotUnderstood(
            f'line {number}: save("location") must be in the form if (!save("location")) {{ ... }} on its own lines: '
            f"{BY_HAND}"
        )
    closing = script.closing(found.end() - 1)
    if re.match(r"\s*else\b", script.bare[closing + 1 :]):
        raise NotUnderstood(
            f"line {line_at(script.text, closing)}: the if of save() already has an else: add "
            "route(REGISTRATIONS_PRESAVE); and route(REGISTRATIONS_POSTSAVE); by hand"
        )
    indent = script.text[start : found.start()]
    yield Insertion(start, [f"{indent}route(REGISTRATIONS_PRESAVE);"])
    yield Insertion(
        script.next_line(closing + 1), [f"{indent}else {{", f"{indent}\troute(REGISTRATIONS_POSTSAVE);", f"{indent}}}"]
    )


def _in_event_routes(script: Script) -> Iterator[Insertion]:
    for event, (define, route) in _EVENTS.items():
        for block in script.blocks(rf"\bevent_route\s*\[\s*{re.escape(event)}\s*\]"):
            yield Insertion(script.next_line(block[0] + 1), [f"#!define {define}", f"\troute({route});"])


def _at_the_end(script: Script, text: str, defines: Mapping[str, str]) -> Insertion:
    earlier = [
        block["body"].splitlines() for block in _BLOCK.finditer(text) if "\ninclude_file" in f"\n{block['body']}"
    ]
    if earlier and not defines:
        return Insertion(len(script.text), [*earlier[0][:-1], f'include_file "{INCLUDE}"'])
    lines = [f"#!redefine {name} {value}" for name, value in defines.items()]
    return Insertion(len(script.text), [*lines, f'include_file "{INCLUDE}"'])
