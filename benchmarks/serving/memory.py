"""``python -m benchmarks.serving.memory [requests]``: memory of our server over a million requests, with every call captured."""

import sys
import tempfile
from pathlib import Path

from benchmarks.measure import load as machine_load
from benchmarks.serving import measure, model
from benchmarks.serving.__main__ import FOLDER, ROOT, free_port, interpreter, rivals, sink

STEP_SECONDS = 10


def main() -> None:
    """Print requests and memory every ten seconds, and the growth at the end."""
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory() as name, sink() as port:
        folder = Path(name)
        model.write(folder / "model")
        ours = next(rival for rival in rivals(port) if "captured" in rival.name)
        environment = {
            "MLOPS_OPT_ML": str(folder),
            "PYTHONPATH": str(ROOT / "packages/mlops-runtime/src"),
            "MLOPS_BIND_HOST": "127.0.0.1",
        }
        command = [interpreter(ours.script), str(FOLDER / ours.script)]
        body = ours.body(1)
        with measure.running(command, free_port(), ours.path, body, environment | ours.environment) as server:
            total, points = 0, []
            while total < wanted:
                at = measure.load(server, ours.path, body, connections=16, seconds=STEP_SECONDS, folder=folder)
                total += at.requests
                points.append((total, measure.memory(server.pid)))
                print(f"{total:>9,} requests  {points[-1][1]:6.1f} MB  {at.cpu_ms:.3f} CPU ms", flush=True)
    settled = [mb for count, mb in points if count > wanted / 5]
    span = f"between {min(settled):.1f} and {max(settled):.1f} MB"
    print(f"{machine_load()}; after the first fifth {span}, {settled[-1]:.1f} at the end")


if __name__ == "__main__":
    main()
