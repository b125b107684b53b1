"""haproxy as a load balancer: pure functions for its configuration and runtime API commands, and its process.

Each request draws a random number; each target group has a share of the numbers, in a map that the runtime API changes.
Weights therefore apply to groups, not to targets, and a group without targets returns 503 for its share, as in AWS.
"""

import functools
import logging
import shutil
import signal
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path

from mlops_local.load_balancer.routing import (
    OWN_SITES,
    Address,
    Listener,
    Routing,
    Rule,
    backreferences,
    expression,
    thresholds,
)

LOGGER = logging.getLogger(__name__)

_TOP = 1_000_000  # range of a request's random number
_ANSWER = 30.0  # real seconds for one command, or for its start
_MAP = "shares.map"  # file in its working folder
_MOST = 32  # maximum targets of a group
_SLOTS = 2 * _MOST  # so that all targets can be replaced at once


class ProxyError(RuntimeError):
    """haproxy did not execute a command."""


@functools.cache
def is_installed() -> bool:
    """Return whether haproxy is installed on this machine."""
    return shutil.which("haproxy") is not None


def configuration(routing: Routing, *, descriptors: Mapping[int, int], admin: int, log_port: int) -> str:
    """Return the configuration of a load balancer."""
    lines = [
        "global",
        f"  stats socket fd@{admin} level admin",
        "  maxconn 2000",
        f"  log 127.0.0.1:{log_port} format raw local0 info",
    ]
    lines += [
        "defaults", "  mode http", "  log global", "  option http-server-close", "  timeout connect 5s", "  timeout client 60s",
        "  timeout server 60s", "  timeout http-keep-alive 60s", "  retries 2", "  option redispatch",
        '  log-format "%b %s %ST %Tr %ts"',
    ]  # fmt: skip
    for number, listener in enumerate(routing.listeners):
        lines += [
            f"frontend l{number}",
            f"  bind fd@{descriptors[listener.port]}",
            f"  http-request set-var(txn.n) rand({_TOP})",
            # rules match the original path
            "  http-request set-var(txn.path) path",
            *_refusals(listener),
        ]
        for index, rule in enumerate(listener.rules):
            variables = [f"l{number}r{index}g{place}" for place in range(len(rule.groups))]
            lines += [f"  http-request set-var(txn.{name}) str({name}),map_str_int({_MAP})" for name in variables]
            lines += [f"  {line}" for line in _rule(f"l{number}r{index}", rule)]
        lines.append("  default_backend nowhere")
    lines += ["backend nowhere", "  http-request deny deny_status 503", *_fixed(routing)]
    for group in routing.targets:
        lines += [
            f"backend {_name(group)}",
            "  balance roundrobin",
            f"  server-template t 1-{_SLOTS} 127.0.0.1:1 disabled",
        ]
    return "\n".join(lines) + "\n"


def _refusals(listener: Listener) -> list[str]:
    """Reject the requests of ``Listener.is_foreign`` before any rule."""
    deny = "  http-request deny deny_status 403 if"
    return [
        "  http-request set-var(txn.host) req.hdr(host)",
        "  http-request set-var(txn.origin) str(http://),concat(,txn.host)",
        f"{deny} {{ req.hdr(host) -m found }} !{{ req.hdr(host),lower -m reg {_quoted(f'^{listener.names}$')} }}",
        f"{deny} {{ req.hdr(origin) -m found }} !{{ req.hdr(origin),strcmp(txn.origin) eq 0 }}",
        f"{deny} {{ req.hdr(sec-fetch-site) -m found }} !{{ req.hdr(sec-fetch-site) -m str {' '.join(OWN_SITES)} }}",
    ]


def _fixed(routing: Routing) -> list[str]:
    """Return fixed responses as backends: a frontend rule would respond before any backend is chosen."""
    lines = []
    for number, listener in enumerate(routing.listeners):
        for index, rule in enumerate(listener.rules):
            if rule.fixed is not None:
                status, kind, body = rule.fixed
                lines.append(f"backend fixed:l{number}r{index}")
                content = f" content-type {_quoted(kind)} string {_quoted(body)}" if body else ""
                lines.append(f"  http-request return status {status}{content}")
    return lines


def _name(group: str) -> str:
    return group.replace("/", ":")


def _quoted(text: str) -> str:
    """Quote a string for the configuration: in strong quotes only the closing quote is special."""
    return "'" + text.replace("'", "'\\''") + "'"


def shares(routing: Routing) -> dict[str, int]:
    """Return the threshold of each rule's groups, by the names in the map."""
    return {
        f"l{number}r{index}g{place}": threshold
        for number, listener in enumerate(routing.listeners)
        for index, rule in enumerate(listener.rules)
        # claim: weights-are-shares-of-requests
        for place, threshold in enumerate(thresholds([weight for _, weight in rule.groups], _TOP))
    }


