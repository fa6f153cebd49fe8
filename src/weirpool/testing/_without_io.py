"""What a loop without a selector can't do, each with an error that says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["WithoutIO"]

_IO = (
    *("add_reader", "remove_reader", "add_writer", "remove_writer"),
    *("add_signal_handler", "remove_signal_handler"),
    *("connect_accepted_socket", "connect_read_pipe", "connect_write_pipe"),
    *("create_connection", "create_datagram_endpoint", "create_server", "create_unix_connection", "create_unix_server"),
    *("getaddrinfo", "getnameinfo"),
    *("sendfile", "sock_accept", "sock_connect", "sock_recv", "sock_recv_into", "sock_recvfrom", "sock_recvfrom_into"),
    *("sock_sendall", "sock_sendfile", "sock_sendto", "start_tls"),
    *("subprocess_exec", "subprocess_shell"),
)


class WithoutIO:
    """Refuse all I/O.

    The error is the one of the loops that lack one of these on some platform: what a program does there, it does here.
    """


def _refusal(name: str) -> Callable[..., NoReturn]:
    def refuse(self: object, *_args: Any, **_options: Any) -> NoReturn:
        raise NotImplementedError(
            f"{name}() was called, but there is no I/O on a {type(self).__name__} (no sockets, pipes, processes or signals): "
            f"give the program a substitute that does without"
        )

    return refuse


for _name in _IO:
    setattr(WithoutIO, _name, _refusal(_name))
