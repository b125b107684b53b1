"""One server under load: CPU of its process tree per request, latency measured by ``wrk``, memory."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_REQUESTS = re.compile(r"(\d+) requests in")
_LATENCY = re.compile(r"(50|99)%\s+([\d.]+)(us|ms|s)")
_ERRORS = re.compile(r"Non-2xx or 3xx responses: (\d+)|Socket errors: connect (\d+), read (\d+)")
_MILLISECONDS = {"us": 0.001, "ms": 1.0, "s": 1000.0}
# the server has one core to itself, the load generator the other
SERVER_CORE, LOAD_CORE = "0", "1"


@dataclass(frozen=True, slots=True)
class Load:
    """Cost and latency of one run of ``wrk``."""

    requests: int
    cpu_ms: float  # of the server, per request
    p50_ms: float
    p99_ms: float
    per_second: float


@dataclass(frozen=True, slots=True)
class Server:
    """A running server."""

    pid: int
    port: int
    cold_cpu: float
    cold_wall: float


def tree(pid: int) -> list[int]:
    """Return a process and its descendants."""
    found = [pid]
    for one in found:
        for task in Path(f"/proc/{one}/task").glob("*/children"):
            found += [int(child) for child in task.read_text().split()]
    return found


def cpu(pid: int) -> float:
    """Return the CPU seconds of a process tree, ended children included."""
    total = 0
    for one in tree(pid):
        fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        total += sum(map(int, fields[11:15]))
    return total / _TICKS


def memory(pid: int) -> float:
    """Return the MB of a process tree, with shared pages divided among processes."""
    total = 0
    for one in tree(pid):
        found = re.search(r"^Pss:\s+(\d+)", Path(f"/proc/{one}/smaps_rollup").read_text(), re.MULTILINE)
        total += int(found[1]) if found else 0
    return total / 1024


@contextmanager
def running(
    command: Sequence[str], port: int, path: str, body: bytes, environment: Mapping[str, str]
) -> Iterator[Server]:
    """Start a server on its core and yield it once it has returned a prediction."""
    began = time.perf_counter()
    process = subprocess.Popen(
        ["taskset", "-c", SERVER_CORE, *command],
        env={**os.environ, **environment, "SAGEMAKER_BIND_TO_PORT": str(port)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while not _answers(port, path, body):
            if process.poll() is not None or time.perf_counter() - began > 120:
                raise RuntimeError(f"{' '.join(command)} does not serve (exit {process.poll()})")
            time.sleep(0.02)
        yield Server(process.pid, port, cpu(process.pid), time.perf_counter() - began)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()


def _answers(port: int, path: str, body: bytes) -> bool:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", body, {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=5) as response:  # noqa: S310 - this machine
            answer = json.loads(response.read())
    except OSError:
        return False
    return bool(answer.get("predictions") or answer.get("outputs"))


def load(server: Server, path: str, body: bytes, *, connections: int, seconds: int, folder: Path) -> Load:
    """Send one body again and again.

    Raises:
        RuntimeError: A response was an error.
    """
    wrk = shutil.which("wrk")
    if wrk is None:
        raise RuntimeError("wrk is not installed; apt-get install wrk")
    script = folder / "post.lua"
    script.write_text(
        f"wrk.method = 'POST'\nwrk.body = [==[{body.decode()}]==]\nwrk.headers['content-type'] = 'application/json'\n"
    )
    command = [
        "taskset",
        "-c",
        LOAD_CORE,
        wrk,
        "-t1",
        f"-c{connections}",
        f"-d{seconds}s",
        "--timeout",
        "30s",
        "--latency",
        "-s",
        str(script),
    ]
    before = cpu(server.pid)
    process = subprocess.run(
        [*command, f"http://127.0.0.1:{server.port}{path}"], capture_output=True, text=True, check=True
    ).stdout
    spent = cpu(server.pid) - before
    if _ERRORS.search(process):
        raise RuntimeError(process)
    count = int(_REQUESTS.findall(process)[0])
    if count == 0:  # a cause outside the server: the machine is shared
        return load(server, path, body, connections=connections, seconds=seconds * 2, folder=folder)
    latency = {percent: float(number) * _MILLISECONDS[unit] for percent, number, unit in _LATENCY.findall(process)}
    return Load(count, spent / count * 1000, latency["50"], latency["99"], count / seconds)