def _rule(name: str, rule: Rule) -> list[str]:
    lines, wanted = [], []
    for word, patterns, sample in (
        ("p", rule.paths, "var(txn.path)"),
        ("h", rule.hosts, "req.hdr(host),field(1,:),lower"),
    ):
        if patterns:
            text = " ".join(
                _quoted(f"^{expression(pattern.lower() if word == 'h' else pattern)}$") for pattern in patterns
            )
            lines.append(f"acl {name}{word} {sample} -m reg {text}")
            wanted.append(f"{name}{word}")
    condition = " ".join(wanted)
    if rule.rewrite is not None:
        old, new = rule.rewrite
        text = backreferences(new).replace("%", "%%")
        lines.append(f"http-request replace-pathq {_quoted(old)} {_quoted(text)} if {condition or 'TRUE'}")
    if rule.fixed is not None:
        return [*lines, f"use_backend fixed:{name} if {condition or 'TRUE'}"]
    for place, (group, _) in enumerate(rule.groups):
        lines.append(f"use_backend {_name(group)} if {condition} {{ var(txn.n),sub(txn.{name}g{place}) lt 0 }}")
    lines.append(f"use_backend nowhere if {condition or 'TRUE'}")
    return lines


def commands(slots: dict[str, dict[Address, int]], old: Routing, new: Routing) -> list[str]:
    """Return the runtime API commands that change ``old`` to ``new``; ``slots`` stores the slot of each target.

    Raises:
        ProxyError: If a group has more targets than slots.
    """
    lines: list[str] = []
    for group, addresses in new.targets.items():
        taken, name = slots.setdefault(group, {}), _name(group)
        if len(addresses) > _MOST:
            raise ProxyError(f"{group} has more than {_MOST} targets, the limit of the embedded load balancer")
        for address in sorted(set(addresses) - taken.keys()):
            free = min(set(range(1, _SLOTS + 1)) - set(taken.values()))
            taken[address] = free
            server = f"{name}/t{free}"
            lines += [f"set server {server} addr {address[0]} port {address[1]}", f"set server {server} state ready"]
        # a removed target gets no new requests, and finishes its current ones
        lines += [
            f"set server {name}/t{taken.pop(address)} state maint" for address in sorted(taken.keys() - set(addresses))
        ]
    before = shares(old)
    lines += [f"set map {_MAP} {name} {value}" for name, value in shares(new).items() if before.get(name) != value]
    return lines


class Haproxy:
    """One haproxy process."""

    def __init__(self, process: subprocess.Popen[bytes], admin: tuple[str, int]) -> None:
        self._process, self._admin = process, admin
        self._slots: dict[str, dict[Address, int]] = {}

    def update(self, old: Routing, new: Routing) -> None:
        """Apply new weights and targets.

        Raises:
            ProxyError: If haproxy rejects a command, or does not respond.
        """
        for command in commands(self._slots, old, new):
            answer = self._send(command)
            # on success haproxy only reports a changed address
            if answer and "changed" not in answer and "no need to change" not in answer:
                raise ProxyError(f"haproxy returned {answer!r} for {command!r}")

    def retire(self) -> None:
        """Accept no more connections, and end when the open ones are done."""
        self._process.send_signal(signal.SIGUSR1)

    def _send(self, command: str) -> str:
        with socket.create_connection(self._admin, timeout=_ANSWER) as connection:
            connection.sendall(f"{command}\n".encode())
            parts = []
            while part := connection.recv(65536):
                parts.append(part)
        return b"".join(parts).decode().strip()


def start(routing: Routing, sockets: Mapping[int, socket.socket], *, home: Path, log_port: int) -> Haproxy:
    """Start haproxy on listening sockets.

    Raises:
        ProxyError: If haproxy rejects the configuration.
    """
    with socket.create_server(("127.0.0.1", 0)) as admin:
        descriptors = {port: listening.fileno() for port, listening in sockets.items()}
        file = home / "haproxy.cfg"
        file.write_text(configuration(routing, descriptors=descriptors, admin=admin.fileno(), log_port=log_port))
        (home / _MAP).write_text("".join(f"{name} {value}\n" for name, value in shares(routing).items()))
        checked = subprocess.run(
            ["haproxy", "-c", "-f", str(file)],
            cwd=home,
            capture_output=True,
            text=True,
            check=False,
            pass_fds=[*descriptors.values(), admin.fileno()],
        )
        if checked.returncode != 0:
            raise ProxyError(f"haproxy rejects {file}: {checked.stderr.strip()}")
        with (home / "haproxy.log").open("ab") as log:
            process = subprocess.Popen(
                ["haproxy", "-db", "-f", str(file)], cwd=home, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                pass_fds=[*descriptors.values(), admin.fileno()],
            )  # fmt: skip
        proxy = Haproxy(process, admin.getsockname())
    try:
        proxy.update(routing, routing)
    except OSError:
        process.kill()
        raise
    return proxy
