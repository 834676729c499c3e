"""What can go wrong with Kazoo."""


class KazooError(Exception):
    """Base of what this folder raises."""


class KazooRefused(KazooError):
    """Kazoo does not know the API key, or does not give what is wanted; the message says what was asked."""


class KazooMissing(KazooRefused):
    """Kazoo has no such document, or no longer has it."""


class KazooUnreachable(KazooError):
    """Kazoo does not answer, or its answers make no sense; the same call may succeed later."""
