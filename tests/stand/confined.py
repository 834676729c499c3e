"""Run a command under two restrictions of our units that work without systemd.

    python confined.py COMMAND ARGUMENTS...

They are NoNewPrivileges, and MemoryDenyWriteExecute where the kernel supports it (Linux 6.3).
"""

import ctypes
import os
import sys

PR_SET_NO_NEW_PRIVS, PR_SET_MDWE = 38, 65

if __name__ == "__main__":
    libc = ctypes.CDLL(None)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        sys.exit("the kernel refused no_new_privs")
    libc.prctl(PR_SET_MDWE, 1, 0, 0, 0)
    os.execv(sys.argv[1], sys.argv[1:])
