"""Shows each endpoint as a shell command, runs that command, and prints its answer."""

import json
import subprocess
import urllib.request
from dataclasses import dataclass
from typing import Any

from tests.demo.sample import Sample
from tests.demo.screen import Screen
from tests.demo.signals import Signals

SHOWN_FIRST = ("data", "error", "message", "flushed", "pending", "sent", "failed", "status")
PLACEHOLDER = "and more"


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """The tokens that the demo made."""

    admin: str
    reseller: str
    child: str


@dataclass(frozen=True, kw_only=True)
class Example:
    """One request."""

    title: str
    path: str
    token: str = ""
    method: str = "GET"

    def command(self, api_url: str) -> str:
        """Return the shell command."""
        words = ["curl -sS", *_past_http_proxies()]
        if self.method != "GET":
            words.append(f"-X {self.method}")
        if self.token:
            words.append(f"-H 'X-Auth-Token: {self.token}'")
        return " ".join([*words, f"{api_url}{self.path}"])


def examples(sample: Sample, tokens: Tokens) -> list[Example]:
    """Return the requests, in an order in which none changes the answer of a later one."""

    def registrations(account_id: str) -> str:
        return f"/v2/accounts/{account_id}/registrations"

    reseller, child, other = sample.reseller, sample.child, sample.other_child
    mine = registrations(reseller.id)
    return [
        Example(title=f"List: who is registered at {reseller.name}", path=mine, token=tokens.reseller),
        Example(title="Count", path=f"{mine}/count", token=tokens.reseller),
        Example(
            title=f"A descendant account: {child.name}",
            path=f"{registrations(child.id)}/count",
            token=tokens.reseller,
        ),
        Example(title="A superduper admin sees every account", path=f"{mine}/count", token=tokens.admin),
        Example(
            title="Sync a device: both of marta's phones get a NOTIFY check-sync",
            method="POST",
            path=f"/v2/accounts/{reseller.id}/devices/{sample.device_with_two_phones}/sync",
            token=tokens.reseller,
        ),
        Example(
            title="Flush one username: both of marta's phones are removed, and register again within 30 seconds",
            method="DELETE",
            path=f"{mine}/marta",
            token=tokens.reseller,
        ),
        Example(
            title=f"Flush an account: {other.name}, with the token of its parent account",
            method="DELETE",
            path=registrations(other.id),
            token=tokens.reseller,
        ),
        Example(title="The parent account: 403", path=f"{mine}/count", token=tokens.child),
        Example(title="Without a token: 401", path=f"{mine}/count"),
        Example(
            title="A username that the account does not have: 404",
            method="DELETE",
            path=f"{mine}/nosuch",
            token=tokens.reseller,
        ),
        Example(title="Readiness, for load balancers and supervisors, without a token", path="/ready"),
    ]


def show(example: Example, *, api_url: str, screen: Screen, signals: Signals) -> None:
    """Print a request's title, its command and its answer. Raises Interrupted."""
    command = example.command(api_url)
    screen.title(example.title)
    screen.command(command)
    done = subprocess.run(
        ["/bin/sh", "-c", command], check=False, capture_output=True, encoding="utf-8", errors="replace"
    )
    signals.check()
    screen.answer(shorten(done.stdout) if done.returncode == 0 else done.stderr)


def shorten(body: str) -> str:
    """Shorten an answer: of a list keep the first element, of an envelope the most important keys."""
    try:
        answer: dict[str, Any] = json.loads(body)
    except ValueError:
        return body
    if "request_id" not in answer:
        return json.dumps(answer)
    data = answer["data"]
    if answer["status"] == "success" and isinstance(data, list) and data:
        rest = len(data) - 1
        short = {**answer, "data": [data[0], *([PLACEHOLDER] if rest else [])]}
        if "auth_token" in short:
            short["auth_token"] = short["auth_token"][:6] + "..."
        return json.dumps(short, indent=2, ensure_ascii=False).replace(f'"{PLACEHOLDER}"', f"... and {rest} more")
    matters = {key: answer[key] for key in SHOWN_FIRST if key in answer}
    return json.dumps(matters, ensure_ascii=False)[:-1] + ", ...}"


def _past_http_proxies() -> list[str]:
    """Return curl's option against an http_proxy of the environment, which curl would use for loopback too."""
    proxied = "http" in urllib.request.getproxies() and not urllib.request.proxy_bypass("127.0.0.1")
    return ["--noproxy '*'"] if proxied else []
