"""JSON-RPC by running kamctl, for sites that allow nothing else. kamctl itself uses a FIFO (kamctl.rpcfifo).

We accept an answer whose id is the process id of our kamctl. Other users can guess it, so a user who may write into the
directory of the reply FIFOs can forge answers. kamctl takes no secret id: everybody could read it in its arguments.
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

PLACES = ("/usr/sbin", "/usr/local/sbin")  # searched besides PATH
LINE_END = "\r\n"
LINE_END_WORD = "=CRLF="  # kamctl replaces it by a line end if its first argument is "="
# kamctl puts words between quotes without escaping, and passes the result to printf(1) as a format.
BROKEN = re.compile(r'["\\%\x00-\x1f]')
METHOD = re.compile(r"[A-Za-z][\w.]*", re.ASCII)
TMP = "/tmp"  # noqa: S108 - directory of kamctl's reply FIFOs, below $CHROOT_DIR
REPLY_DIRECTORY = re.compile(rf"(|/.*){TMP}/?")
REPLY_FIFO = "kamailio_receiver_"  # kamctl's name for it; the process id follows
OWN_MEMBERS = 100  # bytes at most that kamctl adds to a request: "jsonrpc", "id", "reply_name"


class KamctlTransport:
    """One process for each request, one at a time. No shell interprets the arguments."""

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
        # kamctl must not change bytes (LC_ALL) or tabs (EXPAND).
        self._variables = {"LC_ALL": "C", "EXPAND": "cat", "CHROOT_DIR": tmp[1]}
        if fifo is not None:
            self._variables["RPCFIFOPATH"] = fifo
        self._running: tuple[subprocess.Popen[bytes], int] | None = None  # process, and id of the request

    def send(self, request: Request, *, deadline: float) -> None:  # noqa: ARG002 - starting a process is quick
        """Start kamctl. See `Transport.send`."""
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
        """Return what kamctl prints: Kamailio's answer with another id. See `Transport.receive`."""
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
        # kamctl uses its process id as the id, so put in the id of our request.
        own_id = re.compile(rb'("id"\s*:\s*)%d(\s*}\s*)\Z' % process.pid)
        return Answer(own_id.sub(rb"\g<1>%d\g<2>" % request_id, output))

    def close(self) -> None:
        """Kill kamctl if it still runs, and remove its reply FIFO. See `Transport.close`."""
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
        """Return the arguments of `kamctl rpc`. Refuse a request that kamctl would change."""

        def refuse(why: str) -> NotCarried:
            return NotCarried(self.url, why, request.method)

        if not METHOD.fullmatch(request.method):
            raise refuse("the method is not a word")
        line_ends = any(isinstance(value, str) and LINE_END in value for value in request.params)
        words = ["=", request.method] if line_ends else [request.method]
        for position, value in enumerate(request.params):
            if isinstance(value, int) and not isinstance(value, bool):
                words.append(f"i:{value}")
                continue
            if not isinstance(value, str):
                raise refuse(f"{value!r} is neither text nor an integer")
            text = value
            if line_ends and position:  # kamctl does not replace it in the first argument
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
