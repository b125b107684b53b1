"""``python -m benchmarks.serving.other_models [rounds [words]]``: models in other formats than ONNX, and a peer.

Each runs in an environment of ``.ci/run``; the peer is FastAPI over the same pickled model in the same environment.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import defaultdict
from functools import partial
from pathlib import Path

import numpy as np
from benchmarks.measure import load as machine_load
from benchmarks.serving import measure
from benchmarks.serving.__main__ import CONNECTIONS, FOLDER, SECONDS, free_port

from mlops_runtime.contracts import to_dict
from mlops_runtime.contracts.model import ModelSignature, SignatureColumn
from mlops_runtime.serving.model_folder import manifest_of, write_manifest
from mlops_runtime.serving.request_payload import Reader
from mlops_runtime.serving.worker_model import WorkerModel

LOCK = "1" * 64
LARGE, HOPS, FRAMES = 10_000, 3_000, 500
STORES = ("east", "north", "west")
ENVIRONMENTS = Path(sys.prefix) / "share" / "model_environments"
ENVIRONMENT = {
    "lightgbm_matrix": "trees",
    "xgboost_matrix": "trees",
    "lightgbm_frame": "trees",
    "xgboost_frame": "trees",
    "catboost_frame": "trees",
    "hist_gradient_boosting": "estimators",
    "echo_frame": "estimators",
}
PEER = "FastAPI + pandas, hist_gradient_boosting"


def body(count: int) -> bytes:
    """Return a request with the given number of rows."""
    random = np.random.default_rng(11)
    numbers, stores = random.normal(size=(count, 13)).round(4).tolist(), random.choice(STORES, (count, 2)).tolist()
    return json.dumps({"instances": [[*a, *b] for a, b in zip(numbers, stores, strict=True)]}).encode()


def saved(name: str, folder: Path) -> None:
    """Save a model and pack it."""
    python = ENVIRONMENTS / ENVIRONMENT[name] / "bin" / "python"
    subprocess.run([python, FOLDER / "save_other.py", name, folder], check=True)
    numbers = tuple(SignatureColumn(name=f"n{index}", type="number") for index in range(13))
    texts = tuple(SignatureColumn(name=column, type="category", categories=STORES) for column in ("store", "city"))
    signature = ModelSignature(inputs=(*numbers, *texts), output="units", passes="values")
    (folder / "signature.json").write_text(json.dumps(to_dict(signature)))
    write_manifest(folder, manifest_of(folder, requirements_sha256=LOCK, python="3.11"))


def measured(name: str, folder: Path) -> dict[str, float]:
    """Start a server, and return the cost of one row and of many."""
    python = ENVIRONMENTS / ENVIRONMENT.get(name, "estimators") / "bin" / "python"
    environment = {
        "MLOPS_OPT_ML": str(folder),
        "MLOPS_BIND_HOST": "127.0.0.1",
        "MLOPS_MODEL_PYTHON": str(python),
        "MLOPS_REQUIREMENTS_SHA256": LOCK,
        "MLOPS_TRUST": "data,code,pickle",
        "OMP_NUM_THREADS": "1",  # of the peer; our server sets it itself
    }
    ours = [sys.executable, "-m", "mlops_runtime.serving", "serve"]
    command = [str(python), str(FOLDER / "fastapi_pickle.py")] if name == PEER else ours
    with measure.running(command, free_port(), "/invocations", body(1), environment) as server:
        run_load = partial(measure.load, server, "/invocations", connections=CONNECTIONS, folder=folder)
        run_load(body(1), seconds=1)
        one = run_load(body(1), seconds=SECONDS)
        large = body(LARGE)
        url = f"http://127.0.0.1:{server.port}/invocations"
        request = urllib.request.Request(url, large, {"content-type": "application/json"})
        spent, began = measure.cpu(server.pid), time.perf_counter()
        for _ in range(5):
            urllib.request.urlopen(request, timeout=60).read()  # noqa: S310 - this machine
        many, wall = (measure.cpu(server.pid) - spent) / 5, (time.perf_counter() - began) / 5
        return {
            "one": one.cpu_ms, "p50": one.p50_ms, "many": many, "wall": wall, "ready": server.cold_wall,
            "cold": server.cold_cpu, "mb": measure.memory(server.pid),
        }  # fmt: skip


def alone_in(name: str, folder: Path, calls: int) -> float:
    """Return the CPU milliseconds of the framework's own prediction of one prepared row."""
    command = [ENVIRONMENTS / ENVIRONMENT[name] / "bin" / "python", FOLDER / "save_other.py", "ask", folder, str(calls)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return float(subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout)


def hop(folder: Path) -> tuple[float, float]:
    """Return the CPU milliseconds of a call for one row through a process, and in that process alone."""
    python = ENVIRONMENTS / ENVIRONMENT["lightgbm_matrix"] / "bin" / "python"
    alone = alone_in("lightgbm_matrix", folder, HOPS)
    model = WorkerModel(folder, python=python, requirements_sha256=LOCK)
    try:
        row = Reader(model.signature).read("application/json", body(1))
        model.predict(row)
        theirs, mine = measure.cpu(model.pids[0]), time.process_time()
        for _ in range(HOPS):
            model.predict(row)
        spent = time.process_time() - mine + measure.cpu(model.pids[0]) - theirs
    finally:
        model.close()
    return spent * 1000 / HOPS, alone


def main() -> None:
    """Measure all servers and print the table."""
    rounds, words = int(sys.argv[1]) if len(sys.argv) > 1 else 3, sys.argv[2:]
    hops: list[tuple[float, float]] = []
    frames: list[float] = []
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    names = [name for name in (*ENVIRONMENT, PEER) if not words or any(word in name for word in words)]
    with tempfile.TemporaryDirectory() as made:
        for name in names:
            if name != PEER:
                saved(name, Path(made) / name / "model")
        for _ in range(rounds + 1):  # the first round warms file caches and byte code
            for name in names:
                folder = Path(made) / ("hist_gradient_boosting" if name == PEER else name)
                took = measured(name, folder)
                print(name, {key: round(value, 3) for key, value in took.items()}, file=sys.stderr)
                for key, value in took.items():
                    found[name][key].append(value)
            if "hist_gradient_boosting" in names:
                folder = Path(made) / "hist_gradient_boosting" / "model"
                frames.append(alone_in("hist_gradient_boosting", folder, FRAMES))
            if "lightgbm_matrix" in names:
                hops.append(hop(Path(made) / "lightgbm_matrix" / "model"))
    print(f"{machine_load()}, {rounds} rounds, {SECONDS} s each at {CONNECTIONS} connections")
    print("| model | 1 row: CPU ms, p50 | 10,000 rows: CPU s, s | ready s, CPU s | MB |\n|---|---|---|---|---|")
    for name, values in found.items():
        m = {key: statistics.median(numbers[1:]) for key, numbers in values.items()}
        print(
            f"| {name} | {m['one']:.3f}, {m['p50']:.1f} | {m['many']:.3f}, {m['wall']:.2f} | {m['ready']:.1f}, "
            f"{m['cold']:.1f} | {m['mb']:.0f} |"
        )
    if frames:
        ready = statistics.median(frames[1:])
        print(
            f"one row of hist_gradient_boosting: {ready:.2f} CPU ms of scikit-learn's own predict on a frame that is ready"
        )
    if hops:
        through, alone = (statistics.median(column) for column in zip(*hops[1:], strict=True))
        print(f"one row of lightgbm_matrix: {through:.3f} CPU ms by way of a process, {alone:.3f} in it")


if __name__ == "__main__":
    main()
