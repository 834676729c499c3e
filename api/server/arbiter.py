"""gunicorn's arbiter, the process above the workers, and how it ends the server without resetting anybody."""

import ctypes
import socket
import struct
from typing import Any

from gunicorn.arbiter import Arbiter

SO_ATTACH_FILTER = 26  # asm-generic/socket.h; the module socket has no name for it
# A program of one instruction for the kernel's packet filter: BPF_RET | BPF_K with 0, which is "take no byte of it".
DROP = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))


class DrainingArbiter(Arbiter):
    """Keeps newcomers out while the workers take the last clients from the queue.

    To close a listener resets whoever is in its queue, and between a worker's last look and the close somebody may
    come: of 48 stops under many clients 5 reset one. Newcomers try again after a second, and are refused by then.
    """

    def stop(self, graceful: bool = True) -> None:
        """Stop the workers; see gunicorn.

        A listener that is systemd's, or that another arbiter has taken over (SIGUSR2), goes on listening.
        """
        if self.reexec_pid == self.master_pid == 0 and not self.systemd:
            for listener in self.LISTENERS:
                _drop_what_comes(listener.sock)
        super().stop(graceful)


def _drop_what_comes(listener: Any) -> None:
    if listener.family != socket.AF_UNIX:  # there its path goes, so nobody comes
        program = struct.pack("HP", 1, ctypes.addressof(DROP))  # struct sock_fprog of linux/filter.h
        listener.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)
