"""The port of a folder's embedded cloud: the one asked for, the one that it had last, or a free one."""

import contextlib
import socket
from collections.abc import Callable
from pathlib import Path


class PortError(Exception):
    """A port cannot be listened on; the message says why and what to do."""


def listen(port: int | None) -> socket.socket:
    """Listen on a port of 127.0.0.1; None is a free one.

    Raises:
        PortError: If it cannot be listened on.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", 0 if port is None else port))
    except OSError as error:
        listener.close()
        raise PortError(
            f"port {port} on 127.0.0.1 cannot be used ({str(error.strerror).lower()}); give another with --port"
        ) from error
    return listener


def listen_again(file: Path, on_event: Callable[[str], None] | None) -> socket.socket:
    """Listen on the port that a file names, so that the environment of shells stays right, or else on a free one.

    Args:
        file: Where ``remember`` wrote the port.
        on_event: Is told that shells need another environment. Default: nobody is told.
    """
    last = None
    with contextlib.suppress(FileNotFoundError, ValueError):
        last = int(file.read_text())
    if last is None or not 0 < last <= 0xFFFF:
        return listen(None)
    try:
        return listen(last)
    except PortError:
        if on_event is not None:
            on_event(f"port {last}, which this cloud had last, is in use; shells need `mlops local env` again")
        return listen(None)


def remember(file: Path, listener: socket.socket) -> None:
    """Write down the port of a listener."""
    file.write_text(f"{listener.getsockname()[1]}\n")
