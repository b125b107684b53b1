"""Jobs left by a killed run, found by name; ``tests/cli/test_verify.py`` covers the rest of a unit."""

from __future__ import annotations

from typing import Any

import pytest
from tests.runtime.verify.answers import NAMES, Answers, answered

from mlops_runtime.verify import leftovers

ASKED = f"{NAMES.unit}-asked"
NOTHING: dict[str, Any] = {
    "ListEndpoints": {"Endpoints": []},
    "ListEndpointConfigs": {"EndpointConfigs": []},
    "ListModels": {"Models": []},
    "DescribeAlarms": {"MetricAlarms": []},
    "DescribeLogGroups": {"logGroups": []},
    "GetResources": {"ResourceTagMappingList": []},
}


def jobs(member: str, **status: str) -> dict[str, Any]:
    """Return a list of jobs."""
    rows = [{f"{member}Name": name.replace("_", "-"), f"{member}Status": state} for name, state in status.items()]
    return {f"{member}Summaries": rows}


def test_jobs_of_the_unit_that_run_are_left() -> None:
    """Ended jobs cost nothing, and other names are foreign."""
    unit = NAMES.unit.replace("-", "_")
    training = jobs(
        "TrainingJob", **{f"{unit}_asked": "InProgress", f"{unit}_old": "Stopped", f"my_{unit}": "InProgress"}
    )
    transform = jobs("TransformJob", **{f"{unit}_asked": "Stopping"})
    answers = Answers(**NOTHING, ListTrainingJobs=training, ListTransformJobs=transform)

    assert leftovers.beside_the_stack(answered(answers)) == [("training-job", ASKED), ("transform-job", ASKED)]


@pytest.mark.parametrize("kind", ["training-job", "transform-job"])
@pytest.mark.parametrize("first", ["InProgress", "Stopping", "Failed"])
def test_a_job_is_stopped_and_waited_for(kind: str, first: str) -> None:
    """It is stopped once; stopping and ended jobs are not stopped again."""
    member = leftovers._JOBS[kind]
    states = [first, *(["Stopping", "Stopped"] if first != "Failed" else ["Failed"])]
    answers = Answers(**{f"Describe{member}": [{f"{member}Status": state} for state in states], f"Stop{member}": {}})
    leftovers.remove(answered(answers), (kind, ASKED), beat=lambda: None)

    assert len(answers.requests_of(f"Stop{member}")) == (1 if first == "InProgress" else 0)
    assert len(answers.requests_of(f"Describe{member}")) == len(states)
