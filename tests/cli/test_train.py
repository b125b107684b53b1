"""Requests and output of ``mlops train``; ``tests/examples/test_registration.py`` uses a deployed pipeline."""

import json
from dataclasses import replace

import pytest
import typer
from tests.cli.asked_pipeline import EXECUTION, Cloud, stand_in
from typer.testing import CliRunner

from mlops_cli import retraining_verdict, train
from mlops_cli.__main__ import app
from mlops_cli.aws_account import UserError
from mlops_runtime.business_unit.deployed_entries import NotDeployedError
from mlops_runtime.contracts.retraining import Decision


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Cloud:
    """An account with one stand-in for every client."""
    return stand_in(monkeypatch, train)


def _train(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["train", *arguments])
    if isinstance(result.exception, UserError | NotDeployedError):
        return 1, str(result.exception)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout


def test_a_pipeline_is_asked_in_the_callers_name(cloud: Cloud) -> None:
    """The request has no model and a new id each time; the output has the next command."""
    expected = (
        'registered as demand-forecast/7: better; approve it: mlops models approve demand-forecast/7 --reason "..."'
    )
    assert _train("demand-forecast", "--reason", " the first model ") == (0, f"{expected}\n")
    assert _train("demand-forecast", "--reason", "again", "--no-wait") == (0, f"started {EXECUTION}\n")
    first, second = (json.loads(event["Detail"]) for event in cloud.events)
    assert (cloud.events[0]["Source"], cloud.events[0]["DetailType"]) == (
        "mlops.demand/AROAEXAMPLE:ann",
        "MLOps Retraining Requested",
    )
    assert (first["subject"], first["reason"], first["attributes"]) == ("demand-forecast", "the first model", {})
    assert first["id"] != second["id"]
    assert cloud.uploaded == []


def test_programs_get_one_document(cloud: Cloud) -> None:
    """Covers registered and rejected models."""
    code, output = _train("demand-forecast", "--reason", "r", "--json")
    assert (code, json.loads(output)) == (
        0,
        {
            "outcome": "REGISTERED",
            "reason": "better",
            "package": "arn:x:model-package/demand-forecast/7",
            "execution": EXECUTION,
            "pipeline": "demand-forecast",
        },
    )
    cloud.decision = replace(cloud.decision, decision=Decision.PAUSED, reason="paused by ann", execution=None)
    code, output = _train("demand-forecast", "--reason", "r", "--json")
    found = json.loads(output)
    assert (code, found["outcome"], found["reason"]) == (3, "PAUSED", "paused by ann")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("demand-forecast", "--reason", " "), "--reason must not be blank"),
        (("no-such", "--reason", "r"), "pipeline 'no-such' not found"),
        (("--reason", "r"), "name the pipeline: "),
    ],
)
def test_fails_by_name(cloud: Cloud, arguments: tuple[str, ...], message: str) -> None:
    """Requests nothing."""
    code, output = _train(*arguments)
    assert (code, message in output, cloud.events) == (1, True, []), output


def test_fails_without_a_reason() -> None:
    """It is a usage error."""
    assert _train("demand-forecast")[0] == 2


def test_a_guard_that_does_not_decide_is_named(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the dead-letter queue."""
    monkeypatch.setattr(Cloud, "get_item", lambda *_, **__: {})
    monkeypatch.setattr(retraining_verdict, "_GUARD_SECONDS", 0)
    code, output = _train("demand-forecast", "--reason", "r")
    assert (code, cloud.events != []) == (1, True)
    assert "has not decided on event e1 within 0 s" in output
    assert "the dead-letter queue of guard" in output


def test_it_is_a_command() -> None:
    """It is listed with the other commands."""
    assert "train" in typer.main.get_command(app).commands  # type: ignore[attr-defined]
