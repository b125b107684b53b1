"""Number and size of pods."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_constructs import EksCapacity, ValidationError


def test_both_slots_run_at_their_largest_and_each_has_one_pod_more() -> None:
    """The demand of a rollout counts both slots at max_pods, with one more pod each."""
    demand = EksCapacity(min_pods=1, max_pods=4, cpu="500m", memory="512Mi").demand
    assert (demand.pods, demand.cpu, demand.memory) == (10, 5.0, 5 * 1024**3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"min_pods": 0}, "min_pods must be from 1 to 140, got 0"),
        (
            {"min_pods": 5, "max_pods": 4},
            r"max_pods must be at least min_pods \(5\), got 4; raise max_pods or lower min_pods",
        ),
        ({"cpu": "1 core"}, "cpu must be a quantity such as '500m', '2' or '1.5', got '1 core'"),
        ({"cpu": "0"}, "cpu must be a quantity"),
        ({"memory": "1G"}, "memory must be whole 'Mi' or 'Gi'"),
        ({"memory": "1.5Gi"}, "memory must be whole 'Mi' or 'Gi'"),
        ({"target_cpu_percent": 100}, "target_cpu_percent must be from 10 to 95, got 100"),
        ({"architecture": "x86_64"}, "architecture must be 'amd64' or 'arm64', got 'x86_64'"),
    ],
)
def test_fails_when_a_value_is_not_possible(changes: dict[str, Any], message: str) -> None:
    """Rejects values that no cluster accepts."""
    with pytest.raises(ValidationError, match=message):
        EksCapacity(**changes)


def test_fails_with_everything_at_once() -> None:
    """Reports each problem in a sentence."""
    with pytest.raises(ValidationError) as caught:
        EksCapacity(min_pods=0, max_pods=0, cpu="", memory="")
    assert len(caught.value.problems) == 4


@given(
    maximum=st.integers(1, 140),
    millis=st.integers(50, 64_000),
    mebibytes=st.integers(128, 1_000_000),
    less=st.integers(0, 9),
)
def test_what_is_taken_can_be_counted(maximum: int, millis: int, mebibytes: int, less: int) -> None:
    """Quantities stay exact for any number of pods."""
    capacity = EksCapacity(min_pods=max(1, maximum - less), max_pods=maximum, cpu=f"{millis}m", memory=f"{mebibytes}Mi")
    pods = 2 * (maximum + 1)
    assert capacity.demand.cpu == pytest.approx(pods * millis / 1000)
    assert capacity.demand.memory == pods * mebibytes * 1024**2
