"""The result of a retraining as text and exit code; used by ``test_train.py`` and ``test_model_registration.py``."""

import json
from dataclasses import replace
from typing import Any

import pytest
import typer
from tests.cli.asked_pipeline import PIPELINE, UNIT, Cloud

from mlops_cli.aws_account import UserError
from mlops_cli.retraining_verdict import REFUSED, follow
from mlops_runtime.contracts.retraining import Decision
from mlops_runtime.retraining.retraining_request import RetrainingRequests


def _follow(cloud: Any) -> int:
    requests = RetrainingRequests(client=lambda _: cloud, unit=UNIT, pipeline=PIPELINE)
    try:
        follow(requests, "e1", facts={}, is_awaited=True, as_json=False)
    except typer.Exit as end:
        return end.exit_code
    return 0


def test_an_approved_model_needs_no_approval(capsys: pytest.CaptureFixture[str]) -> None:
    """Prints no next command."""
    cloud = Cloud()
    approved = {"outcome": "APPROVED", "reason": "r", "package": "arn:x:model-package/g/7"}
    cloud.execution = {"status": "SUCCEEDED", "output": json.dumps(approved)}
    assert (_follow(cloud), capsys.readouterr().out) == (0, "approved as g/7: r\n")


def test_the_gates_reasons_are_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """Has its own exit code."""
    cloud = Cloud()
    rejected = {"outcome": "REJECTED", "reason": "worse; slow", "package": ""}
    cloud.execution = {"status": "SUCCEEDED", "output": json.dumps(rejected)}
    assert _follow(cloud) == REFUSED
    assert capsys.readouterr().out == "the gate refused the model; the live version stays:\n  worse\n  slow\n"


def test_an_execution_without_a_verdict_is_an_error() -> None:
    """The error has the machine's cause."""
    cloud = Cloud()
    cloud.execution = {"status": "FAILED", "error": "FAILED", "cause": "no room"}
    with pytest.raises(UserError, match=r"^one ended as FAILED: no room; the live version stays$"):
        _follow(cloud)


def test_a_model_that_was_brought_before_is_answered_by_its_run(capsys: pytest.CaptureFixture[str]) -> None:
    """Reports the earlier outcome; waits while that run continues, and a run without a result is a refusal."""
    cloud, again = Cloud(), "; use --again to measure it again"
    known = replace(cloud.decision, decision=Decision.KNOWN, reason=f"already registered as g/7 by one{again}")
    cloud.decision = replace(known, outcome="REGISTERED", package="arn:x:model-package/g/7")
    cloud.execution = {"status": "FAILED"}  # not called
    assert (_follow(cloud), capsys.readouterr().out) == (
        0,
        "already registered as g/7 by one\n  use --again to measure it again\n",
    )
    cloud.decision = replace(known, outcome="REJECTED", reason=f"already rejected by the gate; worse{again}")
    assert _follow(cloud) == REFUSED
    assert capsys.readouterr().out == "already rejected by the gate\n  worse\n  use --again to measure it again\n"
    cloud.execution = Cloud().execution
    cloud.decision = replace(known, reason=f"one measures this archive now{again}")
    assert _follow(cloud) == 0
    found = capsys.readouterr()
    assert found.err == f"one measures this archive now{again}\nwaiting for one\n"
    assert found.out.startswith("registered as demand-forecast/7: better")
    cloud.decision = replace(cloud.decision, execution=None)
    assert (_follow(cloud), capsys.readouterr().out) == (REFUSED, f"one measures this archive now{again}\n")


def test_the_guards_refusal_is_one_line_with_the_fix(capsys: pytest.CaptureFixture[str]) -> None:
    """Has the exit code of a refusal."""
    cloud = Cloud()
    cloud.decision = replace(cloud.decision, decision=Decision.BUSY, reason="another runs", execution=None)
    assert _follow(cloud) == REFUSED
    output = capsys.readouterr().out
    assert output == "the guard answered BUSY: another runs; wait until it has ended, then request it again\n"
