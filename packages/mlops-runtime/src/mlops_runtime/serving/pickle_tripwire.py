"""Request bodies with a pickle that connects back when loaded, with which the contract test detects unpickling servers.

``sagemaker-inference`` decodes ``application/x-npy`` by ``numpy.load(allow_pickle=True)``, so a caller of the endpoint can run
commands in the container. See: https://numpy.org/doc/stable/reference/generated/numpy.load.html
"""

import pickle
import socket
import struct
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

_NPY, _PICKLE = "application/x-npy", "application/x-python-pickle"


class _CallsBack:
    """Connects to an address when it is unpickled."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._address = address

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return socket.create_connection, (self._address, 2.0)


class Tripwire:
    """A listening socket on this machine, at the address from which the server is reached.

    Args:
        host: The server's host.
        port: Its port.

    Example:
        >>> with socket.create_server(("127.0.0.1", 0)) as server, Tripwire(*server.getsockname()) as wire:
        ...     wire.is_tripped()
        False
    """

    def __init__(self, host: str, port: int) -> None:
        with socket.create_connection((host, port), timeout=5) as connection:
            here = connection.getsockname()[0]
        family = socket.AF_INET6 if ":" in here else socket.AF_INET
        self._listening = socket.create_server((here, 0), family=family)
        self._listening.setblocking(False)
        content = pickle.dumps(_CallsBack(self._listening.getsockname()[:2]), protocol=2)
        self.bodies: Mapping[str, bytes] = {_NPY: _array_of(content), _PICKLE: content}

    def __enter__(self) -> Self:
        """Listen until the end of the block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the socket."""
        self._listening.close()

    def is_tripped(self) -> bool:
        """Return whether a server has connected, which happens before it responds."""
        try:
            connection, _ = self._listening.accept()
        except BlockingIOError:
            return False
        connection.close()
        return True


def _array_of(content: bytes) -> bytes:
    """Return a ``.npy`` file with one object, as NumPy writes it.

    See: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
    """
    header = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }"
    length = -(-(10 + len(header) + 1) // 64) * 64 - 10
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", length) + header.ljust(length - 1) + b"\n" + content
