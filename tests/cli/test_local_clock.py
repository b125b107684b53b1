"""The embedded clock with the command: shown, moved, accelerated, and never set back behind dependent resources."""

import json
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
import typer
from typer.testing import CliRunner

from mlops_cli.__main__ import app
from mlops_cli.local_clock import moment, span
from mlops_local.cloud import Cloud

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def alarm(cloud: Cloud) -> Iterator[str]:
    """An alarm, which depends on the clock."""
    name = f"clock-{uuid4().hex[:8]}"
    cloudwatch = cloud.client("cloudwatch")
    cloudwatch.put_metric_alarm(
        AlarmName=name,
        Namespace="Test",
        MetricName="Calls",
        Statistic="Sum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1,
        ComparisonOperator="GreaterThanThreshold",
        TreatMissingData="notBreaching",
    )
    yield name
    cloudwatch.delete_alarms(AlarmNames=[name])


def test_the_clock_of_a_new_cloud_is_set_back_and_moved(in_process: Run, home: Path) -> None:
    """Allows replays of past years; prints one document for programs, and the length of a long jump for people."""
    in_process("local", "up", "--home", home)
    back = in_process("local", "clock", "--to", "2017-08-07", "--home", home)
    assert (back.returncode, back.stderr) == (0, "")
    assert back.stdout.startswith("2017-08-07T00:00:0")

    jumped = in_process("local", "clock", "--jump", "2d12h", "--json", "--home", home)
    output = json.loads(jumped.stdout)
    assert (output["from"][:10], output["now"][:13]) == ("2017-08-07", "2017-08-09T12")
    assert [line[:10] for line in jumped.stderr.splitlines()] == ["2017-08-08", "2017-08-09"]

    assert "60 embedded seconds per real second" in in_process("local", "clock", "--scale", 60, "--home", home).stdout
    assert json.loads(in_process("local", "clock", "--json", "--home", home).stdout)["scale"] == 60


def test_what_is_due_in_a_jump_runs(cloud: Cloud, alarm: str, in_process: Run) -> None:
    """An alarm without data is evaluated when its period ends."""
    before = datetime.fromisoformat(cloud.clock()["now"])
    done = in_process("local", "clock", "--jump", "10m", "--home", cloud.home)
    assert done.returncode == 0
    assert "due times ran since" in done.stdout
    assert datetime.fromisoformat(cloud.clock()["now"]) - before >= timedelta(minutes=10)
    (found,) = cloud.client("cloudwatch").describe_alarms(AlarmNames=[alarm])["MetricAlarms"]
    assert found["StateValue"] == "OK"


@pytest.mark.usefixtures("alarm")
def test_fails_to_set_the_clock_back_below_an_alarm(cloud: Cloud, in_process: Run) -> None:
    """The error names the dependent resource, and the clock stays."""
    before = cloud.clock()["epoch"]
    done = in_process("local", "clock", "--to", "2017-08-07", "--home", cloud.home)
    assert (done.returncode, done.stdout) == (1, "")
    assert "the clock cannot be set back to 2017-08-07T00:00:00.000Z: " in done.stderr
    assert "alarms exist" in done.stderr
    assert cloud.clock()["epoch"] >= before


def test_fails_on_a_speed_that_the_clock_refuses(cloud: Cloud, in_process: Run) -> None:
    """The message has the allowed range."""
    done = in_process("local", "clock", "--scale", "0", "--home", cloud.home)
    assert (done.returncode, done.stderr) == (1, "mlops: scale must be between 0.001 and 100000, got 0.0\n")


@pytest.mark.parametrize(
    "options",
    [("--jump", "1d", "--scale", "2"), ("--jump", "7"), ("--jump", "-7d"), ("--jump", "0d"), ("--to", "monday")],
)
def test_fails_on_what_is_not_a_time(options: tuple[str, ...], tmp_path: Path) -> None:
    """Usage errors exit with 2 before a cloud is called."""
    assert CliRunner().invoke(app, ["local", "clock", *options, "--home", str(tmp_path)]).exit_code == 2


def test_spans_and_times() -> None:
    """Durations are summed; times are UTC unless they have a zone."""
    assert span("1w2d3h4m5s") == timedelta(days=9, hours=3, minutes=4, seconds=5)
    assert moment("2017-08-07T06:30+02:00").astimezone(UTC) == datetime(2017, 8, 7, 4, 30, tzinfo=UTC)
    with pytest.raises(typer.BadParameter, match="in this order, such as 7d or 1d6h, got '9999999999w'"):
        span("9999999999w")
