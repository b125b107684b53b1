"""``mlops runs``: output of a pipeline's history; ``tests/runtime/retraining/test_run_history.py`` reads it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from typer.testing import CliRunner

from mlops_cli import runs
from mlops_cli.aws_account import UserError
from mlops_runtime.contracts.model import Evaluation, GateCheck, GateResult, GateVerdict
from mlops_runtime.contracts.retraining import Decision, TrainingMetrics, Trigger
from mlops_runtime.contracts.unit_entries import PipelineEntry
from mlops_runtime.retraining.run_comparison import RunComparison, RunError, SegmentComparison
from mlops_runtime.retraining.run_history import Run, RunDetails, RunStep

PIPELINE = PipelineEntry(
    pipeline="demand-forecast", unit="demand", group="g", retraining_table="t", retrain_machine="m", queue_url="q"
)
PACKAGE = "arn:aws:sagemaker:us-east-1:123456789012:model-package/demand-forecast/7"
RUN = Run(
    id="20170820-one",
    pipeline="demand-forecast",
    at="2017-08-20T07:00:00Z",
    ended="2017-08-20T09:05:00Z",
    seconds=7500.0,
    outcome="REGISTERED",
    reason="loss against naive -40.0% to -30.0%, must be below +0.0%; and the champion",
    trigger=Trigger.MANUAL,
    requested_by="AROAEXAMPLEOFAROLE:ann",
    detail="new prices",
    metric="wape",
    metrics={"naive": 0.3, "champion": 0.21, "candidate": 0.2},
    package=PACKAGE,
    approval="Approved",
)
REFUSED = Run(
    id="e1",
    pipeline="demand-forecast",
    at="2017-08-20T10:00:00Z",
    outcome="REFUSED",
    reason="3600 s of the cool-down are left",
    trigger=Trigger.ALARM,
    requested_by="demand-drift",
    decision=Decision.COOLING_DOWN,
    free_at="2017-08-20T14:20:00Z",
)
COMPARISON = RunComparison(
    first="a",
    second="b",
    metric="wape",
    rows=200,
    first_loss=0.2,
    second_loss=0.15,
    difference=-0.25,
    low=-0.3,
    high=-0.2,
    confidence=0.95,
    rivals={"naive": 0.3},
    segments=(SegmentComparison(segment="store=1", rows=10, first=0.2, second=0.1),),
    hyperparameters={"depth": ("3", None)},
    training={"rmse": (1.0, 0.5)},
)


class History:
    """History of a pipeline as the test defines it."""

    pipeline = PIPELINE

    def __init__(self) -> None:
        self.found: tuple[Run, ...] = (REFUSED, RUN)
        self.details = RunDetails(run=RUN)
        self.requests: list[Any] = []

    def runs(self, **arguments: Any) -> tuple[Run, ...]:
        """Return the test's runs."""
        self.requests.append(arguments)
        return self.found

    def run(self, name: str) -> RunDetails:
        """Return the only run."""
        if name == "no-such":
            raise RunError("run 'no-such' of demand-forecast not found")
        return self.details

    def compare(self, first: str, second: str) -> RunComparison:
        """Compare any two runs."""
        self.requests.append((first, second))
        return COMPARISON

    def log(self, *arguments: Any, **options: Any) -> Iterator[str]:
        """Return two lines."""
        self.requests.append((arguments, options))
        return iter(("epoch 1", "epoch 2"))


@pytest.fixture
def history(monkeypatch: pytest.MonkeyPatch) -> History:
    """A pipeline's history."""
    made = History()

    @contextmanager
    def account(*_: Any) -> Iterator[None]:
        yield None

    monkeypatch.setattr(runs, "account", account)
    monkeypatch.setattr(runs, "history_of", lambda *_: made)
    monkeypatch.setenv("COLUMNS", "250")
    return made


def _runs(*arguments: str) -> str:
    result = CliRunner().invoke(runs.app, arguments)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_line_says_who_what_and_against_whom(history: History) -> None:
    """A refused request is a line too."""
    output = _runs("list", "--last", "5", "--from", "2017-08-01")
    assert history.requests == [{"last": 5, "since": datetime(2017, 8, 1, tzinfo=UTC)}]
    refused, run = (line for line in output.splitlines() if "2017-08-20" in line)
    assert "REFUSED COOLING_DOWN, free at 14:20" in refused
    assert "alarm demand-drift" in refused
    assert "3600 s of the cool-down are left" in refused
    for part in ("manual ann", "REGISTERED as 7, Approved", "2 h 5 min", "new prices"):
        assert part in run
    assert "wape 0.2 (champion 0.21, naive 0.3)" in run


def test_json_has_the_version(history: History) -> None:
    """Uses the contract of runs."""
    refused, run = json.loads(_runs("list", "--json"))
    assert (run["version"], run["metrics"]["naive"], refused["decision"]) == (7, 0.3, "COOLING_DOWN")
    history.found = ()
    assert _runs("list", "--json") == "[]\n"
    assert "demand-forecast has no run yet; start one: mlops train demand-forecast" in _runs("list")


