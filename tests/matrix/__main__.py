"""`make matrix RELEASE=...`: build a root of that Debian release, clone the checkout into it, run newcomer.py there.

The pristine root is kept as `.matrix/RELEASE.tar` and unpacked again for each run. Requires root and mmdebstrap, but
no Python packages: the checkout needs no `make setup`.
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
# The network configuration of this machine, copied into the root. No package owns this name for the certificates.
CERTIFICATES = "/etc/ssl/certs/of-the-host.crt"
NETWORK_FILES = {
    "/etc/resolv.conf": "/etc/resolv.conf",
    "/etc/hosts": "/etc/hosts",
    "/etc/ssl/certs/ca-certificates.crt": CERTIFICATES,
}
NETWORK_VARIABLES = ("http_proxy", "https_proxy", "no_proxy", "PIP_INDEX_URL", "PIP_PROXY")
# The mounts, and all processes that are left when newcomer.py ends, disappear with the namespaces.
ENTER = (
    'mount --rbind /dev "$0/dev" && mount -t tmpfs -o mode=1777 none "$0/dev/shm" && mount -t proc none "$0/proc"'
    ' && exec chroot "$0" "$@"'
)


def build(release: str) -> Path:
    """Return the tar file of a pristine root. If it is missing, mmdebstrap makes it from Debian's packages."""
    archive = DIRECTORY / f"{release}.tar"
    if not archive.exists():
        DIRECTORY.mkdir(exist_ok=True)
        new = archive.with_suffix(".new.tar")
        print(f"matrix: {release}: building a root", flush=True)
        # A mirror may serve an expired Release file of the testing distribution.
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
    """Run newcomer.py in the root and return its exit status. It uses the network and the ports of this machine."""
    environment = {name: os.environ[name] for name in NETWORK_VARIABLES if name in os.environ}
    environment |= {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}
    if (root / CERTIFICATES[1:]).exists():
        environment["PIP_CERT"] = CERTIFICATES
    namespaces = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
    inside = ["python3", f"/{PROJECT}/tests/matrix/newcomer.py", *arguments]
    return subprocess.run([*namespaces, "sh", "-c", ENTER, root, *inside], env=environment, check=False).returncode


def main() -> None:
    """Run the given releases. The exit status is 1 if one of them fails."""
    parser = argparse.ArgumentParser(prog="make matrix")
    parser.add_argument("releases", nargs="*", choices=RELEASES, default=list(RELEASES))
    parser.add_argument("--rounds", type=int, default=1, help="number of runs of both commands in the same root")
    parser.add_argument("--targets", default="test", help="targets of make to run after the demo")
    options = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("matrix: run this as root")
    if subprocess.run(["git", "status", "--porcelain"], cwd=CHECKOUT, capture_output=True, check=True).stdout:
        print("matrix: running the last commit, without uncommitted changes")
    arguments = [f"--rounds={options.rounds}", f"--targets={options.targets}"]
    failed = [name for name in options.releases if run(unpack(build(name)), [f"--name={name}", *arguments]) != 0]
    for name in options.releases:
        summary = DIRECTORY / name / PROJECT / "matrix.txt"
        print(summary.read_text(encoding="utf-8") if summary.exists() else f"{name}: aborted", end="")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
