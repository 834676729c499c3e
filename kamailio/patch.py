"""The edits that make an operator's kamailio.cfg load registrations.cfg: which they are, made and taken out again.

Works on text, whole lines at a time: what is there stays, our lines stand between two marks, and without them the text
is what it was. Knows nothing of files.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

INCLUDE = "registrations.cfg"
BEGIN = "# registrations: begin"
END = "# registrations: end"
# The last line of the file had no line end, so we gave it one.
BEGIN_MENDED = f"{BEGIN}, after a line without end"
# A mark whose other was lost must not take the operator's lines up to the next one for ours.
_BLOCK = re.compile(
    rf"(?P<before>\r?\n)?^{BEGIN}(?P<mended>, after a line without end)?\r?\n(?P<body>(?:(?!^{BEGIN}).)*?)^{END}\r?\n",
    re.MULTILINE | re.DOTALL,
)
_NO_CODE = re.compile(r"(?s:/\*.*?\*/)|#.*|//.*")
_STRING = re.compile(r'"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\'')
BY_HAND = "edit it by hand as the first lines of registrations.cfg say"
# Events whose route a configuration has but once: the define that keeps ours out, and the route that is called instead.
_EVENTS = {
    "xhttp:request": ("REGISTRATIONS_OWN_XHTTP", "REGISTRATIONS_RPC"),
    "core:worker-one-init": ("REGISTRATIONS_OWN_WORKER_ONE_INIT", "REGISTRATIONS_LOADED"),
}


class NotUnderstood(Exception):
    """The configuration is written in a way that is not edited by us; the message says what, where, and what to do."""


@dataclass(frozen=True)
class _Insertion:
    at: int  # an offset at which a line begins
    lines: list[str]


def patched(text: str, *, defines: Mapping[str, str]) -> str:
    """Return the configuration with our edits, whether it has them already or not.

    Args:
        text: a kamailio.cfg.
        defines: values that registrations.cfg is to have, as they stand in a `#!define`; without any those stay
            that an earlier edit gave it.

    Raises:
        NotUnderstood: nothing was changed.
    """
    bare = unpatched(text)
    newline = "\r\n" if "\r\n" in bare else "\n"
    code = _Code(bare)
    code.refuse_edits_by_hand()
    code.refuse_our_branch_flag()
    insertions = [
        *_before_auth(code, ha1=_says(code, defines, "REGISTRATIONS_AUTH_HA1")),
        *_round_save(code),
        *_in_event_routes(code),
        _at_the_end(code, text, defines),
    ]
    for each in sorted(insertions, key=lambda each: each.at, reverse=True):
        code.refuse_within_a_comment(each.at)
        begin, before = BEGIN, ""
        if each.at == len(bare) and bare and not bare.endswith("\n"):
            begin, before = BEGIN_MENDED, newline
        # Kamailio takes a carriage return for a part of the value.
        block = "".join(
            line + ("\n" if line.startswith("#!define ") else newline) for line in [begin, *each.lines, END]
        )
        bare = bare[: each.at] + before + block + bare[each.at :]
    return bare


def unpatched(text: str) -> str:
    """Return the configuration without our edits.

    Raises:
        NotUnderstood: a mark of ours has lost its other.
    """
    bare = _BLOCK.sub(lambda block: "" if block["mended"] else (block["before"] or ""), text)
    left = re.search(f"{BEGIN}|{END}", bare)
    if left:
        raise NotUnderstood(
            f"line {_line(bare, left.start())}: {left[0]!r} stands without its other; take out by hand what is ours"
        )
    return bare


def _line(text: str, offset: int) -> int:
    return text.count("\n", 0, offset) + 1


class _Code:
    """A configuration, and the same with spaces for what is no code, so that offsets are the same."""

    def __init__(self, text: str) -> None:
        self.text = text
        tokens = re.compile(f"{_STRING.pattern}|{_NO_CODE.pattern}")
        self.uncommented = tokens.sub(lambda found: found[0] if found[0][0] in "\"'" else _blank(found[0]), text)
        self.bare = tokens.sub(lambda found: _blank(found[0]), text)
        self._spans = [found.span() for found in tokens.finditer(text)]

    def refuse_edits_by_hand(self) -> None:
        found = re.search(
            rf'route\s*\(\s*"?REGISTRATIONS_|^\s*(include|import)_file\s+"[^"]*{INCLUDE}"',
            self.uncommented,
            re.MULTILINE,
        )
        if found:
            raise NotUnderstood(
                f"line {_line(self.text, found.end())}: edited by hand already: take that out, or go on by hand"
            )

    def refuse_our_branch_flag(self) -> None:
        # The operator may have a name for it: by #!define, or by #!substdef with any delimiter.
        defines = r'^#!(?:(?:re|try)?def(?:ine)?[ \t]+(\w+)[ \t]+29\b|substdefs?[ \t]+"(.)(\w+)\2"?29\b)'
        names = [found[1] or found[3] for found in re.finditer(defines, self.text, re.MULTILINE)]
        used = re.search(rf"bflag\w*\W[^;\n]*\b(?:{'|'.join(['29', *names])})\b", self.uncommented)
        if used:
            line = _line(self.text, used.start())
            raise NotUnderstood(f"line {line}: registrations.cfg uses branch flag 29; take another one here")

    def is_within_a_comment(self, offset: int) -> bool:
        return any(start < offset < end for start, end in self._spans)

    def refuse_within_a_comment(self, offset: int) -> None:
        if self.is_within_a_comment(offset):
            raise NotUnderstood(f"line {_line(self.text, offset)}: a comment or a string goes on there: {BY_HAND}")

    def block(self, header: str) -> tuple[int, int] | None:
        """Offsets of the braces of the route with that header; None when there is none."""
        found = re.search(header + r"\s*\{", self.uncommented)
        if found is None:
            return None
        return found.end() - 1, self.closing(found.end() - 1)

    def closing(self, opening: int) -> int:
        """Offset of the brace that closes the one there."""
        depth = 0
        for found in re.compile("[{}]").finditer(self.bare, opening):
            depth += 1 if found[0] == "{" else -1
            if depth == 0:
                return found.start()
        raise NotUnderstood(f"line {_line(self.text, opening)}: this brace is never closed")

    def line_start(self, offset: int) -> int:
        return self.text.rfind("\n", 0, offset) + 1

    def next_line(self, offset: int) -> int:
        """Where the line after that offset begins; refuses code that would be torn apart."""
        end = self.text.find("\n", offset)
        end = len(self.text) if end < 0 else end + 1
        if self.bare[offset:end].strip():
            raise NotUnderstood(
                f"line {_line(self.text, offset)}: there is more after {self.text[offset - 1]!r}; "
                "begin a new line there, then try again"
            )
        return end


def _blank(text: str) -> str:
    return re.sub(r"[^\r\n]", " ", text)


def _before_auth(code: _Code, *, ha1: bool) -> Iterator[_Insertion]:
    """The call before each check of a password; it does nothing but with the directory's users (`ha1`)."""
    for found in re.finditer(r"\b(auth_check|(www|proxy)_authenticate)\s*\(", code.uncommented):
        start = code.line_start(found.start())
        statement = re.compile(r"\s*if\s*\(\s*!?\s*").fullmatch(code.uncommented, start, found.start())
        if statement and re.search(r"[{};]\s*\Z", code.bare[:start]) and not code.is_within_a_comment(start):
            indent = re.match(r"[ \t]*", code.text[start:])
            yield _Insertion(start, [f"{indent[0] if indent else ''}route(REGISTRATIONS_PREAUTH);"])
        elif ha1:
            raise NotUnderstood(
                f"line {_line(code.text, found.start())}: {found[1]} does not stand as if (!{found[1]}(...)) on a "
                f"line of its own: {BY_HAND}"
            )


