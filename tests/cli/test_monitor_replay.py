"""`mlops monitor replay`: new decisions over stored counts of six days."""

import itertools
import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from tests.cli.deployed_unit import DeployedUnit
from tests.cli.monitored_unit import DAYS, DRIFTING, ROWS, VARIANT, MonitoredUnit

from mlops_cli.aws_account import UserError
from mlops_cli.monitor_replay import changed
from mlops_local.cloud import Cloud
from mlops_runtime.contracts import canonical_json, from_json
from mlops_runtime.contracts.monitor import Counts
from mlops_runtime.monitor.spec import MonitorSpec
from mlops_runtime.monitor.window import Window

Run = Callable[..., subprocess.CompletedProcess[str]]

_number = itertools.count(1)


@pytest.fixture(scope="module")
def monitored(cloud: Cloud) -> MonitoredUnit:
    """A unit for this file on the shared cloud."""
    return MonitoredUnit(DeployedUnit(cloud, f"replayed{next(_number)}"))


@pytest.fixture
def replay(monitored: MonitoredUnit, in_process: Run, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Run `mlops monitor replay` on the shared cloud."""
    monkeypatch.setenv("MLOPS_LOCAL_HOME", str(monitored.cloud.home))
    yield lambda *arguments: in_process("monitor", "replay", monitored.endpoint, *arguments)


@contextmanager
def _newest(monitored: MonitoredUnit, **changes: Any) -> Iterator[None]:
    """Change the newest report temporarily."""
    report = monitored.reports[-1]
    place = monitored.store.report_uri(datetime.fromisoformat(report.window_until)).removeprefix("s3://")
    bucket, _, key = place.partition("/")
    monitored.unit.s3.put_object(Bucket=bucket, Key=key, Body=canonical_json(replace(report, **changes)))
    try:
        yield
    finally:
        monitored.unit.s3.put_object(Bucket=bucket, Key=key, Body=canonical_json(report))


def _states(shown: dict[str, list[dict[str, object]]], which: str) -> list[object]:
    return [window["state"] for window in shown[which]]


def test_as_it_is_it_says_what_the_monitor_said(monitored: MonitoredUnit, replay: Run) -> None:
    """Equal counts and thresholds give equal states, from the first day with calls."""
    shown = json.loads(replay("--json").stdout)

    assert _states(shown, "as_it_is") == [report.drift.state.value for report in monitored.reports]
    assert _states(shown, "as_it_is") == ["OK"] * (DAYS - DRIFTING + 1) + ["VIOLATION"] * (DRIFTING - 1)
    assert shown["as_it_is"] == shown["with_settings"]
    assert shown["as_it_is"][-1]["persistent"] == ["price"]


def test_other_thresholds_may_say_something_else(replay: Run) -> None:
    """One window suffices if requested; a shift below the thresholds is no drift."""
    one = json.loads(replay("--json", "--set", "alarm_windows=1").stdout)
    large = json.loads(replay("--json", "--set", "minimum_effect=0.9", "--set", "relative_shift=0.9").stdout)

    assert _states(one, "with_settings") == ["OK"] * (DAYS - DRIFTING) + ["VIOLATION"] * DRIFTING
    assert _states(large, "with_settings") == ["OK"] * DAYS
    assert _states(large, "as_it_is").count("VIOLATION") == DRIFTING - 1
    assert large["settings"] == {"minimum_effect": "0.9", "relative_shift": "0.9"}


def test_a_person_reads_how_many_would_have_alarmed(monitored: MonitoredUnit, replay: Run) -> None:
    """Prints a line per window with both states; drift in too few windows is in brackets."""
    done = replay("--set", "minimum_effect=0.9", "--set", "relative_shift=0.9")
    plain = replay()

    assert done.returncode == 0, done.stderr
    assert (
        f"{monitored.endpoint}: 0 of 6 windows would have alarmed with minimum_effect=0.9, relative_shift=0.9; as it is 2; "
        "0 had too few rows to be tested" in done.stdout
    )
    assert "windows of 24 hours, one every 24 hours" in done.stdout
    assert "with settings" in done.stdout
    assert "(price)" in plain.stdout
    assert "with settings" not in plain.stdout


def test_windows_may_have_another_length(monitored: MonitoredUnit, replay: Run) -> None:
    """The step between window ends may be set too."""
    arguments = ("--from", monitored.hour(6), "--to", monitored.hour(1), "--window-hours", "48", "--every-hours", "12")
    shown = json.loads(replay("--json", *arguments).stdout)

    ends = [datetime.fromisoformat(window["window_until"]) for window in shown["as_it_is"]]
    assert (ends[0], ends[-1]) == (monitored.now - timedelta(days=4), monitored.now - timedelta(days=1))
    assert {later - earlier for earlier, later in itertools.pairwise(ends)} == {timedelta(hours=12)}
    assert len(shown["as_it_is"]) == 7
    assert {window["rows"] for window in shown["as_it_is"]} <= {900, 1200}


def test_windows_end_as_often_as_the_monitor_decided(replay: Run) -> None:
    """Applies to any length; the last window ends with the newest report's."""
    shown = json.loads(replay("--json", "--window-hours", "48").stdout)

    ends = [datetime.fromisoformat(window["window_until"]) for window in shown["as_it_is"]]
    assert {later - earlier for earlier, later in itertools.pairwise(ends)} == {timedelta(hours=24)}
    assert ends[-1] == datetime.fromisoformat(json.loads(replay("--json").stdout)["as_it_is"][-1]["window_until"])


def test_counts_of_another_model_are_left_out_and_said(monitored: MonitoredUnit, replay: Run) -> None:
    """They cannot be compared with this baseline."""
    key = f"monitor/{monitored.endpoint}/counts/{VARIANT}/{monitored.hour(1).replace('-', '/').replace('T', '/')}/other.json"
    one = monitored.first_counts(Window.before(monitored.now, 24 * DAYS))
    body = monitored.unit.s3.get_object(Bucket=monitored.artifacts, Key=one)["Body"].read()
    counts = from_json(Counts, body.replace(from_json(Counts, body).baseline_sha256.encode(), b"f" * 64))
    monitored.unit.s3.put_object(Bucket=monitored.artifacts, Key=key, Body=canonical_json(counts))
    try:
        done = replay()
    finally:
        monitored.unit.s3.delete_object(Bucket=monitored.artifacts, Key=key)

    assert "skipped: 1 object counted against another baseline" in done.stdout


def test_calls_of_a_rollout_that_was_taken_back_are_left_out_as_the_monitor_does(
    monitored: MonitoredUnit, replay: Run
) -> None:
    """An object with calls of that time belongs to no model: row counts equal those of the reports."""
    at, one = monitored.now - timedelta(hours=3), monitored.first_counts(Window.before(monitored.now, 24))
    body = monitored.unit.s3.get_object(Bucket=monitored.artifacts, Key=one)["Body"].read()
    counts = replace(from_json(Counts, body), first=f"{at:%Y-%m-%dT%H}:05:00Z", last=f"{at:%Y-%m-%dT%H}:20:00Z")
    key = f"monitor/{monitored.endpoint}/counts/{VARIANT}/{at:%Y/%m/%d/%H}/canary.json"
    monitored.store.put_counts(key, counts)
    try:
        with_it = json.loads(replay("--json").stdout)
        monitored.unit.take_back(since=f"{at:%Y-%m-%dT%H}:10:00Z", until=f"{at:%Y-%m-%dT%H}:30:00Z")
        result, without = replay(), json.loads(replay("--json").stdout)
    finally:
        monitored.unit.s3.delete_object(Bucket=monitored.artifacts, Key=key)
        monitored.unit.take_back()

    assert (with_it["as_it_is"][-1]["rows"], with_it["taken_back_objects"]) == (ROWS + ROWS // 2, 0)
    assert [window["rows"] for window in without["as_it_is"]] == [report.rows for report in monitored.reports]
    assert without["taken_back_objects"] == 1
    assert "skipped: 1 object with calls of a rollout that was rolled back" in result.stdout


def test_windows_before_the_live_model_say_so(monitored: MonitoredUnit, replay: Run) -> None:
    """They are neither silent nor too small; a window shared with an earlier model says so."""
    live = monitored.now - timedelta(days=6) + timedelta(hours=2, minutes=30)
    with _newest(monitored, live_since=f"{live:%Y-%m-%dT%H:%M:%S}Z"):
        shown = json.loads(replay("--json", "--from", monitored.hour(8)).stdout)
        done = replay("--from", monitored.hour(8), "--set", "minimum_effect=0.9", "--set", "relative_shift=0.9")

    assert _states(shown, "as_it_is") == ["NOT_YET_DEPLOYED"] * 2 + ["OK"] * 4 + ["VIOLATION"] * 2
    assert [window["hours_before_live"] for window in shown["as_it_is"]] == [24, 24, 2, 0, 0, 0, 0, 0]
    assert shown["live_since"] == f"{live:%Y-%m-%dT%H:%M:%S}Z"
    assert done.stdout.count("before the live model") == 2 * 2 + 1 + 1, done.stdout
    assert "NO_TRAFFIC" not in done.stdout
    assert "2 of 24 hours are before the live model" in " ".join(done.stdout.replace("│", " ").split())
    assert "0 of 6 windows would have alarmed" in done.stdout
    assert "0 had too few rows to be tested; 2 more ended before the live model" in done.stdout
    assert f"the live model has been serving since {live:%Y-%m-%d %H:%M} UTC" in done.stdout


def test_features_that_the_live_model_has_not_are_left_out_and_said(monitored: MonitoredUnit, replay: Run) -> None:
    """The monitor was declared for a model with more features; the others are replayed."""
    spec = monitored.reports[-1].spec
    assert spec is not None
    with _newest(monitored, spec=replace(spec, alarm_features=("price", "promotion"))):
        done = replay()

    assert done.returncode == 0, done.stderr
    assert "the monitor names 'promotion', which the live model does not have" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--set", "minimum_efect=1"), ["there is no threshold 'minimum_efect', there are features, minimum_effect, "]),
        (
            ("--set", "minimum_effect=big", "--set", "x", "--set", "minimum_ndcg=0.5", "--set", "significance=1"),
            [
                "minimum_effect must be a number, got 'big'",
                "--set must be NAME=VALUE, got 'x'",
                "minimum_ndcg is not a threshold of drift, and counts do not contain it",
            ],
        ),
        (("--set", "significance=1", "--set", "minimum_rows=1"), ["significance must be above 0", "minimum_rows must be at"]),
        (("--set", "minimum_rows=300", "--set", "minimum_rows=400"), ["minimum_rows must be set once"]),
        (("--set", "minimum_efect=1"), ["; did you mean minimum_effect?"]),
        (
            ("--set", "features=prise", "--set", "amounts=nope"),
            [
                "features: the live model has no feature 'prise', it has price, store, basket_id, ",
                "; did you mean price?",
                "amounts: the live model has no feature 'nope'",
            ],
        ),
        (("--from", "then"), ["--from must be a time such as 2017-08-08T06 or 2017-08-08, got 'then'"]),
        (("--from", "2017-08-03T06:30"), ["--from must be a whole hour, UTC, got '2017-08-03T06:30'; use 2017-08-03T06 or"]),
        (("--to", "2017-08-03T06:30"), ["--to must be a whole hour"]),
        (("--from", "2017-01-01", "--to", "2017-01-03"), ["live model has been serving since 2017-07-01T00: name a later time"]),
        (("--from", "2017-08-03", "--to", "2017-08-01"), ["--from must be before --to, got 2017-08-03T00 and 2017-08-01T00"]),
        (("--set", "of_windows=2", "--set", "alarm_windows=3"), ["alarm_windows must be 1 to of_windows, 2, got 3"]),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_at_once(replay: Run, arguments: tuple[str, ...], expected: list[str]) -> None:
    """Prints every problem at once, without a traceback."""
    done = replay(*arguments)

    assert done.returncode == 1, done.stdout
    for each in expected:
        assert each in done.stderr
    assert "Traceback" not in done.stderr


def test_a_time_without_a_window_is_refused(monitored: MonitoredUnit, replay: Run) -> None:
    """The error has valid times."""
    start, end = monitored.hour(2), monitored.hour(1)
    done = replay("--from", start, "--to", end, "--window-hours", "48")

    assert done.returncode == 1
    assert f"no window of 48 hours fits between --from {start} and --to {end}; name an earlier --from, " in done.stderr


@pytest.mark.parametrize("option", ["--window-hours", "--every-hours"])
def test_windows_are_no_longer_than_a_monitors(replay: Run, option: str) -> None:
    """A monitor's windows have at most 90 days."""
    done = replay(option, "2161")

    assert done.returncode == 2, done.stdout
    assert option in done.stderr
    assert "2160" in done.stderr


def test_settings_have_the_types_of_the_thresholds() -> None:
    """Settings are whole numbers, floats or names."""
    spec = changed(MonitorSpec(), ["minimum_rows=300", "relative_shift=0.1", "amounts=price, cost", "merge_hours=0"])

    assert spec == MonitorSpec(minimum_rows=300, relative_shift=0.1, amounts=("price", "cost"), merge_hours=0)
    with pytest.raises(UserError, match=r"minimum_rows must be an integer, got '2\.5'"):
        changed(MonitorSpec(), ["minimum_rows=2.5"])


def test_windows_that_agree_are_set_together() -> None:
    """A monitor of single windows reports that it needs more."""
    one = MonitorSpec(alarm_windows=1, of_windows=1)

    with pytest.raises(UserError, match="alarm_windows must be 1 to of_windows, 1, got 3; --set of_windows too"):
        changed(one, ["alarm_windows=3"])
    assert changed(one, ["alarm_windows=3", "of_windows=3"]).alarm_windows == 3
