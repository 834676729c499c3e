"""`make matrix RELEASE=...`: build a root of that Debian release, clone the checkout into it, run newcomer.py there.

The pristine root is kept as `.matrix/RELEASE.tar` and unpacked anew for each run. This needs root, mmdebstrap and the
standard library only: the checkout itself needs no set-up.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
DIRECTORY = CHECKOUT / ".matrix"
RELEASES = ("bookworm", "trixie", "forky")
PROJECT = Path("root/kamailio-registrations")
# How this machine reaches the network: the root gets it, too. The certificates have a name that no package writes.
CERTIFICATES = "/etc/ssl/certs/of-the-host.crt"
NETWORK_FILES = {
    "/etc/resolv.conf": "/etc/resolv.conf",
    "/etc/hosts": "/etc/hosts",
    "/etc/ssl/certs/ca-certificates.crt": CERTIFICATES,
}
NETWORK_VARIABLES = ("http_proxy", "https_proxy", "no_proxy", "PIP_INDEX_URL", "PIP_PROXY")
# The mounts are gone with the namespaces, and so is every process that is left when newcomer.py ends.
ENTER = (
    'mount --rbind /dev "$0/dev" && mount -t tmpfs -o mode=1777 none "$0/dev/shm" && mount -t proc none "$0/proc"'
    ' && exec chroot "$0" "$@"'
)


def build(release: str) -> Path:
    """Return the tar file of a pristine root; mmdebstrap makes it from Debian's packages when it is missing."""
    archive = DIRECTORY / f"{release}.tar"
    if not archive.exists():
        DIRECTORY.mkdir(exist_ok=True)
        new = archive.with_suffix(".new.tar")
        print(f"matrix: {release}: building a root", flush=True)
        # A mirror may serve the release file of a testing release for longer than it is valid.
        accept = 'Acquire::Check-Valid-Until "false"'
        command = ["mmdebstrap", "--quiet", "--variant=minbase", "--include=git,make,python3", f"--aptopt={accept}"]
        subprocess.run([*command, release, str(new)], check=True)
        new.rename(archive)
    return archive


def unpack(archive: Path) -> Path:
    """Return a fresh root with a clone of the checkout's last commit in it."""
    root = archive.with_suffix("")
    if root.exists():
        shutil.rmtree(root)
    root.mkdir()
    subprocess.run(["tar", "-xf", archive, "-C", root, "--exclude=./dev/*"], check=True)
    for here, there in NETWORK_FILES.items():
        if Path(here).exists():
            (root / there[1:]).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(here, root / there[1:])
    subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", CHECKOUT, root / PROJECT], check=True)
    return root


def run(root: Path, arguments: list[str]) -> int:
    """Run newcomer.py in the root; returns its exit status. Network and ports are those of this machine."""
    environment = {name: os.environ[name] for name in NETWORK_VARIABLES if name in os.environ}
    environment |= {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}
    if (root / CERTIFICATES[1:]).exists():
        environment["PIP_CERT"] = CERTIFICATES
    namespaces = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
    inside = ["python3", f"/{PROJECT}/tests/matrix/newcomer.py", *arguments]
    return subprocess.run([*namespaces, "sh", "-c", ENTER, root, *inside], env=environment, check=False).returncode


def main() -> None:
    """Run every release that is asked for; the exit status is 1 if one of them fails."""
    parser = argparse.ArgumentParser(prog="make matrix")
    parser.add_argument("releases", nargs="*", choices=RELEASES, default=list(RELEASES))
    parser.add_argument("--rounds", type=int, default=1, help="how often to run both commands in the same root")
    parser.add_argument("--targets", default="test", help="of make, run after the demo")
    options = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("matrix: only root can make a root of another release")
    if subprocess.run(["git", "status", "--porcelain"], cwd=CHECKOUT, capture_output=True, check=True).stdout:
        print("matrix: the last commit is run, without what is not committed yet")
    arguments = [f"--rounds={options.rounds}", f"--targets={options.targets}"]
    failed = [name for name in options.releases if run(unpack(build(name)), [f"--name={name}", *arguments]) != 0]
    for name in options.releases:
        summary = DIRECTORY / name / PROJECT / "matrix.txt"
        print(summary.read_text(encoding="utf-8") if summary.exists() else f"{name}: broke off", end="")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
