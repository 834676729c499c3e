"""A database as Kamailio's own kamdbctl makes it: the stock tables of a proxy that was there before us."""

from __future__ import annotations

import os
import subprocess

from tests.stand.postgres import SUPERUSER, Cluster


def create(postgres: Cluster, name: str) -> None:
    """Make the database; once a cluster, since its roles can be made only once.

    Raises:
        subprocess.CalledProcessError: kamdbctl has failed.
    """
    environment = {
        "DBENGINE": "PGSQL",
        "DBHOST": postgres.host,
        "DBPORT": str(postgres.port),
        "DBNAME": name,
        "DBRWUSER": "kamailio",
        "DBRWPW": "kamailiorw",
        "DBROUSER": "kamailioro",
        "DBROPW": "kamailioro",
        "DBROOTUSER": SUPERUSER,
        "DBINITASK": "no",
        "INSTALL_EXTRA_TABLES": "no",
        "INSTALL_PRESENCE_TABLES": "no",
        "INSTALL_DBUID_TABLES": "no",
    }
    subprocess.run(
        ["kamdbctl", "create"],
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
        timeout=120,
    )
