"""Runs a command with two of the rights gone that our units take away, and that need no systemd to be taken.

    python confined.py COMMAND ARGUMENTS...

No new privileges, and no memory that is both written and executed (where the kernel knows that: Linux 6.3).
"""

import ctypes
import os
import sys

PR_SET_NO_NEW_PRIVS, PR_SET_MDWE = 38, 65

if __name__ == "__main__":
    libc = ctypes.CDLL(None)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        sys.exit("no_new_privs is refused")
    libc.prctl(PR_SET_MDWE, 1, 0, 0, 0)
    os.execv(sys.argv[1], sys.argv[1:])
