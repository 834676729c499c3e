"""gunicorn's arbiter, the process above the workers, and how it stops the server without resetting any connection."""

import ctypes
import socket
import struct
import time
from typing import Any

from gunicorn.arbiter import Arbiter

SO_ATTACH_FILTER = 26  # asm-generic/socket.h; the module socket has no name for it
# A program for the kernel's packet filter (linux/filter.h), which sees a segment from its TCP header on.
DROP_SYN = ctypes.create_string_buffer(
    struct.pack("HBBI", 0x30, 0, 0, 13)  # load the byte with the flags
    + struct.pack("HBBI", 0x45, 0, 1, 0x02)  # skip the next instruction unless SYN is set
    + struct.pack("HBBI", 0x06, 0, 0, 0)  # drop the segment
    + struct.pack("HBBI", 0x06, 0, 0, 0xFFFFFFFF)  # take all of it
)
DROP_SYN_LENGTH = 4
# A handshake that began before the filter ends within one round trip; the workers still accept meanwhile.
HANDSHAKE_SECONDS = 0.3


class DrainingArbiter(Arbiter):
    """Keeps newcomers out while the workers take the last clients from the queue.

    Closing a listener resets the clients in its queue, and one may come between a worker's last look at the queue and
    the close. So the kernel drops what would open a connection. A client tries again after a second; by then it is
    refused.
    """

    def stop(self, graceful: bool = True) -> None:
        """Stop the workers; see gunicorn.

        A listener of systemd, or one that another arbiter has taken over (SIGUSR2), goes on listening.
        """
        if self.reexec_pid == self.master_pid == 0 and not self.systemd:
            ours = [listener.sock for listener in self.LISTENERS if listener.sock.family != socket.AF_UNIX]
            for listener in ours:
                keep_newcomers_out(listener)
            if ours and graceful:
                time.sleep(HANDSHAKE_SECONDS)
        super().stop(graceful)


def keep_newcomers_out(listener: Any) -> None:
    """Open no further connection to a TCP listener; a handshake that has begun is finished.

    A UNIX socket needs no such thing: once its path is removed, nobody finds it.
    """
    program = struct.pack("HP", DROP_SYN_LENGTH, ctypes.addressof(DROP_SYN))  # struct sock_fprog of linux/filter.h
    listener.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)
