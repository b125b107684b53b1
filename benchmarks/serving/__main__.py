"""``python -m benchmarks.serving [rounds [words]]``: our server and rivals over one ONNX model, alternating; medians.

Every server has its own environment, locked beside its script, and the same ONNX Runtime session with one thread.
"""

import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from benchmarks.measure import load as machine_load
from benchmarks.serving import measure, model

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[1]
SECONDS = 4
CONNECTIONS = 16


@dataclass(frozen=True, slots=True)
class Rival:
    """A server: its script, path, protocol, and further environment."""

    name: str
    script: str
    path: str = "/invocations"
    is_v2: bool = False
    environment: dict[str, str] = field(default_factory=dict)

    def body(self, count: int) -> bytes:
        """Return a request with the given number of rows."""
        rows = model.rows(count)
        if not self.is_v2:
            return json.dumps({"instances": rows}, separators=(",", ":")).encode()
        flat = [value for row in rows for value in row]
        tensor = {"name": "input", "shape": [count, model.WIDTH], "datatype": "FP32", "data": flat}
        return json.dumps({"inputs": [tensor]}, separators=(",", ":")).encode()


def rivals(sink: int) -> list[Rival]:
    """Return the servers to measure; the first rival is the one of the goal."""
    capture = {
        "MLOPS_CAPTURE_URI": "s3://bench-capture/capture",
        "MLOPS_ENDPOINT": "model",
        "AWS_ACCESS_KEY_ID": "bench",
        "AWS_SECRET_ACCESS_KEY": "bench",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{sink}",
    }
    return [
        Rival("mlops serving", "ours.py"),
        Rival("mlops serving, every call captured", "ours.py", environment=capture),
        Rival("mlops serving, v2", "ours.py", "/v2/models/model/infer", is_v2=True),
        Rival("FastAPI + pydantic", "fastapi_onnx.py"),
        Rival("KServe 0.21, v1", "kserve_onnx.py", "/v1/models/model:predict"),
        Rival("KServe 0.21, v2", "kserve_onnx.py", "/v2/models/model/infer", is_v2=True),
        Rival("MLServer 1.7, v2", "mlserver_onnx.py", "/v2/models/model/infer", is_v2=True),
    ]


def interpreter(script: str) -> str:
    """Return the Python of a script's own environment, which is created if missing."""
    subprocess.run(["uv", "sync", "--quiet", "--locked", "--script", str(FOLDER / script)], check=True)
    found = subprocess.run(
        ["uv", "python", "find", "--script", str(FOLDER / script)], check=True, capture_output=True, text=True
    )
    return found.stdout.strip()


def free_port() -> int:
    """Return an unused port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def sink() -> Iterator[int]:
    """Run the S3 that discards objects."""
    port = free_port()
    process = subprocess.Popen(["taskset", "-c", measure.LOAD_CORE, sys.executable, str(FOLDER / "sink.py"), str(port)])
    try:
        yield port
    finally:
        process.terminate()
        process.wait()


def main() -> None:
    """Measure all servers and print the table."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    with tempfile.TemporaryDirectory() as name, sink() as port:
        folder = Path(name)
        model.write(folder / "model")
        words = sys.argv[2:]
        everyone = [rival for rival in rivals(port) if not words or any(word in rival.name for word in words)]
        pythons = {rival.script: interpreter(rival.script) for rival in everyone}
        for _ in range(rounds + 1):  # the first round warms file caches and byte code
            for rival in everyone:
                for key, value in measured(rival, pythons[rival.script], folder).items():
                    found[rival.name][key].append(value)
    print(f"{machine_load()}, {rounds} rounds, {SECONDS} s each at {CONNECTIONS} connections")
    print(
        "| server | 1 row: CPU ms, p50, p99 | 100 rows: CPU ms, p50, p99 | cold start CPU s | MB |\n|---|---|---|---|---|"
    )
    for name, values in found.items():
        m = {key: statistics.median(numbers[1:]) for key, numbers in values.items()}
        print(
            f"| {name} | {m['cpu1']:.3f}, {m['p50_1']:.2f}, {m['p99_1']:.1f} | {m['cpu100']:.3f}, {m['p50_100']:.2f}, "
            f"{m['p99_100']:.1f} | {m['cold']:.2f} | {m['mb']:.0f} |"
        )


def measured(rival: Rival, python: str, folder: Path) -> dict[str, float]:
    """Start a server, load it with one row and with a hundred, and return the cost."""
    environment = {
        "MLOPS_OPT_ML": str(folder),
        "PYTHONPATH": str(ROOT / "packages/mlops-runtime/src"),
        "MLOPS_BIND_HOST": "127.0.0.1",
    }
    environment["ORT_DISABLE_TELEMETRY"] = "1"  # our server does so itself; telemetry must not count
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [python, str(FOLDER / rival.script)]
    with measure.running(command, free_port(), rival.path, rival.body(1), environment | rival.environment) as server:
        result = {"cold": server.cold_cpu}
        for count in (1, 100):
            run_load = partial(
                measure.load, server, rival.path, rival.body(count), connections=CONNECTIONS, folder=folder
            )
            run_load(seconds=1)  # complete all work of the first call and the first write
            at = run_load(seconds=SECONDS)
            result |= {f"cpu{count}": at.cpu_ms, f"p50_{count}": at.p50_ms, f"p99_{count}": at.p99_ms}
        result["mb"] = measure.memory(server.pid)
    return result


if __name__ == "__main__":
    main()
