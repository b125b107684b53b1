"""A baseline from production weeks: built from captures, replayed on them, never replacing the monitor's own."""

import itertools
import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from tests.cli.deployed_unit import DeployedUnit
from tests.cli.monitored_unit import DAYS, DRIFTING, VARIANT, MonitoredUnit, columns

from mlops_local.cloud import Cloud
from mlops_runtime.contracts import canonical_json, content_hash, from_json
from mlops_runtime.contracts.monitor import Baseline

Run = Callable[..., subprocess.CompletedProcess[str]]

HOURS = (20, 15, 10, 5)
_number = itertools.count(1)


@pytest.fixture(scope="module")
def monitored(cloud: Cloud) -> MonitoredUnit:
    """A unit for this file, with captures: in the last days the price is a third higher."""
    found = MonitoredUnit(DeployedUnit(cloud, f"lived{next(_number)}"))
    unit, random = found.unit, np.random.default_rng(6)
    unit.endpoint_entry = replace(unit.endpoint_entry, capture_bucket=f"{unit.name}-captures")
    unit.publish(unit.endpoint_entry)
    for day, hours in itertools.product(range(DAYS), HOURS):
        at = found.now - timedelta(days=DAYS - 1 - day, hours=hours)
        made = columns(random, 200, price=1.35 if day >= DAYS - DRIFTING else 1.0, first=10**6 * day + 1000 * hours)
        rows = "\n".join(f"{price},{store},{basket}" for price, store, basket in zip(*made.values(), strict=True))
        sides = {
            "endpointInput": {"encoding": "CSV", "data": rows},
            "endpointOutput": {"encoding": "CSV", "data": "\n".join(map(str, random.poisson(4, 200)))},
        }
        line = {
            "captureData": sides,
            "eventMetadata": {"eventId": f"{day}-{hours}", "inferenceTime": f"{at:%Y-%m-%dT%H}:30:00Z"},
        }
        unit.s3.put_object(
            Bucket=f"{unit.name}-captures",
            Key=f"capture/{found.endpoint}/{VARIANT}/{at:%Y/%m/%d/%H}/live.jsonl",
            Body=json.dumps(line).encode(),
        )
    return found


@pytest.fixture
def run(monitored: MonitoredUnit, in_process: Run, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Run `mlops monitor <verb>` on the shared cloud."""
    monkeypatch.setenv("MLOPS_LOCAL_HOME", str(monitored.cloud.home))
    yield lambda verb, *arguments: in_process("monitor", verb, monitored.endpoint, *arguments)


def test_the_days_that_drifted_are_normal_against_themselves(
    monitored: MonitoredUnit, run: Run, tmp_path: Path
) -> None:
    """The previous days then alarm: captures are counted again, by the hour."""
    file = tmp_path / "live.json"
    days = ("--from", monitored.hour(DRIFTING), "--to", monitored.hour(0))
    made = run("baseline", *days, "--output", str(file))
    assert made.returncode == 0, made.stderr
    found = from_json(Baseline, file.read_bytes())
    assert found.rows == DRIFTING * len(HOURS) * 200
    assert (found.source, found.training_set_id) == ("live", monitored.baseline.training_set_id)
    assert list(found.left_out or ()) == ["basket_id"]
    assert content_hash(found) in made.stdout
    assert f"mlops monitor replay {monitored.endpoint} --baseline {file}" in made.stdout

    shown = json.loads(
        run("replay", "--json", "--set", "of_windows=1", "--set", "alarm_windows=1", "--baseline", str(file)).stdout
    )
    states = [window["state"] for window in shown["with_settings"]]
    assert states == ["VIOLATION"] * (DAYS - DRIFTING) + ["OK"] * DRIFTING
    assert {window["rows"] for window in shown["with_settings"]} == {len(HOURS) * 200}
    assert [window["state"] for window in shown["as_it_is"]][-1] == "VIOLATION"
    assert shown["baseline"] == str(file)
    done = run("replay", "--baseline", str(file)).stdout
    assert f"with the baseline {file}; as it is 2" in done
    assert "with settings" not in done


def test_calls_of_a_rollout_that_was_taken_back_are_not_counted_again(
    monitored: MonitoredUnit, run: Run, tmp_path: Path
) -> None:
    """Their captures belong to no model, as for the monitor."""
    file, at = tmp_path / "live.json", monitored.now - timedelta(hours=HOURS[-1])
    assert run("baseline", "--output", str(file)).returncode == 0
    monitored.unit.take_back(since=f"{at:%Y-%m-%dT%H}:20:00Z", until=f"{at:%Y-%m-%dT%H}:40:00Z")
    try:
        shown = json.loads(run("replay", "--json", "--baseline", str(file)).stdout)
    finally:
        monitored.unit.take_back()
    rows = [window["rows"] for window in shown["with_settings"]]
    assert rows == [len(HOURS) * 200] * (DAYS - 1) + [(len(HOURS) - 1) * 200]
    assert shown["taken_back_objects"] == 1


def test_it_is_of_the_conditions_and_clusters_that_are_asked_for(
    monitored: MonitoredUnit, run: Run, tmp_path: Path
) -> None:
    """Defaults to four weeks up to the newest window."""
    file = tmp_path / "live.json"
    arguments = (
        "--cluster",
        "day",
        "--condition",
        "day_of_week",
        "--condition",
        "store",
        "--output",
        str(file),
        "--json",
    )
    shown = json.loads(run("baseline", *arguments).stdout)
    found = from_json(Baseline, file.read_bytes())
    assert shown["rows"] == found.rows == DAYS * len(HOURS) * 200
    assert shown["sha256"] == content_hash(found)
    assert [(one.name, one.kind) for one in found.conditions or ()] == [
        ("day_of_week", "day_of_week"),
        ("store", "column"),
    ]


@pytest.mark.parametrize(
    ("verb", "arguments", "message"),
    [
        ("baseline", ("--from", "2017-08-03", "--to", "2017-08-01"), "--from must be before --to"),
        ("baseline", ("--from", "2017-08-01T06:30"), "--from must be a whole hour"),
        ("baseline", ("--from", "2016-08-01", "--to", "2016-08-03"), "captures must contain rows of the live model, got none"),
        ("baseline", ("--condition", "prise"), "prise"),
        ("baseline", ("--output", "/dev/null/x"), "cannot write /dev/null/x"),
        ("replay", ("--baseline", "/nowhere.json"), "cannot read the baseline /nowhere.json: No such file"),
        ("replay", ("--baseline", "pyproject.toml"), "pyproject.toml is not a baseline"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(run: Run, verb: str, arguments: tuple[str, ...], message: str) -> None:
    """Prints a line without a traceback."""
    done = run(verb, *arguments)
    assert done.returncode == 1, done.stdout
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_baseline_of_other_inputs_is_refused(monitored: MonitoredUnit, run: Run, tmp_path: Path) -> None:
    """Rows are read by position."""
    file = tmp_path / "other.json"
    file.write_bytes(canonical_json(replace(monitored.baseline, features=monitored.baseline.features[:1])))
    done = run("replay", "--baseline", str(file))
    assert done.returncode == 1
    assert (
        "must have the inputs of the live model, price (number), store (category), basket_id (category), got price"
        in done.stderr
    )


def test_an_endpoint_without_captures_says_so(monitored: MonitoredUnit, run: Run) -> None:
    """There is nothing to count."""
    unit = monitored.unit
    unit.publish(replace(unit.endpoint_entry, capture_bucket=None))
    try:
        done = run("baseline")
    finally:
        unit.publish(unit.endpoint_entry)
    assert done.returncode == 1
    assert "has no captures to count again" in done.stderr
