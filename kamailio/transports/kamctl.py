"""JSON-RPC by running kamctl, for those who allow nothing else; it asks by FIFO (kamctl.rpcfifo).

An answer counts when its id is the process id of our kamctl. Other users can guess that, and kamctl takes no id of ours
that they could not read among its arguments: where they may write into the directory of the replies, they may answer.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import shutil
import signal
import subprocess
from pathlib import Path
from urllib.parse import parse_qs

from kamailio.errors import KamailioUnreachable, NotCarried
from kamailio.transports.base import Answer, Request, reason, remaining

PLACES = ("/usr/sbin", "/usr/local/sbin")  # where it lies, and a service's PATH does not look
LINE_END = "\r\n"
LINE_END_WORD = "=CRLF="  # what kamctl, told so by "=", makes a line end of
# kamctl puts words between quotes, unescaped, and makes the whole a format of printf(1)
BROKEN = re.compile(r'["\\%\x00-\x1f]')
METHOD = re.compile(r"[A-Za-z][\w.]*", re.ASCII)
TMP = "/tmp"  # noqa: S108 - in this directory, below $CHROOT_DIR, kamctl reads its answers
REPLY_DIRECTORY = re.compile(rf"(|/.*){TMP}/?")
REPLY_FIFO = "kamailio_receiver_"  # kamctl's choice; its process id follows
OWN_MEMBERS = 100  # bytes of the request, at most, that are kamctl's: "jsonrpc", "id", "reply_name"


class KamctlTransport:
    """One process for each request, one at a time; no shell reads what it is given."""

    window = 1

    def __init__(self, url: str) -> None:
        scheme, _, rest = url.partition(":")
        command, _, query = rest.partition("?")
        options = parse_qs(query, keep_blank_values=True)
        fifo = options.pop("fifo", [None])[-1]
        directory = options.pop("reply_dir", [os.environ.get("CHROOT_DIR", "") + TMP])[-1]
        tmp = REPLY_DIRECTORY.fullmatch(directory)
        paths_are_whole = command[:1] in ("", "/") and (fifo is None or fifo[:1] == "/")
        if scheme != "kamctl" or options or tmp is None or not paths_are_whole:
            raise ValueError(f"not kamctl: or kamctl:/path, with or without ?fifo=/path&reply_dir=/path/tmp/: {url!r}")
        self.url = url
        self.reply_directory = Path(directory)
        self._command = command
        self._variables = {"LC_ALL": "C", "EXPAND": "cat", "CHROOT_DIR": tmp[1]}  # bytes as bytes, a tab as a tab
        if fifo is not None:
            self._variables["RPCFIFOPATH"] = fifo
        self._running: tuple[subprocess.Popen[bytes], int] | None = None  # and the id that was asked for

    def send(self, request: Request, *, deadline: float) -> None:  # noqa: ARG002 - nothing here can take long
        """Start kamctl; see `Transport.send`."""
        self.close()
        words = self._words(request)
        command = self._command or shutil.which("kamctl", path=os.pathsep.join((os.environ.get("PATH", ""), *PLACES)))
        if not command:
            raise KamailioUnreachable(self.url, "there is no kamctl")
        try:
            process = subprocess.Popen(  # noqa: S603 - no shell, and every word is checked
                [command, "rpc", *words],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**os.environ, **self._variables},
                start_new_session=True,
            )
        except OSError as error:
            raise KamailioUnreachable(self.url, reason(error)) from error
        self._running = process, request.id

    def receive(self, *, deadline: float) -> Answer:
        """Return what kamctl prints, which is Kamailio's answer but for the id; see `Transport.receive`."""
        if self._running is None:
            raise KamailioUnreachable(self.url, "nothing was sent")
        process, request_id = self._running
        try:
            output, errors = process.communicate(timeout=remaining(deadline))
        except (OSError, subprocess.TimeoutExpired) as error:
            raise KamailioUnreachable(self.url, "no answer in time") from error
        finally:
            self.close()
        if not output.strip() or process.returncode:
            said = " ".join((errors or output).decode(errors="replace").split())
            raise KamailioUnreachable(self.url, f"kamctl ended with status {process.returncode}: {said:.300}")
        # kamctl asks with its process id; which request it was asked for only we know
        own_id = re.compile(rb'("id"\s*:\s*)%d(\s*}\s*)\Z' % process.pid)
        return Answer(own_id.sub(rb"\g<1>%d\g<2>" % request_id, output))

    def close(self) -> None:
        """End kamctl, and remove what it leaves behind when it is killed; see `Transport.close`."""
        if self._running is None:
            return
        process, _ = self._running
        self._running = None
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            with contextlib.suppress(OSError):
                (self.reply_directory / f"{REPLY_FIFO}{process.pid}").unlink()
            process.wait()
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()

    def _words(self, request: Request) -> list[bytes]:
        """The arguments of `kamctl rpc`, in such a form that Kamailio is asked for just that."""

        def refuse(why: str) -> NotCarried:
            return NotCarried(self.url, why, request.method)

        if not METHOD.fullmatch(request.method):
            raise refuse("a method that is no word")
        line_ends = any(isinstance(value, str) and LINE_END in value for value in request.params)
        words = ["=", request.method] if line_ends else [request.method]
        for position, value in enumerate(request.params):
            if isinstance(value, int) and not isinstance(value, bool):
                words.append(f"i:{value}")
                continue
            if not isinstance(value, str):
                raise refuse(f"{value!r} is neither text nor a number")
            text = value
            if line_ends and position:  # the first argument has no such meaning
                if LINE_END_WORD in text:
                    raise refuse(f"{LINE_END_WORD} in {value!r}")
                text = text.replace(LINE_END, LINE_END_WORD)
            if broken := BROKEN.search(text):
                raise refuse(f"{broken.group()!r} in {value!r}")
            words.append(f"s:{text}")
        encoded = [word.encode("utf-8", "surrogateescape") for word in words]
        if (size := sum(len(word) + 4 for word in encoded) + OWN_MEMBERS) > select.PIPE_BUF:
            raise refuse(f"{size} bytes, of at most {select.PIPE_BUF}")
        return encoded