def test_a_refusal_of_another_day_says_the_day(history: History) -> None:
    """Repeated refusals have their number."""
    later = replace(REFUSED, free_at="2017-08-21T00:00:00Z", times=4, trigger=None)
    assert runs.outcome_of(later) == "REFUSED COOLING_DOWN 4 times, free at 2017-08-21 00:00"
    history.found = (
        later,
        replace(RUN, outcome="REJECTED", package=None, trigger=Trigger.SCHEDULE, requested_by="aws.events"),
    )
    output = _runs("list")
    assert "unknown" in output
    assert "schedule " in output
    assert "loss against naive -40.0% to -30.0%, must be below +0.0%" in output


def test_a_run_is_shown_with_everything(history: History) -> None:
    """Prints jobs, hyperparameters, curves, losses and checks."""
    evaluation = Evaluation(
        metric="wape",
        metrics=RUN.metrics,
        blocks=(),
        rows=200,
        trained_until="2017-07-01",
        holdout_from="2017-07-01",
        holdout_until="2017-08-01",
        artifact_sha256="a" * 64,
        model_sha256="b" * 64,
        training_set_id="set-1",
        baseline_uri="s3://b/baseline.json",
        baseline_sha256="8" * 64,
    )
    check = GateCheck(rival="naive", passed=True, low=-0.4, high=-0.3, limit=0.0, reason="loss against naive")
    history.details = RunDetails(
        run=RUN,
        steps=(
            RunStep(step="train", job="j", status="Completed", seconds=42.0),
            RunStep(step="evaluate", job="j", status="Failed", failure="no rows\nTraceback"),
        ),
        hyperparameters={"depth": "3"},
        training=TrainingMetrics(
            metrics={"rmse": 1.5},
            step="epoch",
            steps=(1.0, 2.0, 3.0),
            curves={"loss": (3.0, 1.0, 2.0), "empty": (None, None, None)},
            problems=("metrics.csv: too long",),
        ),
        evaluation=evaluation,
        gate=GateResult(
            verdict=GateVerdict.PASSED, checks=(check,), evaluation_uri="u", evaluation_sha256="f" * 64, reason="r"
        ),
    )
    output = _runs("show", "latest")
    for part in (
        "20170820-one of demand-forecast: REGISTERED as 7, Approved",
        "requester  manual ann: new prices",
        "package    demand-forecast/7 (Approved)",
        "wape on 200 rows from 2017-07-01 to 2017-08-01",
        "train Completed in 42 s",
        "evaluate Failed: no rows\n",
        "depth = 3",
        "3 to 2 over 3 of epoch, least 1 at 2  █▁▅",
        "not read: metrics.csv: too long",
        "passed  loss against naive",
    ):
        assert part in output
    found = json.loads(_runs("show", "latest", "--json"))
    assert (found["training"]["curves"]["loss"], found["evaluation"]["rows"]) == ([3.0, 1.0, 2.0], 200)
    assert "blocks" not in found["evaluation"]


def test_a_run_that_left_nothing_is_shown(history: History) -> None:
    """Covers a refusal that only the guard recorded."""
    history.details = RunDetails(run=REFUSED)
    assert "reason     3600 s of the cool-down are left" in _runs("show", "e1")
    found = json.loads(_runs("show", "e1", "--json"))
    assert (found["evaluation"], found["training"], found["steps"]) == (None, None, [])


def test_two_runs_are_compared(history: History) -> None:
    """The decision comes first."""
    output = _runs("compare", "a", "b")
    assert output.startswith("b is better: wape of b is -25.0% against a, between -30.0% and -20.0% (95%, 200 rows)")
    assert "store=1" in output
    assert "depth                    3 -> -" in output
    assert "rmse                     1 -> 0.5" in output
    assert json.loads(_runs("compare", "a", "b", "--json"))["verdict"] == "b is better"
    assert history.requests == [("a", "b"), ("a", "b")]


def test_logs_are_printed(history: History) -> None:
    """Prints those of the named job."""
    assert _runs("logs", "latest", "--step", "train", "--last", "2") == "epoch 1\nepoch 2\n"
    assert history.requests == [(("latest", "train"), {"last": 2})]
    assert json.loads(_runs("logs", "latest", "--json")) == {"run": "latest", "lines": ["epoch 1", "epoch 2"]}


def test_control_codes_of_a_container_are_spelled_out(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    """C0 and C1 codes could rewrite the terminal; tabs stay, and JSON escapes by itself."""
    lines = ["epoch\t1", "\x1b[2Jgone", "back\x9b1A\r"]
    monkeypatch.setattr(type(history), "log", lambda *_, **__: iter(lines))
    assert _runs("logs", "latest") == "epoch\t1\n\\x1b[2Jgone\nback\\x9b1A\\r\n"
    printed = _runs("logs", "latest", "--json")
    assert json.loads(printed)["lines"] == lines
    assert printed.isascii()
    assert "\x1b" not in printed


def test_fails_by_name(history: History) -> None:
    """Shows the library's message."""
    with pytest.raises(UserError, match="run 'no-such' of demand-forecast not found"):
        _runs("show", "no-such")
    assert history.requests == []