def _round_save(code: _Code) -> Iterator[_Insertion]:
    registrar = code.block(r'\broute\s*\[\s*"?REGISTRAR"?\s*\]')
    if registrar is None:
        raise NotUnderstood(f"there is no route[REGISTRAR]: {BY_HAND}")
    saves = list(re.finditer(r'\bsave\s*\(\s*"location"', code.uncommented))
    if len(saves) != 1 or not registrar[0] < saves[0].start() < registrar[1]:
        lines = ", ".join(str(_line(code.text, each.start())) for each in saves)
        where = f"in line {lines}" if saves else "nowhere"
        raise NotUnderstood(f'save("location") must stand once, in route[REGISTRAR]; it stands {where}: {BY_HAND}')
    statement = re.compile(r'\bif\s*\(\s*!\s*save\s*\(\s*"location"[^()]*\)\s*\)\s*{')
    start = code.line_start(saves[0].start())
    found = statement.search(code.uncommented, start)
    number = _line(code.text, saves[0].start())
    if (
        found is None
        or found.start() > saves[0].start()
        or code.bare[start : found.start()].strip()
        or not re.search(r"[{};]\s*\Z", code.bare[:start])
    ):
        raise NotUnderstood(
            f'line {number}: save("location") does not stand there as if (!save("location")) {{ ... }} on lines of its '
            f"own: {BY_HAND}"
        )
    closing = code.closing(found.end() - 1)
    if re.match(r"\s*else\b", code.bare[closing + 1 :]):
        raise NotUnderstood(
            f"line {_line(code.text, closing)}: the if of save has an else already: put route(REGISTRATIONS_PRESAVE); "
            "and route(REGISTRATIONS_POSTSAVE); there by hand"
        )
    indent = code.text[start : found.start()]
    yield _Insertion(start, [f"{indent}route(REGISTRATIONS_PRESAVE);"])
    yield _Insertion(
        code.next_line(closing + 1), [f"{indent}else {{", f"{indent}\troute(REGISTRATIONS_POSTSAVE);", f"{indent}}}"]
    )


