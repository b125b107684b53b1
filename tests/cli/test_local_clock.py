"""The embedded clock with the command: shown, moved, accelerated, and never set back behind dependent resources."""

import json
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import typer
from hypothesis import given
from hypothesis.strategies import from_regex, text
from typer.testing import CliRunner

from mlops_cli.__main__ import app
from mlops_cli.aws_account import UserError
from mlops_cli.local_clock import _jump, moment, moved, span
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
    with pytest.raises(typer.BadParameter, match="such as 7d or 1d6h, got '99999"):
        span(f"{'9' * 5000}d")
    with pytest.raises(typer.BadParameter, match=r"got '0001-01-01T00:00\+14:00'"):
        moment("0001-01-01T00:00+14:00")


@given(text(max_size=30) | from_regex(r"[0-9]{1,12}[wdhms]([0-9]{1,12}[hms])?", fullmatch=True))
def test_any_text_is_a_duration_or_a_usage_error(given_text: str) -> None:
    """However long its numbers are."""
    try:
        assert span(given_text) > timedelta(0)
    except typer.BadParameter as error:
        assert repr(given_text) in str(error)


def test_a_time_that_no_calendar_has_is_refused() -> None:
    """The error has the option and both values."""
    start = datetime(2017, 8, 7, tzinfo=UTC)
    assert moved(start, timedelta(hours=-6), option="--to") == datetime(2017, 8, 6, 18, tzinfo=UTC)
    with pytest.raises(
        UserError, match=r"--jump must stay within the years 1 to 9999, got \+9,999,999 days from 2017-08-07T"
    ):
        moved(start, span("9999999d"), option="--jump")


def test_a_jump_to_the_last_day_of_the_calendar_is_made_in_days() -> None:
    """The day after does not exist."""
    moves, until = list[datetime](), datetime.max.replace(tzinfo=UTC)

    def move(at: datetime) -> dict[str, Any]:
        moves.append(at)
        return {"now": at.isoformat(), "ran": 1}

    assert _jump(until - timedelta(days=1, hours=1), until, move)["ran"] == 2
    assert moves == [until - timedelta(hours=1), until]


def test_fails_to_jump_beyond_the_calendar(cloud: Cloud, in_process: Run) -> None:
    """The clock stays."""
    before = cloud.clock()["epoch"]
    done = in_process("local", "clock", "--jump", "9999999d", "--home", cloud.home)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("mlops: --jump must stay within the years 1 to 9999, got +9,999,999 days from ")
    assert cloud.clock()["epoch"] < before + 86_400
