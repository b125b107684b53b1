"""`mlops monitor` for a monitor with results of six days, three of them with higher prices."""

import itertools
import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from prometheus_client.parser import text_string_to_metric_families
from tests.cli.deployed_unit import DeployedUnit
from tests.cli.monitored_unit import MonitoredUnit

from mlops_cli import monitor as monitor_command
from mlops_cli.monitor_place import watched
from mlops_local.cloud import Cloud
from mlops_runtime.contracts.rollout import AuditRecord

Run = Callable[..., subprocess.CompletedProcess[str]]

_number = itertools.count(1)


@pytest.fixture(scope="module")
def monitored(cloud: Cloud) -> MonitoredUnit:
    """A unit for this file on the shared cloud."""
    return MonitoredUnit(DeployedUnit(cloud, f"monitored{next(_number)}"))


@pytest.fixture
def monitor(
    monitored: MonitoredUnit, in_process: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Run]:
    """Run `mlops monitor` on the shared cloud, in its own folder."""
    monkeypatch.setenv("MLOPS_LOCAL_HOME", str(monitored.cloud.home))
    monkeypatch.chdir(tmp_path)
    yield lambda *arguments: in_process("monitor", *arguments)


def test_a_window_is_shown_and_written_as_a_page(monitored: MonitoredUnit, monitor: Run, tmp_path: Path) -> None:
    """Prints decision, states, and features by evidence; the page has distributions and previous days."""
    done = monitor("report", monitored.endpoint)

    assert done.returncode == 3, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"{monitored.endpoint} AllTraffic, ")
    assert lines[0].endswith(": 600 rows")
    assert lines[1] == monitored.reports[-1].verdict
    assert "drift          VIOLATION" in done.stdout
    first = next(line for line in lines if line.startswith("│"))
    assert "price" in first
    assert "drifted" in first
    assert "page: monitor.html" in lines
    page = (tmp_path / "monitor.html").read_text()
    assert "The last 6 windows" in page
    assert '<svg width="100%" height="20"' in page
    assert "No distributions" not in page
    assert "values are distinct" in page
    assert "minimum rows" in page


def test_the_page_is_given_what_people_did(monitored: MonitoredUnit, monitor: Run, in_process: Run) -> None:
    """Includes records of endpoint and unit; users who may not read them still get the page."""
    for verb in ("pause", "resume"):
        assert in_process(verb, monitored.unit.name, "--reason", "stock-taking").returncode == 0
    with watched(monitored.endpoint, None, monitored.cloud.home) as found:
        records, unread = monitor_command._records(found)

    assert [record.outcome.value for record in records] == ["PROMOTED", "PAUSED", "RESUMED"]
    assert unread == ""
    refused = {"Error": {"Code": "AccessDeniedException", "Message": "no"}}

    def denied() -> list[AuditRecord]:
        raise ClientError(refused, "GetObject")

    assert monitor_command._records(replace(found, records=denied)) == (
        (),
        "AWS refused GetObject (AccessDeniedException): no; docs/operations.md lists the permissions of each command",
    )


def test_another_window_is_named_by_the_hour_in_which_it_ended(monitored: MonitoredUnit, monitor: Run) -> None:
    """The days before the price increase are quiet."""
    done = monitor("report", monitored.endpoint, "--window", monitored.hour(4), "--output", "early.html")

    assert done.returncode == 0, done.stderr
    assert "drift          OK" in done.stdout
    assert "page: early.html" in done.stdout
    assert "The last 2 windows" in Path("early.html").read_text()


def test_the_only_window_of_a_day_is_named_by_the_day(monitored: MonitoredUnit, monitor: Run) -> None:
    """With several windows the error lists them."""
    report = monitored.reports[-3]
    day = report.window_until[:10]
    shown = json.loads(monitor("report", monitored.endpoint, "--window", day, "--json").stdout)
    assert shown["window_until"] == report.window_until

    other = datetime.fromisoformat(report.window_until).replace(hour=(int(report.window_until[11:13]) + 1) % 24)
    monitored.store.put_report(replace(report, window_until=other.isoformat()), {}, other)
    try:
        done = monitor("report", monitored.endpoint, "--window", day)
    finally:
        key = monitored.store.report_uri(other).removeprefix(f"s3://{monitored.artifacts}/")
        monitored.unit.s3.delete_object(Bucket=monitored.artifacts, Key=key)
    assert done.returncode == 1
    assert f"2 windows of {monitored.endpoint} ended on {day}, name one of: {day}T" in done.stderr


def test_programs_read_the_report_itself(monitored: MonitoredUnit, monitor: Run) -> None:
    """Writes no page unless requested."""
    result = monitor("report", monitored.endpoint, "--json")

    assert json.loads(result.stdout)["verdict"] == monitored.reports[-1].verdict
    assert not Path("monitor.html").exists()
    monitor("report", monitored.endpoint, "--json", "--output", "page.html")
    assert Path("page.html").exists()


def test_a_feature_is_explained(monitored: MonitoredUnit, monitor: Run) -> None:
    """Prints finding, advice, distribution and history."""
    done = monitor("explain", monitored.endpoint, "price")

    assert done.returncode == 0, done.stderr
    assert f"price of {monitored.endpoint}, " in done.stdout
    assert "  do: " in done.stdout
    assert "PSI 0." in done.stdout
    assert "▓" in done.stdout
    assert "░" in done.stdout
    history = [line for line in done.stdout.splitlines() if line.startswith("│") and ":00" in line]
    assert ["drifted" in line or "in this window" in line for line in history] == [False] * 3 + [True] * 3
    shown = json.loads(monitor("explain", monitored.endpoint, "price", "--json").stdout)
    assert shown["feature"]["drifted"] is True
    assert sum(row["after"] for row in shown["distribution"]) == pytest.approx(1)
    assert [each["drifted"] for each in shown["history"]] == [False] * 3 + [True] * 3