def _in_event_routes(code: _Code) -> Iterator[_Insertion]:
    for event, (define, route) in _EVENTS.items():
        block = code.block(rf"\bevent_route\s*\[\s*{re.escape(event)}\s*\]")
        if block:
            yield _Insertion(code.next_line(block[0] + 1), [f"#!define {define}", f"\troute({route});"])


def _at_the_end(code: _Code, text: str, defines: Mapping[str, str]) -> _Insertion:
    earlier = [block["body"].splitlines() for block in _BLOCK.finditer(text) if f'"{INCLUDE}"' in block["body"]]
    if earlier and not defines:
        return _Insertion(len(code.text), earlier[0])
    # What registrations.cfg would set to its own defaults is to stay as this proxy has it: its rows are of that kind.
    lines = []
    expires_type = _usrloc_parameter(code, "expires_type") or "0"
    if not _says(code, defines, "KAMAILIO_EXPIRES_TYPE"):
        lines += [f"#!define KAMAILIO_EXPIRES_TYPE {_number('expires_type', expires_type)}"]
    use_domain = _usrloc_parameter(code, "use_domain") or "0"
    if not _says(code, defines, "KAMAILIO_USE_DOMAIN"):
        if use_domain == "MULTIDOMAIN":
            lines += ["#!ifdef WITH_MULTIDOMAIN", "#!define KAMAILIO_USE_DOMAIN 1", "#!else"]
            lines += ["#!define KAMAILIO_USE_DOMAIN 0", "#!endif"]
        else:
            lines += [f"#!define KAMAILIO_USE_DOMAIN {_number('use_domain', use_domain)}"]
    lines += [f"#!define {name} {value}" for name, value in defines.items()]
    return _Insertion(len(code.text), [*lines, f'include_file "{INCLUDE}"'])


def _says(code: _Code, defines: Mapping[str, str], name: str) -> bool:
    return name in defines or re.search(rf"^#!\w+ {name}\b", code.text, re.MULTILINE) is not None


def _usrloc_parameter(code: _Code, name: str) -> str | None:
    """The value that usrloc has by this text, as it is written there: the last one wins."""
    values = re.findall(rf'\bmodparam\s*\(\s*"[^"]*\busrloc\b[^"]*"\s*,\s*"{name}"\s*,\s*(\w+)\s*\)', code.uncommented)
    return values[-1] if values else None


def _number(name: str, value: str) -> str:
    if not value.isdecimal():
        raise NotUnderstood(
            f"usrloc's {name} is {value} here, not a number: say it as --define KAMAILIO_{name.upper()}=0 or =1"
        )
    return value
