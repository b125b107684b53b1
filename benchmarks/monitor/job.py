"""``python -m benchmarks.monitor.job [rows [rounds]]``: the job engine over captures of one call per row, 30 fields.

The real job in a process of its own: counting, then the decision, against the embedded cloud. CPU is that of its
process tree without the server that returns the objects; rows per second are by wall time, under the machine's other
load. The medians are stored for `benchmarks.monitor.cost`. Default 400,000 rows, three rounds: about three minutes.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.measure import load
from benchmarks.monitor.data import LEVELS, NUMBERS, table
from benchmarks.serving.measure import memory

from mlops_local.cloud import Cloud, up
from mlops_runtime.contracts import canonical_json, content_hash
from mlops_runtime.contracts.monitor import Baseline
from mlops_runtime.contracts.rollout import LivePointer
from mlops_runtime.jobs import monitor_count
from mlops_runtime.jobs.monitor import Clients, Options, run
from mlops_runtime.jobs.monitor_count import CountSettings, count_objects
from mlops_runtime.monitor.counting.baseline import fit_baseline
from mlops_runtime.monitor.counting.counts import count as count_as_function
from mlops_runtime.monitor.scheduled_run import DecideSettings
from mlops_runtime.monitor.spec import MonitorSpec

RESULTS = Path(__file__).parents[2] / ".mlops" / "benchmarks" / "monitor_job.json"
NAMES = [f"n{i}" for i in range(NUMBERS)] + [f"c{i}" for i in range(len(LEVELS))]
NOW = datetime(2017, 8, 8, 0, 15, tzinfo=UTC)
ROWS_AN_OBJECT = 2000
# objects, processes, and the reader of lines: the job, or the function that counts each object on arrival
CASES = (("many", 1, "job"), ("many", 2, "job"), ("large", 1, "job"), ("large", 2, "job"), ("many", 1, "function"))


def baseline() -> Baseline:
    """Return the baseline of rows of the same kind."""
    rows = table(50_000, seed=0)
    columns = {name: rows[name].to_pylist() if name[0] == "c" else rows[name].to_numpy() for name in NAMES}
    types = {name: "category" if name[0] == "c" else "number" for name in NAMES}
    return fit_baseline(columns, types=types, training_set_id="benchmark", created="2017-08-01T00:00:00Z")


def lines(rows: int) -> list[str]:
    """Return one capture line per row."""
    columns = [
        ["" if value is None else value if isinstance(value, str) else f"{value:.6g}" for value in column.to_pylist()]
        for column in table(rows, seed=1).select(NAMES).columns
    ]
    side = {"observedContentType": "text/csv", "encoding": "CSV"}
    output = {**side, "mode": "OUTPUT", "data": "12.5"}
    return [
        json.dumps(
            {
                "captureData": {
                    "endpointInput": {**side, "mode": "INPUT", "data": ",".join(values)},
                    "endpointOutput": output,
                },
                "eventMetadata": {"eventId": f"e-{number:012}", "inferenceTime": f"2017-08-07T{number % 24:02}:00:00Z"},
                "eventVersion": "0",
            }
        )
        for number, values in enumerate(zip(*columns, strict=True))
    ]


def fill(cloud: Cloud, rows: int) -> None:
    """Upload the same rows as many objects and as one large object, each as an endpoint with its live model."""
    s3, dynamodb = cloud.client("s3"), cloud.client("dynamodb")
    for bucket in ("artifacts", "captures"):
        s3.create_bucket(Bucket=bucket)
    cloud.client("events").create_event_bus(Name="bus")
    dynamodb.create_table(
        TableName="rollout",
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "endpoint", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "endpoint", "KeyType": "HASH"}],
    )
    made = baseline()
    s3.put_object(Bucket="artifacts", Key="baseline.json", Body=canonical_json(made))
    captured = lines(rows)
    for endpoint, step in (("many", ROWS_AN_OBJECT), ("large", rows)):
        for number in range(0, rows, step):
            key = f"capture/{endpoint}/AllTraffic/2017/08/07/{number // step % 24:02}/{number:09}.jsonl"
            s3.put_object(Bucket="captures", Key=key, Body="\n".join(captured[number : number + step]).encode())
        live = LivePointer(
            endpoint=endpoint, config="", model="", model_package_arn="", model_sha256="", artifact_uri="",
            baseline_uri="s3://artifacts/baseline.json", baseline_sha256=content_hash(made), evaluation_uri="",
            training_set_id="benchmark", spec_sha256="", spec_uri="", execution="", since="2017-08-01T00:00:00Z",
            artifact_sha256="a" * 64, container_sha256="c" * 64,
        )  # fmt: skip
        row = {"endpoint": {"S": endpoint}, "live": {"S": canonical_json(live).decode()}}
        dynamodb.put_item(TableName="rollout", Item=row)


def job(endpoint: str, processes: int, reader: str) -> None:
    """Run the job and print the cost of its phases."""
    began = {}
    if reader == "function":
        monitor_count.count_lines = count_as_function

    def count(sizes: Mapping[str, int], settings: CountSettings) -> dict[str, str]:
        before, started = os.times(), time.perf_counter()
        failed = count_objects(sizes, settings, processes=processes)
        after = os.times()
        began["count_s"] = time.perf_counter() - started
        began["count_cpu"] = sum(after[:4]) - sum(before[:4])
        return failed

    settings = DecideSettings(
        endpoint=endpoint,
        variant="AllTraffic",
        unit="benchmark",
        bus="bus",
        window_hours=24,
        spec=MonitorSpec(merge_hours=0),
    )
    options = Options(now=NOW, settings=settings, artifacts="artifacts", captures="captures", table="rollout")
    started, cpu = time.perf_counter(), time.process_time()
    report, failed = run(options, count, Clients.of_environment())
    total = time.perf_counter() - started
    decide = {"decide_s": total - began["count_s"], "decide_cpu": time.process_time() - cpu}
    if processes == 1:  # this process's own counting is not part of the decision
        decide["decide_cpu"] -= began["count_cpu"]
    assert not failed
    print(json.dumps({**began, **decide, "rows": report.rows, "state": report.drift.state}), flush=True)


def measured(endpoint: str, processes: int, reader: str, environment: Mapping[str, str]) -> dict[str, float]:
    """Run the job in a process of its own; return its phases and the peak memory of its process tree in MB."""
    command = [sys.executable, "-m", "benchmarks.monitor.job", "job", endpoint, str(processes), reader]
    peak = 0.0
    with subprocess.Popen(command, env={**os.environ, **environment}, stdout=subprocess.PIPE, text=True) as process:
        output: list[str] = []
        reader = threading.Thread(target=lambda: output.extend(process.stdout or ()))
        reader.start()
        while process.poll() is None:
            try:
                peak = max(peak, memory(process.pid))
            except OSError:  # a process of the tree has just ended
                continue
            time.sleep(0.05)
        reader.join()
    assert process.returncode == 0
    return {**json.loads(output[-1]), "peak_mb": peak}


def main(arguments: list[str]) -> None:
    """Measure, print one table, store the medians."""
    if arguments[:1] == ["job"]:
        job(arguments[1], int(arguments[2]), arguments[3])
        return
    rows = int(arguments[0]) if arguments else 400_000
    rounds = int(arguments[1]) if len(arguments) > 1 else 3
    found: dict[tuple[str, int, str], list[dict[str, Any]]] = {case: [] for case in CASES}
    with tempfile.TemporaryDirectory() as folder:
        cloud = up(Path(folder) / "cloud")
        try:
            fill(cloud, rows)
            for _ in range(rounds):
                for case in CASES:
                    s3 = cloud.client("s3")
                    for page in s3.get_paginator("list_objects_v2").paginate(Bucket="artifacts", Prefix="monitor/"):
                        for each in page.get("Contents", []):
                            s3.delete_object(Bucket="artifacts", Key=each["Key"])
                    found[case].append(measured(*case, cloud.environment()))
        finally:
            cloud.down()
    print(f"{load()}, {rounds} rounds, {rows:,} rows of {len(NAMES)} fields")
    print(
        "| objects | processes | lines read by | rows/s | rows a CPU s | CPU s counting | decision s | decision CPU s | peak MB |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    kept = {}
    for (endpoint, processes, reader), runs in found.items():
        assert all(run["rows"] == rows for run in runs)
        keys = [key for key in runs[0] if key != "state"]
        middle = {key: statistics.median(run[key] for run in runs) for key in keys}
        kept[f"{endpoint}/{processes}/{reader}"] = middle
        objects = rows // ROWS_AN_OBJECT if endpoint == "many" else 1
        print(
            f"| {objects} | {processes} | {reader} | {rows / middle['count_s']:,.0f} | {rows / middle['count_cpu']:,.0f} "
            f"| {middle['count_cpu']:.2f} | {middle['decide_s']:.2f} | {middle['decide_cpu']:.2f} | {middle['peak_mb']:.0f} |"
        )
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(
        json.dumps({"load": load(), "rows": rows, "object_rows": ROWS_AN_OBJECT, "cases": kept}, indent=1)
    )


if __name__ == "__main__":
    main(sys.argv[1:])
