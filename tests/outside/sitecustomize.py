"""Keep every Python process of the suite on this machine: connections beyond loopback are refused and logged.

Python imports a module of this name at its start, from ``PYTHONPATH``, which `tests/conftest.py` sets: also in an embedded cloud,
its functions and jobs, and the ``aws`` command. Requests of other programs through the proxy of an embedded cloud leave by that
cloud's own process. Not covered: non-Python programs without such a proxy, and Python processes started with ``-I`` or ``-E``.
"""

import json
import os
import socket
import sys

VARIABLE = "MLOPS_TESTS_OUTSIDE"

# programs that fetch packages, from the machine's configured sources
ALLOWED = ("pip",)

_HERE = {"", "localhost", "0.0.0.0", "::", "::1", os.uname().nodename}  # noqa: S104 - to connect there is to connect to oneself
_SENDING = {"socket.connect", "socket.sendto", "socket.sendmsg"}
_LOOKING_UP = {"socket.getaddrinfo", "socket.gethostbyname"}


def is_inside(host: object) -> bool:
    """Return whether a host is this machine's loopback, or not an Internet address at all."""
    name = host.decode(errors="replace") if isinstance(host, bytes | bytearray) else host
    if not isinstance(name, str):
        return True  # no address, or another family
    return name in _HERE or name.startswith(("127.", "::ffff:127.")) or name.endswith(".localhost")


def is_allowed(command: list[str]) -> bool:
    """Return whether a command line is that of a program that fetches packages."""
    names = [os.path.basename(part) for part in command[:3]]  # noqa: PTH119 - pathlib would slow each start
    return any(name in ALLOWED or name.startswith("__pip-runner__") for name in names)


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    if event in _SENDING:
        address = arguments[1]
        host = address[0] if isinstance(address, tuple) and address else None
    elif event in _LOOKING_UP:
        host = arguments[0]
    else:
        return
    if is_inside(host) or is_allowed(sys.orig_argv):
        return
    row = {
        "event": event, "host": str(host), "command": sys.orig_argv, "test": os.environ.get("PYTEST_CURRENT_TEST", ""),
    }  # fmt: skip
    with open(os.environ[VARIABLE], "a") as file:  # noqa: PTH123 - as above
        file.write(json.dumps(row) + "\n")
    message = f"the suite stays on this machine, {host} is outside"
    raise socket.gaierror(socket.EAI_FAIL, message) if event in _LOOKING_UP else PermissionError(message)


if os.environ.get(VARIABLE):
    sys.addaudithook(_hook)
