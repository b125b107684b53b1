"""The job's counts equal the function's byte for byte, over real HTTP."""

import json
import random
from dataclasses import replace
from typing import Any

import pytest

from mlops_runtime.contracts import canonical_json, content_hash, from_json
from mlops_runtime.contracts.monitor import Baseline
from mlops_runtime.jobs.monitor_count import CountSettings, ObjectCounter, _outcomes, collect, count_objects
from mlops_runtime.jobs.monitor_parts import Part
from mlops_runtime.monitor.counting.counts import count
from mlops_runtime.monitor.store import MonitorStore

SINCE = "2017-08-07T09:00:00Z"
PREFIX = "capture/demand-forecast/AllTraffic/2017/08/07"


@pytest.fixture
def settings(baseline: Any) -> CountSettings:
    """Return the settings."""
    return CountSettings(
        endpoint="demand-forecast",
        artifacts="artifacts",
        captures="captures",
        baseline=canonical_json(baseline),
        since=SINCE,
    )


def body(lines: Any, seed: int, count: int) -> bytes:
    """Return an object: numbers with order-dependent sums, broken lines, synthetic and earlier calls, several rows."""
    chance, made = random.Random(seed), []
    for i in range(count):
        time = f"2017-08-07T{chance.choice(['08', '10'])}:{i % 60:02}:00Z"
        rows = [
            f"{chance.uniform(-1, 1) * 10 ** chance.randint(-8, 8)!r},{chance.choice(['', '3', 'x'])},{chance.choice('ab')}"
            for _ in range(chance.choice([1, 1, 3]))
        ]
        output = "\n".join(repr(chance.gauss(10, 2)) for _ in rows)
        identifier = "mlops-synthetic-1" if i % 50 == 0 else None
        made.append(lines.call("\n".join(rows), output, time=time, event_id=f"e-{i}", inference_id=identifier))
        if i % 40 == 0:
            made.append('{"captureData": ')
    return "\n".join(made).encode()


def test_the_counts_are_the_functions_byte_for_byte(s3, settings, baseline, lines):
    """Two processes, small objects whole and a large one in parts: the same bytes at the same keys."""
    bodies = {f"{PREFIX}/10/large.jsonl": body(lines, 1, 700), f"{PREFIX}/10/empty.jsonl": b""}
    bodies |= {f"{PREFIX}/{hour:02}/small.jsonl": body(lines, hour, 20) for hour in range(9, 14)}
    for key, content in bodies.items():
        s3.put_object(Bucket="captures", Key=key, Body=content)
    sizes = {key: len(content) for key, content in bodies.items()}
    assert count_objects(sizes, settings, processes=2, part_bytes=sizes[f"{PREFIX}/10/large.jsonl"] // 7) == {}
    store = MonitorStore(s3, endpoint="demand-forecast", artifacts="artifacts", captures="captures")
    for key in bodies:
        counts = count(store.lines("captures", key), baseline, since=SINCE, hour=store.object_hour(key))
        in_parts = key.endswith("large.jsonl")  # its lines have no numbers within the object
        expected = canonical_json(replace(counts, problem_lines=None) if in_parts else counts)
        target = store.counts_key(key, content_hash(baseline))
        written = s3.get_object(Bucket="artifacts", Key=target)["Body"].read()
        assert json.loads(written) == json.loads(expected)
        assert written == expected


def test_what_cannot_be_counted_is_told_and_the_rest_is_counted(s3, settings, lines):
    """A missing object, whole or in parts, does not block others."""
    s3.put_object(Bucket="captures", Key=f"{PREFIX}/15/there.jsonl", Body=body(lines, 3, 5))
    sizes = {f"{PREFIX}/15/gone.jsonl": 10, f"{PREFIX}/15/there.jsonl": 3000, f"{PREFIX}/15/large.jsonl": 5000}
    failed = count_objects(sizes, settings, processes=1, part_bytes=4000)
    assert set(failed) == {f"{PREFIX}/15/gone.jsonl", f"{PREFIX}/15/large.jsonl"}
    assert "NoSuchKey" in failed[f"{PREFIX}/15/gone.jsonl"]
    folder = "monitor/demand-forecast/counts/AllTraffic/2017/08/07/15/"
    written = s3.list_objects_v2(Bucket="artifacts", Prefix=folder)["Contents"]
    against = content_hash(from_json(Baseline, settings.baseline))[:16]
    assert [entry["Key"] for entry in written] == [f"{folder}there.baseline-{against}.json"]


def test_a_pool_that_breaks_is_told(s3, settings):
    """A process that cannot start fails all parts, and each object is named."""
    counter = ObjectCounter(settings)
    todo = [Part(f"{PREFIX}/16/{i}.jsonl") for i in range(3)]
    broken = replace(settings, baseline=b"{}")
    failed = collect(todo, _outcomes(todo, broken, counter, 2), counter)
    assert set(failed) == {part.key for part in todo}
    assert all(reason.startswith("BrokenProcessPool") for reason in failed.values())
