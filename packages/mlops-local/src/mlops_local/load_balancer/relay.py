"""A small proxy process that replaces haproxy if that is not installed.

It opens one target connection per request, returns 502 if a target does not respond, and is meant for small loads; ``mlops local
status`` reports its use. The parent sends the complete routing as a line of JSON whenever it changes.
"""

import asyncio
import json
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mlops_local.load_balancer.routing import Address, Listener, Routing, Rule

_TIMEOUT = 60.0  # timeout in seconds, of a target and of a client between two requests
_HEAD = 64 * 1024
_HOP = {b"connection", b"keep-alive", b"proxy-connection", b"upgrade", b"te"}
_BODIES = (b"content-length", b"transfer-encoding")


class Relay:
    """The parent's side of one relay process."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def update(self, old: Routing, new: Routing) -> None:
        """Apply new weights and targets."""
        del old
        if (pipe := self._process.stdin) is not None:
            pipe.write(json.dumps(_written(new)).encode() + b"\n")
            pipe.flush()

    def retire(self) -> None:
        """Accept no more connections, and end when the open ones are done."""
        self._process.send_signal(signal.SIGTERM)


def _written(routing: Routing) -> dict[str, Any]:
    return {"listeners": [asdict(listener) for listener in routing.listeners], "targets": dict(routing.targets)}


def read(text: str) -> Routing:
    """Return the routing in a line of JSON."""

    def rule(row: dict[str, Any]) -> Rule:
        fixed = row["fixed"]
        return Rule(
            paths=tuple(row["paths"]), hosts=tuple(row["hosts"]), groups=tuple((name, weight) for name, weight in row["groups"]),
            fixed=None if fixed is None else (fixed[0], fixed[1], fixed[2]),
            rewrite=None if row["rewrite"] is None else (row["rewrite"][0], row["rewrite"][1]),
        )  # fmt: skip

    found = json.loads(text)
    listeners = tuple(
        Listener(row["port"], tuple(map(rule, row["rules"])), tuple(row["certified"])) for row in found["listeners"]
    )
    return Routing(
        listeners, {name: tuple((host, port) for host, port in rows) for name, rows in found["targets"].items()}
    )


def start(routing: Routing, sockets: Mapping[int, socket.socket], *, home: Path, log_port: int) -> Relay:
    """Start a relay on listening sockets."""
    given = {str(port): listening.fileno() for port, listening in sockets.items()}
    with (home / "relay.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlops_local.load_balancer.relay", json.dumps(given), str(log_port)],
            stdin=subprocess.PIPE, stdout=log, stderr=log, pass_fds=list(given.values()),
        )  # fmt: skip
    relay = Relay(process)
    relay.update(routing, routing)
    return relay


class Proxy:
    """The child's side: serves connections by the latest routing, and sends one line per request to a UDP port, if any."""

    def __init__(self, log_port: int | None = None) -> None:
        self.routing = Routing((), {})
        self._log = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._log_port, self._turn, self.is_retired = log_port, 0, False

    def choose(self, port: int, host: str, path: str) -> Rule | tuple[str, Address | None]:
        """Return how to serve a request: a rule's fixed response, or the group and its next target."""
        rule = self._rule(port, host, path)
        if rule is None or not (rule.fixed or any(weight for _, weight in rule.groups)):
            return "", None
        if rule.fixed is not None:
            return rule
        names, weights = zip(*rule.groups, strict=True)
        group = random.choices(names, weights)[0]  # noqa: S311 - not used for security
        found = self.routing.targets.get(group, ())
        self._turn += 1
        return group, found[self._turn % len(found)] if found else None

    def _rule(self, port: int, host: str, path: str) -> Rule | None:
        listener = next((row for row in self.routing.listeners if row.port == port), None)
        return next((row for row in listener.rules if row.matches(host, path)), None) if listener else None

    async def serve(self, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve the requests of one connection."""
        try:
            while not self.is_retired:
                head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), _TIMEOUT)
                if not await self._answer(port, head, reader, writer):
                    break
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError, ValueError):
            pass
        finally:
            writer.close()

    async def _answer(self, port: int, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        line, fields = _parsed(head)
        method, path, version = line.decode("latin-1").split(" ", 2)
        if fields.get(b"expect", b"").lower() == b"100-continue":
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = await _body(fields, reader)
        named = {name.decode("latin-1"): value.decode("latin-1") for name, value in fields.items()}
        listener = next((row for row in self.routing.listeners if row.port == port), None)
        if listener is not None and listener.is_foreign(named):
            writer.write(_made(403, "text/plain", b""))
            await writer.drain()
            return False
        stays = fields.get(b"connection", b"").lower() != b"close"
        requested = port, named.get("host", "").split(":")[0], path.split("?")[0]
        chosen, rule = self.choose(*requested), self._rule(*requested)
        if rule is not None:
            line = f"{method} {rule.rewritten(path)} {version}".encode("latin-1")
        if isinstance(chosen, Rule):
            status, kind, text = chosen.fixed or (503, "text/plain", "")
            writer.write(_made(status, kind, text.encode()))
            await writer.drain()
            return stays
        group, target = chosen
        begun = time.monotonic()
        # claim: group-without-targets-answers-503
        status, answer, seconds = 503 if target is None else 502, b"", -1.0
        if target is not None:
            try:
                status, answer = await asyncio.wait_for(_forward(target, line, fields, body), _TIMEOUT)
                seconds = time.monotonic() - begun
            except (OSError, asyncio.IncompleteReadError, ValueError):
                status = 502
            except TimeoutError:
                status = 504
        server = "<NOSRV>" if target is None else "t1"
        # sent before the response, so that its receiver finds the line
        self._send_log(
            f"{group.replace('/', ':')} {server} {status} {round(seconds * 1000) if seconds >= 0 else -1} --"
        )
        writer.write(answer or _made(status, "text/plain", b""))
        await writer.drain()
        return stays and method != "CONNECT"

    def _send_log(self, text: str) -> None:
        if self._log_port is not None:
            self._log.sendto(text.encode(), ("127.0.0.1", self._log_port))


def _parsed(head: bytes) -> tuple[bytes, dict[bytes, bytes]]:
    line, *rows = head[:-4].split(b"\r\n")
    return line, {name.strip().lower(): value.strip() for name, _, value in (row.partition(b":") for row in rows)}


async def _body(fields: Mapping[bytes, bytes], reader: asyncio.StreamReader) -> bytes:
    if fields.get(b"transfer-encoding", b"").lower() != b"chunked":
        return await reader.readexactly(int(fields.get(b"content-length", b"0")))
    parts = []
    while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        parts.append(await reader.readexactly(size))
        await reader.readexactly(2)
    while await reader.readuntil(b"\r\n") != b"\r\n":
        pass
    return b"".join(parts)


async def _forward(target: Address, line: bytes, fields: Mapping[bytes, bytes], body: bytes) -> tuple[int, bytes]:
    reader, writer = await asyncio.open_connection(*target, limit=_HEAD)
    try:
        kept = [
            name + b": " + value
            for name, value in fields.items()
            if name not in _HOP and name not in _BODIES and name != b"expect"
        ]
        kept += [b"content-length: %d" % len(body), b"connection: close"]
        writer.write(b"\r\n".join([line, *kept, b"", body]))
        head = await reader.readuntil(b"\r\n\r\n")
        first, answered = _parsed(head)
        status = int(first.split(b" ")[1])
        has_none = line.startswith(b"HEAD ") or status in {204, 304}
        has_length = any(name in answered for name in _BODIES)
        content = b"" if has_none else await (_body(answered, reader) if has_length else reader.read())
        rows = [
            row
            for row in head[:-4].split(b"\r\n")[1:]
            if row.partition(b":")[0].strip().lower() not in {*_HOP, *_BODIES}
        ]
        return status, b"\r\n".join([first, *rows, b"content-length: %d" % len(content), b"", content])
    finally:
        writer.close()


def _made(status: int, kind: str, body: bytes) -> bytes:
    head = (
        f"HTTP/1.1 {status} Answer\r\nserver: awselb/2.0\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def _run(sockets: Mapping[int, int], log_port: int) -> None:
    proxy, loop, stopped = Proxy(log_port), asyncio.get_running_loop(), asyncio.Event()
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    proxy.routing = read((await lines.readline()).decode())

    def serve(port: int) -> Any:
        return lambda reader, writer: proxy.serve(port, reader, writer)

    servers = [
        await asyncio.start_server(serve(port), sock=socket.socket(fileno=number), limit=_HEAD)
        for port, number in sockets.items()
    ]
    loop.add_signal_handler(signal.SIGTERM, stopped.set)

    async def follow() -> None:
        while line := await lines.readline():
            proxy.routing = read(line.decode())
        stopped.set()  # the parent has ended

    following = asyncio.ensure_future(follow())
    await stopped.wait()
    proxy.is_retired = True
    for server in servers:
        server.close()
    following.cancel()
    open_ = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    await asyncio.wait(open_, timeout=_TIMEOUT) if open_ else None


if __name__ == "__main__":
    asyncio.run(_run({int(port): number for port, number in json.loads(sys.argv[1]).items()}, int(sys.argv[2])))
