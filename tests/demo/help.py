"""Prints what else to try while the demo runs, and writes the file of shell variables."""

import shlex
import sys
from pathlib import Path

from tests.demo.phones import OWN_PHONE
from tests.demo.sample import Sample
from tests.demo.screen import Screen
from tests.demo.settings import HOST, REPOSITORY, Settings
from tests.demo.show import Tokens
from tests.demo.stack import Stack

REPORT = "select username, realm, user_agent, network_ip, registered_at from registrations order by realm, username"


def shown(path: Path) -> str:
    """Return a path as a user would type it in the current directory."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def demo_command(settings: Settings, word: str) -> str:
    """Return the shell command that controls the running demo."""
    where = (
        "" if settings.directory == REPOSITORY / ".demo" else f"DEMO_DIRECTORY={shlex.quote(str(settings.directory))} "
    )
    return f"{where}{_python()} -m tests.demo {word}"


def show_parts(stack: Stack, screen: Screen) -> None:
    """Print the table of running parts, and a summary of the phones."""
    rows = [(part.name, part.address, str(part.pid()), shown(part.log)) for part in stack.parts]
    screen.title("Running")
    screen.table([("part", "address", "pid", "log"), *rows])
    screen.line()
    screen.line(f"  {stack.phones.summary()}")


def show_help(stack: Stack, settings: Settings, sample: Sample, screen: Screen) -> None:
    """Print what to try beyond the examples."""
    realm, sip = sample.reseller.realm, f"{HOST}:{settings.sip_port}"
    password = sample.passwords[OWN_PHONE, realm]
    screen.title("Your own phone, on this machine")
    screen.line(f"  user {OWN_PHONE}, domain {realm}, password {password}, proxy {sip} (UDP or TCP; ws://{sip})")
    screen.line("  or a simulated one:")
    screen.command(
        f"{_python()} -m tests.stand.phone --proxy {sip} --username {OWN_PHONE} --realm {realm} --password {password}"
    )
    screen.title("The same list in SQL")
    screen.command(f'psql {stack.database.url()} -c "{REPORT}"')
    screen.title(
        "Stop PostgreSQL and start it again: the API answers 503, the worker waits, and nothing needs a restart"
    )
    screen.command(demo_command(settings, "stop-database"))
    screen.command(demo_command(settings, "start-database"))
    screen.title("Addresses, accounts and tokens as shell variables")
    screen.command(f". {_sourced(settings.env_file)}")
    screen.line()
    screen.line("Flushed phones register again within 30 seconds. Ctrl-C stops everything.", style="bold")


def write_environment(stack: Stack, settings: Settings, sample: Sample, tokens: Tokens) -> None:
    """Write the shell variables atomically, so that a reader never sees half a file."""
    variables = {
        "API_URL": stack.api_url,
        "ADMIN_AUTH_TOKEN": tokens.admin,
        "ACCOUNT_ID": sample.reseller.id,
        "AUTH_TOKEN": tokens.reseller,
        "CHILD_ACCOUNT_ID": sample.child.id,
        "CHILD_AUTH_TOKEN": tokens.child,
        "SIP_PROXY": f"{HOST}:{settings.sip_port}",
        "KAMAILIO_RPC": stack.rpc_url,
        "DATABASE_URL": stack.database.url(),
        # for our own commands, as the owner
        "REGISTRATIONS_KAMAILIO_RPC": stack.rpc_url,
        "REGISTRATIONS_DATABASE_URL": stack.database.url(),
        "SIP_USERNAME": OWN_PHONE,
        "SIP_REALM": sample.reseller.realm,
        "SIP_PASSWORD": sample.passwords[OWN_PHONE, sample.reseller.realm],
    }
    new = settings.env_file.with_name("env.new")
    new.unlink(missing_ok=True)
    new.touch(mode=0o600)  # it holds tokens and a password
    new.write_text("".join(f"export {name}='{value}'\n" for name, value in variables.items()), encoding="utf-8")
    new.replace(settings.env_file)


def _python() -> str:
    return shlex.quote(shown(Path(sys.executable)))


def _sourced(path: Path) -> str:
    # The shell looks for a name without a slash in PATH.
    text = shown(path)
    return shlex.quote(text if "/" in text else f"./{text}")
