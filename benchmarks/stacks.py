"""Cost of deploying and destroying the example stacks for the embedded cloud, compared with another checkout.

    python -m benchmarks.stacks [--runs 3] [--stacks FirstEndpoint,DemandForecasting] [--peer ../base]

Each run uses a cloud of its own; runs of the peer, in its own ``.venv``, alternate with ours. CPU seconds are those of the
cloud's process and of the functions that it starts, without synthesis and client.
"""

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.measure import load

ROOT = Path(__file__).resolve().parents[1]
STACKS = ("FirstEndpoint", "DemandForecasting")
VERBS = ("deploy", "destroy")

# runs in a checkout, on its own interpreter: uses nothing newer than the oldest peer
RUN = """
import json, os, sys, tempfile, time
from pathlib import Path
import aws_cdk as cdk
from examples.stacks import compose
from mlops_local import cloud as clouds, session_processes as processes
from mlops_local.stacks import deployer

def cpu(pid):
    ticks = 0
    for member in processes.members(pid):
        try:
            fields = Path("/proc", str(member), "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        ticks += sum(map(int, fields[11:15]))  # user and system, of the process and of the children that it waited for
    return ticks / os.sysconf("SC_CLK_TCK")

found = {}
with tempfile.TemporaryDirectory() as folder:
    context = json.loads(sys.argv[1])
    for stack in context["stacks"]:  # alone, so that each has a network of its own
        app = cdk.App(outdir=folder + "/" + stack, context=context | {"stacks": [stack]})
        compose(app)
        app.synth()
    cloud = clouds.up(Path(folder, "cloud"))
    try:
        deployer.bootstrap(cloud)
        for stack in context["stacks"]:
            for verb in ("deploy", "destroy"):
                before, started = cpu(cloud.pid), time.perf_counter()
                getattr(deployer, verb)(cloud, Path(folder, stack), stacks=[stack])
                found[f"{stack} {verb}"] = [cpu(cloud.pid) - before, time.perf_counter() - started]
    finally:
        cloud.down(forget=True)
print(json.dumps(found))
"""

Seconds = dict[str, list[float]]


def run(checkout: Path, stacks: Sequence[str]) -> Seconds:
    """Deploy and destroy stacks once in a checkout; return CPU and wall seconds of each step.

    Args:
        checkout: Root of a checkout with an environment in ``.venv``; our own uses this interpreter.
        stacks: Names of example stacks.
    """
    python = Path(sys.executable) if checkout == ROOT else checkout / ".venv" / "bin" / "python"
    context = json.loads((checkout / "cdk.json").read_text())["context"] | {"stacks": list(stacks)}
    done = subprocess.run(
        [str(python), "-c", RUN, json.dumps(context)],
        cwd=checkout,
        env={"PATH": f"{python.parent}:/usr/bin:/bin", "PYTHONPATH": str(checkout), "CDK_VALIDATION": "false",
             "HOME": str(Path.home()), "JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION": "1"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )  # fmt: skip
    found: Seconds = json.loads(done.stdout.splitlines()[-1])
    return found


def table(ours: Sequence[Seconds], theirs: Sequence[Seconds]) -> str:
    """Return the medians of all runs as Markdown, with the ratio to the peer if there is one.

    Example:
        >>> print(table([{"A deploy": [2.0, 3.0]}], [{"A deploy": [1.0, 3.0]}]))
        | step | CPU s | wall s | peer CPU s | peer wall s | CPU ratio | wall ratio |
        |---|---|---|---|---|---|---|
        | A deploy | 2.00 | 3.00 | 1.00 | 3.00 | 2.00 | 1.00 |
        | all | 2.00 | 3.00 | 1.00 | 3.00 | 2.00 | 1.00 |
    """
    lines = ["| step | CPU s | wall s |", "|---|---|---|"]
    if theirs:
        lines = [
            "| step | CPU s | wall s | peer CPU s | peer wall s | CPU ratio | wall ratio |",
            "|---|---|---|---|---|---|---|",
        ]
    own, other = _medians(ours), _medians(theirs)
    for step, (cpu, wall) in own.items():
        row = f"| {step} | {cpu:.2f} | {wall:.2f} |"
        if step in other:
            peer_cpu, peer_wall = other[step]
            row += f" {peer_cpu:.2f} | {peer_wall:.2f} | {cpu / peer_cpu:.2f} | {wall / peer_wall:.2f} |"
        lines.append(row)
    return "\n".join(lines)


def _medians(runs: Sequence[Mapping[str, list[float]]]) -> dict[str, tuple[float, float]]:
    if not runs:
        return {}
    found = {
        step: (statistics.median(one[step][0] for one in runs), statistics.median(one[step][1] for one in runs))
        for step in runs[0]
    }
    return found | {"all": (sum(cpu for cpu, _ in found.values()), sum(wall for _, wall in found.values()))}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--stacks", default=",".join(STACKS))
    parser.add_argument("--peer", type=Path, help="root of another checkout with its .venv")
    options = parser.parse_args()
    stacks, ours, theirs = options.stacks.split(","), [], []
    for number in range(options.runs):
        ours.append(run(ROOT, stacks))
        if options.peer is not None:
            theirs.append(run(options.peer.resolve(), stacks))
        print(f"run {number + 1} of {options.runs}; {load()}", file=sys.stderr)
    print(table(ours, theirs))
    print(f"\n{load()}")


if __name__ == "__main__":
    main()
