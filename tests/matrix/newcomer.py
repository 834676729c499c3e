"""Does what a new user does on a fresh machine: `make demo`, the requests that it suggests, Ctrl-C, `make test`.

Runs inside a root of `make matrix` with the standard library only. Writes one line for each round into matrix.txt.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[2]
ENVIRONMENT = CHECKOUT / ".demo" / "env"
DEMO_SECONDS, END_SECONDS = 600, 30


def demo(log: Path) -> float:
    """Run `make demo`, send a user's requests, and stop it. Return the seconds until it was up."""
    began = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(["make", "demo"], cwd=CHECKOUT, stdout=output, stderr=output, start_new_session=True)
    try:
        while not ENVIRONMENT.exists():
            if process.poll() is not None or time.monotonic() - began > DEMO_SECONDS:
                sys.exit(f"make demo did not come up:\n{log.read_text(errors='replace')[-4000:]}")
            time.sleep(0.2)
        seconds = time.monotonic() - began
        _tour()
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
    process.wait(timeout=END_SECONDS)
    return seconds


def _tour() -> None:
    shell = subprocess.run(
        ["sh", "-c", f". {ENVIRONMENT}; exec env -0"], capture_output=True, check=True, text=True
    ).stdout
    variables = dict(line.split("=", 1) for line in shell.split("\0") if line)
    url = f"{variables['API_URL']}/v2/accounts/{variables['ACCOUNT_ID']}/registrations"
    listed = _ask(url, variables)
    count = _ask(f"{url}/count", variables)["count"]
    if not listed or len(listed) != count:
        sys.exit(f"demo: the list has {len(listed)} registrations, the count is {count}")
    registration = listed[0]
    if not registration["authorizing_id"]:
        sys.exit(f"demo: the worker has not enriched {registration}")
    if _ask(f"{url}/{registration['username']}", variables, method="DELETE") != "ok":
        sys.exit("demo: the flush failed")
    if registration["call_id"] in [each["call_id"] for each in _ask(url, variables)]:
        sys.exit("demo: the list still has the flushed registration")


def _ask(url: str, variables: dict[str, str], *, method: str = "GET") -> Any:
    request = urllib.request.Request(url, method=method, headers={"X-Auth-Token": variables["AUTH_TOKEN"]})
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as response:
        return json.load(response)["data"]


def test(log: Path, targets: str) -> tuple[bool, str]:
    """Run the targets; return whether they passed, and the summary lines of pytest."""
    with log.open("w+") as output:
        process = subprocess.Popen(
            ["make", *targets.split()], cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert process.stdout is not None
        for line in process.stdout:
            output.write(line)
            print(line, end="", flush=True)
        passed = process.wait() == 0
    closing = re.findall(r"^=+ (.*\d+ (?:passed|failed|error).*?) =+$", log.read_text(), re.M)
    return passed, "; ".join(closing) or "no test ran"


def versions() -> str:
    """Return the versions of Debian, Kamailio, PostgreSQL and Python."""

    def first(*command: str) -> str:
        said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        found = re.search(r"\d+[\d.]*", said)
        return found[0] if found else "unknown"

    postgres = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))[-1]
    debian = Path("/etc/debian_version").read_text(encoding="ascii").strip()
    return (
        f"Debian {debian}, Kamailio {first('kamailio', '-v')}, PostgreSQL {first(str(postgres), '--version')}, "
        f"Python {first(str(CHECKOUT / '.venv/bin/python'), '--version')}"
    )


def main() -> None:
    """Run the rounds; the exit status is 1 if a command fails."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--name", required=True)
    parser.add_argument("--rounds", type=int, required=True)
    parser.add_argument("--targets", required=True)
    options = parser.parse_args()
    summary, all_passed = CHECKOUT / "matrix.txt", True
    summary.unlink(missing_ok=True)
    for number in range(1, options.rounds + 1):
        up = demo(CHECKOUT / f"demo-{number}.log")
        print(f"matrix: {options.name}: make demo up after {up:.0f} s, listed, counted, flushed, ended", flush=True)
        passed, closing = test(CHECKOUT / f"test-{number}.log", options.targets)
        all_passed = all_passed and passed
        with summary.open("a", encoding="utf-8") as output:
            verdict = "ok" if passed else "FAILED"
            output.write(f"{options.name}: {verdict}: {versions()}: demo up after {up:.0f} s; {closing}\n")
    sys.exit(not all_passed)


if __name__ == "__main__":
    main()
