"""Answers to golden requests: what is wrong with them, and how much of it a reason names."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_runtime.contracts.serving import GoldenRequest
from mlops_runtime.rollout.golden_answers import (
    MAXIMUM_REASON,
    Reply,
    deviation_problem,
    deviations,
    judge,
    read_answer,
    reason_of,
    repeated,
    slowness,
)


def test_answers_may_be_csv():
    """Prebuilt images of AWS answer so; the first column counts, as for the monitors."""
    assert read_answer(b"1.5,x\n2,y\n", "text/csv; charset=utf-8").numbers == (1.5, 2.0)
    assert read_answer(b"a,1\n", "text/csv").problem is not None


@given(st.lists(st.floats(1, 100), min_size=1, max_size=9), st.lists(st.floats(1, 100), max_size=9))
def test_the_median_decides(ours: list[float], theirs: list[float]):
    """Against a limit in milliseconds, and against the live model's median; what was not measured is not judged."""
    middle = sorted(ours)[len(ours) // 2] if len(ours) % 2 else None
    found = slowness(ours, theirs, max_latency_ms=50, max_slowdown=None)
    if middle is not None:
        assert bool(found) == (middle > 50)
    assert slowness(ours, ours, max_latency_ms=None, max_slowdown=1.0) == []
    assert slowness([], theirs, max_latency_ms=1, max_slowdown=1.0) == []
    assert slowness(ours, [], max_latency_ms=None, max_slowdown=1.0) == []
    long = [10 * time for time in ours]
    assert slowness([4 * time for time in long], long, max_latency_ms=None, max_slowdown=3.9) != []
    assert slowness([time + 9 for time in ours], ours, max_latency_ms=None, max_slowdown=1.0) == []  # is not felt
    assert slowness([*ours, min(theirs, default=1)], theirs, max_latency_ms=None, max_slowdown=1.0) == []


@given(st.lists(st.floats(-9, 9), min_size=1, max_size=9))
def test_the_same_again_is_repeated(numbers: list[float]):
    """But for rounding; the first row that got something else is named."""
    assert repeated(numbers, numbers, 2) == []
    assert repeated(numbers, [number * (1 + 1e-6) for number in numbers], 2) == []
    other = [*numbers[:-1], numbers[-1] + 1]
    assert (
        f"1 of {len(numbers)} rows got another answer in round 3, first row {len(numbers) - 1}: "
        in repeated(numbers, other, 3)[0]
    )


@given(
    st.dictionaries(
        st.text(min_size=1, max_size=64), st.lists(st.text(max_size=300), min_size=1), min_size=1, max_size=20
    )
)
def test_the_reason_names_every_failing_request(problems: dict[str, list[str]]):
    """However long the problems are, each request keeps its share of the text."""
    reason = reason_of(problems, of=100)
    assert len(reason) <= MAXIMUM_REASON
    assert all(name[:30] in reason for name in problems)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_a_model_is_at_no_distance_from_itself(numbers: list[float]):
    """And a number that doubles is at distance one."""
    assert set(deviations(numbers, numbers)) == {0.0}
    assert deviation_problem(deviations(numbers, numbers), 0.0) is None
    halves = [number / 4 for number in numbers]
    assert all(
        far == pytest.approx(1) or not near
        for near, far in zip(halves, deviations([2 * n for n in halves], halves), strict=True)
    )


@given(st.lists(st.floats(), max_size=5), st.floats(-5, 5), st.floats(-5, 5))
def test_what_is_judged_right_keeps_to_all_bounds(numbers: list[float], low: float, high: float):
    """No problem is found exactly when there are as many finite numbers as rows and all are within the bounds."""
    request = GoldenRequest(name="n", body="x", rows=3, minimum=low, maximum=high)
    right = len(numbers) == 3 and all(math.isfinite(n) and low <= n <= high for n in numbers)
    assert (judge(request, Reply(numbers=tuple(numbers))) == []) == right
