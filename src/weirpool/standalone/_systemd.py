"""What systemd is told of a service of Type=notify: it is ready, it is stopping, how it is doing.

The protocol is one datagram of lines, which is less than what a library for it would bring along (see sd_notify(3)).
"""

from __future__ import annotations

import logging
import os
import socket

from .._logs import fields

__all__ = ["notify"]

_log = logging.getLogger("weirpool.worker")


def notify(*lines: str) -> None:
    """Tell the service manager something, if there is one: NOTIFY_SOCKET is set.

    It neither waits nor fails: a socket that is missing, full or dead is noted in the log at level DEBUG.

    Args:
        lines: what to say, "READY=1" for instance.
    """
    where = os.environ.get("NOTIFY_SOCKET", "")
    if where[:1] not in {"/", "@"}:  # not set, or of a kind that only virtual machines have
        return
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.sendto("\n".join(lines).encode(), "\0" + where[1:] if where[0] == "@" else where)
    except OSError as error:
        _log.debug("the service manager was not told: %s", error, extra=fields("worker.unheard", ""))
