"""Running jobs for which a clock jump waits; ``test_monitoring_schedules.py`` has one on the embedded cloud."""

from collections.abc import Iterator
from typing import Any

import pytest

from mlops_local.functions import functions
from mlops_local.sagemaker import jobs_under_way, resource_store

RUNS = {"TrainingJobName": "t", "TrainingJobStatus": "InProgress", "SecondaryStatus": "Training"}
WAITS = {**RUNS, "SecondaryStatus": "Interrupted"}
ENDED = {**RUNS, "TrainingJobStatus": "Completed", "SecondaryStatus": "Completed"}


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[list[dict[str, Any]]]]:
    """Return training jobs poll by poll, then none; a poll takes a tenth of a second of a simulated clock."""
    found: list[list[dict[str, Any]]] = []
    at = iter(range(100_000))

    def all_records(kind: str) -> list[dict[str, Any]]:
        return found.pop(0) if kind == "TrainingJob" and found else []

    monkeypatch.setattr(resource_store, "all_records", all_records)
    monkeypatch.setattr(functions, "busy", lambda: False)
    monkeypatch.setattr("mlops_local.sagemaker.jobs_under_way.time.sleep", lambda _: None)
    monkeypatch.setattr("mlops_local.sagemaker.jobs_under_way.time.monotonic", lambda: next(at) / 10)
    yield found


def test_without_a_job_nothing_is_waited_for(looks: list[list[dict[str, Any]]]) -> None:
    """Nor with an ended job, or one that waits for embedded time."""
    looks += [[ENDED, WAITS], [RUNS]]
    jobs_under_way.settle()
    assert looks == [[RUNS]]


def test_a_job_and_the_one_that_follows_are_waited_for(looks: list[list[dict[str, Any]]]) -> None:
    """A machine starts its next job a little later."""
    looks += [[RUNS], [RUNS], [ENDED], [ENDED, RUNS], [RUNS]]
    jobs_under_way.settle()
    assert looks == []


def test_a_job_that_hangs_holds_the_clock_for_a_while_only(
    looks: list[list[dict[str, Any]]], caplog: pytest.LogCaptureFixture
) -> None:
    """The log names the job."""
    looks += [[RUNS]] * 10_000
    jobs_under_way.settle()
    assert looks
    assert "jobs (t) still run after 300 s at " in caplog.text
