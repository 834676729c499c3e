"""What a check says of who else may answer in a node's place, where its answers come by FIFO."""

import stat
from collections.abc import Iterator
from contextlib import suppress

from kamailio.transports import reply_directory
from sql.finding import Finding, Severity

CURE = 'give the replies a directory of their own, see "Replies by FIFO" in the README; or use another way than FIFOs'


def check_replies(name: str, url: str) -> Iterator[Finding]:
    """Tell a directory of reply FIFOs in which every user may write, as in /tmp, which is jsonrpcs' default.

    Args:
        name: how to call the node.
        url: how it is asked.
    """
    directory = reply_directory(url)
    mode = 0
    with suppress(OSError):  # it went since the node answered
        mode = directory.stat().st_mode if directory else 0
    if not mode & stat.S_IWOTH:
        return
    if url.startswith("kamctl:"):
        why = "they can guess kamctl's reply FIFO and id, and so read Kamailio's answers and give others in their place"
    else:
        why = "they cannot forge an answer, but spoil it, so that a flush is not confirmed"
    yield Finding(
        "rpc_replies_open", Severity.WARNING, f"{name} answers in {directory}, where every user may write", why, CURE
    )
