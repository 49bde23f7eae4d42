"""What the HTTP servers of this package share: a socket that listens, and uvicorn with its settings."""

import socket
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import uvicorn
    from starlette.types import ASGIApp

_KEEP_ALIVE = 3600
"""Seconds for which an idle connection stays: longer than a tool call, so that no client loses a race."""
_WAITING = 128


def listen(host: str, port: int = 0) -> socket.socket:
    """A socket that listens at the address; port 0 means a free one. Raises OSError when it cannot be had."""
    # The protocol number has to be given: asyncio turns Nagle's algorithm off only for sockets that name TCP.
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP
    )[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.bind(address)
        listener.listen(_WAITING)  # from here on connections wait for the server instead of being refused
    except OSError:
        listener.close()
        raise
    return listener


def new_server(application: "ASGIApp") -> "uvicorn.Server":
    """A server that logs nothing, leaves signals to others, and ends within a second when it is told to."""
    import uvicorn

    class Server(uvicorn.Server):
        @contextmanager
        def capture_signals(self) -> Generator[None]:
            yield

    return Server(
        uvicorn.Config(
            application,
            log_config=None,
            log_level="warning",
            access_log=False,
            lifespan="off",
            ws="none",
            timeout_keep_alive=_KEEP_ALIVE,
            timeout_graceful_shutdown=1,
        )
    )


def abort_connections(server: "uvicorn.Server") -> None:
    """Close what clients still hold open. To be called on the server's event loop."""
    for connection in list(server.server_state.connections):
        connection.transport.abort()
