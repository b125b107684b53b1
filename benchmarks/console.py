"""``python -m benchmarks.console [runs]``: first page of the console (40 units, 3 models each) and ``mlops status --json``.

``mlops console`` in a process of its own gets a browser's requests: the identity, the units, then each unit, six at a time. Seconds
of wall time, CPU seconds of the console and of the embedded cloud; then the AWS calls that the list and a unit cause.
"""

import collections
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
from benchmarks.measure import load
from tests.cli.deployed_unit import DeployedUnit
from tests.runtime.monitor import reports

from mlops_local import cloud
from mlops_local.accounts import CloudAccount
from mlops_runtime.cloud_connection import CloudConnection, embedded_options
from mlops_runtime.console.api import ConsoleApi
from mlops_runtime.console.http_message import HttpRequest
from mlops_runtime.contracts.unit_entries import PipelineEntry
from mlops_runtime.monitor.store import MonitorStore

UNITS, MODELS, AT_ONCE = 40, 3, 6
ROOT = "/api/v1"


def furnish(
    running: cloud.Cloud | CloudAccount, *, units: int = UNITS, models: int = MODELS, buckets: str = ""
) -> None:
    """Make the units: every model has a retraining pipeline and a monitor with a report, one model per unit serves."""
    report = reports.report_of(8, reports.QUIET, baseline_uri="s3://artifacts/baseline.json")
    for number in range(units):
        unit = DeployedUnit(running, f"unit{number:02}", buckets=f"{buckets}unit{number:02}")
        artifacts = f"{buckets}{unit.name}-artifacts"
        unit.s3.create_bucket(Bucket=artifacts)
        unit.publish(replace(unit.unit_entry, artifacts_bucket=artifacts))
        for name in (unit.endpoint, *(f"{unit.name}-model{model}" for model in range(1, models))):
            unit.publish(replace(unit.endpoint_entry, endpoint=name, group=name))
            unit.publish(
                PipelineEntry(
                    pipeline=name,
                    unit=unit.name,
                    group=name,
                    retraining_table=f"{unit.name}-retraining",
                    retrain_machine=unit.machine,
                    queue_url="none",
                    endpoint=name,
                )
            )
            MonitorStore(unit.s3, endpoint=name, artifacts=artifacts).put_report(report, {}, datetime.now(UTC))
        unit.serve(1)
        unit.serve(2)


@contextmanager
def console(home: Path) -> Iterator[tuple[str, str, int]]:
    """Start the console; return its address, its token and its process."""
    command = [sys.executable, "-m", "mlops_cli", "console", "--home", str(home)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as served:
        try:
            assert served.stdout is not None
            address, _, token = served.stdout.readline().removeprefix("console: ").strip().partition("/#token=")
            yield address, token, served.pid
        finally:
            served.terminate()


def first_page(read: Callable[[str], Any]) -> None:
    """Send the requests of a browser's first page."""
    read("/me")
    names = [each["unit"] for each in read("/units")["units"]]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        rows = [row for page in pool.map(lambda name: read(f"/units/{name}"), names) for row in page["models"]]
    assert len(rows) == UNITS * MODELS, len(rows)


def cpu(pid: int) -> float:
    """Return the CPU seconds of a process and its ended children."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(each) for each in fields[11:15]) / os.sysconf("SC_CLK_TCK")


def measure(what: Callable[[], object], pids: tuple[int, ...], runs: int) -> list[float]:
    """Return the median seconds of a call, then the median CPU seconds of processes; the first call is a warm-up."""
    found = []
    for _ in range(runs + 1):
        before, began = [cpu(pid) for pid in pids], time.perf_counter()
        what()
        took = time.perf_counter() - began
        found.append([took, *(cpu(pid) - had for pid, had in zip(pids, before, strict=True))])
    return [statistics.median(each) for each in zip(*found[1:], strict=True)]


def calls(home: Path) -> None:
    """Print the AWS calls of each address, and its duration alone."""
    connection = CloudConnection(session=boto3.Session(), options=embedded_options(home) or {})
    api, counted = ConsoleApi(lambda _: connection), collections.Counter[str]()

    def read(path: str) -> object:
        answer = api.answer(HttpRequest(method="GET", path=ROOT + path))
        assert answer.status == 200, answer.body
        return answer

    for path in ("/units", "/units/unit01"):
        read(path)
    for client in connection.made.values():
        client.meta.events.register(
            "before-send.*.*",
            lambda event_name, **_: counted.update([event_name.removeprefix("before-send.")]),
        )
    for path in ("/units", "/units/unit01", "/units/unit01/endpoints/unit01-forecast"):
        read(path)
        each = ", ".join(f"{name} {number}" for name, number in sorted(counted.items()))
        number = sum(counted.values())
        counted.clear()
        took = statistics.median(_seconds(lambda path=path: read(path)) for _ in range(9))
        counted.clear()
        sys.stdout.write(f"GET {path}: {number} calls, {1000 * took:.0f} ms ({each})\n")


def _seconds(what: Callable[[], object]) -> float:
    began = time.perf_counter()
    what()
    return time.perf_counter() - began


def main(runs: int) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "cloud"
        running = cloud.up(home)
        try:
            furnish(running)
            with console(home) as (address, token, pid):
                signed = {"Authorization": f"Bearer {token}"}

                def read(path: str) -> Any:
                    requested = urllib.request.Request(address + ROOT + path, headers=signed)  # noqa: S310 - loopback
                    with urllib.request.urlopen(requested) as answer:  # noqa: S310 - loopback
                        return json.load(answer)

                page = measure(lambda: first_page(read), (pid, running.pid), runs)
            status = [sys.executable, "-m", "mlops_cli", "status", "--json", "--home", str(home)]
            peer = measure(
                lambda: subprocess.run(status, check=True, stdout=subprocess.DEVNULL), (os.getpid(), running.pid), runs
            )
            sys.stdout.write(
                f"{UNITS} units, {MODELS} models each; medians of {runs}; {load()}\n\n"
                "| what | wall s | CPU s | CPU s of the embedded cloud |\n|---|---|---|---|\n"
            )
            for name, found in (("first page of the console", page), ("mlops status --json", peer)):
                sys.stdout.write(f"| {name} | {' | '.join(f'{each:.2f}' for each in found)} |\n")
            calls(home)
        finally:
            running.down(forget=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
