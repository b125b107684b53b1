"""What a Deployment's controller does: https://kubernetes.io/docs/concepts/workloads/controllers/deployment/."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_local.kubernetes import deployments
from mlops_local.kubernetes.deployments import Seen


def _deployment(
    replicas: int, *, version: str = "v2", surge: Any = "25%", unavailable: Any = 0, kind: str = "RollingUpdate"
) -> dict[str, Any]:
    strategy = {"type": kind, "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}
    spec = {"replicas": replicas, "strategy": strategy, "template": {"image": version}}
    return {"metadata": {"name": "forecast-blue", "generation": 3}, "spec": spec}


def _hash(version: str) -> str:
    return deployments.template_hash(_deployment(1, version=version))


@pytest.mark.parametrize(
    ("replicas", "surge", "unavailable", "expected"),
    [(10, "25%", "25%", (3, 2)), (2, "25%", 0, (1, 0)), (4, 1, 1, (1, 1)), (3, 0, "10%", (0, 1))],
)
def test_percentages_round_up_for_the_surge_and_down_for_the_rest(
    replicas: int, surge: Any, unavailable: Any, expected: tuple[int, int]
) -> None:
    """The page's sections on max surge and max unavailable; both cannot be 0."""
    assert deployments.bounds(_deployment(replicas, surge=surge, unavailable=unavailable)) == expected


def test_recreate_ends_all_before_it_starts_any() -> None:
    """The page's section on Recreate."""
    old = [Seen("a", _hash("v1"), True), Seen("b", _hash("v1"), False, True)]
    deployment = _deployment(2, kind="Recreate")

    assert deployments.step(deployment, old) == deployments.Step(end=("a",))
    assert deployments.step(deployment, []) == deployments.Step(start=2)


@given(
    replicas=st.integers(0, 5), old=st.integers(0, 5), surge=st.integers(0, 3), unavailable=st.integers(0, 3), choices=st.randoms()
)  # fmt: skip
def test_a_rollout_keeps_its_bounds_and_ends(
    replicas: int, old: int, surge: int, unavailable: int, choices: Any
) -> None:
    """Pods become ready and go in any order: never more than the surge, never fewer ready than allowed, and then all is new."""
    deployment = _deployment(replicas, surge=surge, unavailable=unavailable)
    allowed = deployments.bounds(deployment)
    pods = [Seen(f"old{n}", _hash("v1"), True) for n in range(old)]
    floor = min(old, max(replicas - allowed[1], 0))
    for turn in range(60):
        step = deployments.step(deployment, pods)
        pods = [Seen(p.name, p.template, p.is_ready, p.is_going or p.name in step.end) for p in pods]
        pods += [Seen(f"new{turn}-{n}", _hash("v2"), False) for n in range(step.start)]
        living = [p for p in pods if not p.is_going]
        assert len(living) <= max(old, replicas + allowed[0])
        assert sum(p.is_ready for p in living) >= floor
        pods = [p for p in pods if not (p.is_going and choices.random() < 0.7)]
        pods = [Seen(p.name, p.template, p.is_ready or choices.random() < 0.7, p.is_going) for p in pods]

    pods = [p for p in pods if not p.is_going]
    assert [p.template for p in pods] == [_hash("v2")] * replicas
    assert deployments.step(deployment, pods) == deployments.Step()


def _conditions(status: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {row["type"]: (row["status"], row["reason"]) for row in status["conditions"]}


def test_a_status_at_rest() -> None:
    """The page's section on a complete Deployment."""
    pods = [Seen("a", _hash("v2"), True), Seen("b", _hash("v2"), True)]

    status = deployments.status(_deployment(2), pods, failure=None, is_late=True)

    assert _conditions(status)["Progressing"] == ("True", "NewReplicaSetAvailable")
    assert _conditions(status)["Available"] == ("True", "MinimumReplicasAvailable")
    assert {k: v for k, v in status.items() if k != "conditions"} == {
        "observedGeneration": 3, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 2, "availableReplicas": 2
    }  # fmt: skip


def test_a_status_that_is_late_names_the_deadline() -> None:
    """The page's section on a failed Deployment: ProgressDeadlineExceeded."""
    status = deployments.status(_deployment(2), [Seen("a", _hash("v2"), False)], failure=None, is_late=True)

    assert _conditions(status)["Progressing"] == ("False", "ProgressDeadlineExceeded")
    assert status["unavailableReplicas"] == 2
    assert "readyReplicas" not in status


def test_a_pod_that_cannot_be_made_is_a_condition() -> None:
    """ReplicaFailure with the reason FailedCreate."""
    status = deployments.status(_deployment(1), [], failure="exceeded quota: demand", is_late=False)

    assert _conditions(status)["ReplicaFailure"] == ("True", "FailedCreate")
    assert "exceeded quota" in status["conditions"][-1]["message"]