def test_what_was_not_tested_is_explained_too(monitored: MonitoredUnit, monitor: Run) -> None:
    """An identifier is counted and not tested."""
    done = monitor("explain", monitored.endpoint, "basket_id")

    assert "UTC: not tested" in done.stdout
    assert "  do: nothing: it was not tested, " in done.stdout
    assert "values are distinct" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("explain", "prise"), "has no feature 'prise', it has "),
        (("explain", "prise"), "; did you mean price?"),
        (("report", "--window", "soon"), "--window must be a time such as 2017-08-08T06 or 2017-08-08, got 'soon'"),
        (("report", "--window", "2017-01-01"), "ended at 2017-01-01; the newest ended at "),
        (("report", "--output", "no/such/folder.html"), "cannot write no/such/folder.html: No such file or directory"),
    ],
)
def test_what_is_wrong_is_one_line(
    monitored: MonitoredUnit, monitor: Run, arguments: tuple[str, ...], message: str
) -> None:
    """Prints the fix and no traceback."""
    done = monitor(arguments[0], monitored.endpoint, *arguments[1:])

    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_an_endpoint_must_be_named_where_there_are_several(
    cloud: Cloud, monitored: MonitoredUnit, monitor: Run
) -> None:
    """The error lists them; an endpoint without a report is reported."""
    bare = DeployedUnit(cloud, f"bare{next(_number)}")
    bare.publish(replace(bare.unit_entry, artifacts_bucket=monitored.artifacts))

    done = monitor("report")
    assert done.returncode == 1
    assert "name the endpoint: deployed are: " in done.stderr
    assert monitored.endpoint in done.stderr
    unwatched = monitor("report", bare.endpoint)
    assert unwatched.returncode == 1
    assert f"the monitor of {bare.endpoint} has written no report yet" in unwatched.stderr


def test_a_baseline_that_was_changed_is_not_shown(monitored: MonitoredUnit, monitor: Run) -> None:
    """The page has the reason for missing distributions; the rest is shown."""
    body = monitored.unit.s3.get_object(Bucket=monitored.artifacts, Key=monitored.baseline_key)["Body"].read()
    changed = body.replace(b'"rows":8000', b'"rows":8001')
    assert changed != body
    monitored.unit.s3.put_object(Bucket=monitored.artifacts, Key=monitored.baseline_key, Body=changed)
    try:
        done = monitor("report", monitored.endpoint)
        explained = monitor("explain", monitored.endpoint, "price")
    finally:
        monitored.unit.s3.put_object(Bucket=monitored.artifacts, Key=monitored.baseline_key, Body=body)

    assert "was changed after this window was decided" in done.stdout
    assert "No distributions" in Path("monitor.html").read_text()
    assert "no distribution: the baseline" in explained.stdout


def test_the_status_says_what_the_monitor_found(monitored: MonitoredUnit, monitor: Run, in_process: Run) -> None:
    """Prints a line for the endpoint, or JSON."""
    done = in_process("status", monitored.unit.name)
    shown = json.loads(in_process("status", monitored.unit.name, "--json").stdout)

    assert "    monitor   drift VIOLATION, quality NO_LABELS_YET, estimates INSUFFICIENT_DATA, latency " in done.stdout
    assert "engine LAMBDA" in done.stdout
    assert shown["units"][0]["endpoints"][0]["monitor"]["verdict"] == monitored.reports[-1].verdict


def test_metrics_are_printed_for_prometheus(monitored: MonitoredUnit, monitor: Run) -> None:
    """Prints the newest window's metrics as the run wrote them, and their dashboard."""
    done = monitor("metrics", monitored.endpoint)
    assert done.returncode == 0, done.stderr
    found = {family.name: family.samples for family in text_string_to_metric_families(done.stdout)}
    assert {sample.labels["endpoint"] for samples in found.values() for sample in samples} == {monitored.endpoint}
    end = datetime.fromisoformat(monitored.reports[-1].window_until)
    assert found["mlops_monitor_window_end_timestamp_seconds"][0].value == end.timestamp()
    assert json.loads(monitor("metrics", monitored.endpoint, "--json").stdout)["text"] == done.stdout
    board = monitor("dashboard")
    assert json.loads(board.stdout) == json.loads(monitor("dashboard", "--json").stdout)


def test_a_monitor_without_metrics_says_when_they_come(monitored: MonitoredUnit, monitor: Run) -> None:
    """Covers a monitor that last ran before metrics were written."""
    s3, key = monitored.unit.s3, f"monitor/{monitored.endpoint}/metrics.prom"
    kept = s3.get_object(Bucket=monitored.artifacts, Key=key)["Body"].read()
    s3.delete_object(Bucket=monitored.artifacts, Key=key)
    done = monitor("metrics", monitored.endpoint)
    s3.put_object(Bucket=monitored.artifacts, Key=key, Body=kept)
    assert done.returncode == 1
    assert "has written no metrics yet; it writes them with each report" in done.stderr
