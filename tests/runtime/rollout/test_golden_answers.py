"""Responses to golden requests: their problems, and a bounded reason."""

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
    is_whole,
    judge,
    read_answer,
    reason_of,
    repeated,
    slowness,
)


def test_answers_may_be_csv():
    """Prebuilt AWS images return CSV; the first column counts, as for the monitors."""
    assert read_answer(b"1.5,x\n2,y\n", "text/csv; charset=utf-8").numbers == (1.5, 2.0)
    assert read_answer(b"a,1\n", "text/csv").problem is not None


@given(st.lists(st.floats(1, 100), min_size=1, max_size=9), st.lists(st.floats(1, 100), max_size=9))
def test_the_median_decides(ours: list[float], theirs: list[float]):
    """Compared with a limit in milliseconds and with the live model's median; unmeasured latency is not checked."""
    middle = sorted(ours)[len(ours) // 2] if len(ours) % 2 else None
    found = slowness(ours, theirs, max_latency_ms=50, max_slowdown=None)
    if middle is not None:
        assert bool(found) == (middle > 50)
    assert slowness(ours, ours, max_latency_ms=None, max_slowdown=1.0) == []
    assert slowness([], theirs, max_latency_ms=1, max_slowdown=1.0) == []
    assert slowness(ours, [], max_latency_ms=None, max_slowdown=1.0) == []
    long = [10 * time for time in ours]
    assert slowness([4 * time for time in long], long, max_latency_ms=None, max_slowdown=3.9) != []
    assert (
        slowness([time + 9 for time in ours], ours, max_latency_ms=None, max_slowdown=1.0) == []
    )  # too small to notice
    assert slowness([*ours, min(theirs, default=1)], theirs, max_latency_ms=None, max_slowdown=1.0) == []


@given(st.lists(st.floats(-9, 9), min_size=1, max_size=9))
def test_the_same_again_is_repeated(numbers: list[float]):
    """Except for rounding; the first differing row is named."""
    assert repeated(numbers, numbers, "in round 2") == []
    assert repeated(numbers, [number * (1 + 1e-6) for number in numbers], "in round 2") == []
    other = [*numbers[:-1], numbers[-1] + 1]
    assert (
        f"1 of {len(numbers)} rows got another answer in round 3, first row {len(numbers) - 1}: "
        in repeated(numbers, other, "in round 3")[0]
    )


@given(
    st.dictionaries(
        st.text(min_size=1, max_size=64), st.lists(st.text(max_size=300), min_size=1), min_size=1, max_size=20
    )
)
def test_the_reason_names_every_failing_request(problems: dict[str, list[str]]):
    """Each request keeps its share of the text, however long the problems are."""
    reason = reason_of(problems, of=100)
    assert len(reason) <= MAXIMUM_REASON
    assert all(name[:30] in reason for name in problems)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_a_model_is_at_no_distance_from_itself(numbers: list[float]):
    """A doubled number is at distance one."""
    assert set(deviations(numbers, numbers)) == {0.0}
    assert deviation_problem(deviations(numbers, numbers), 0.0) is None
    halves = [number / 4 for number in numbers]
    assert all(
        far == pytest.approx(1) or not near
        for near, far in zip(halves, deviations([2 * n for n in halves], halves), strict=True)
    )


@given(st.lists(st.floats(), max_size=5), st.floats(-5, 5), st.floats(-5, 5))
def test_what_is_judged_right_keeps_to_all_bounds(numbers: list[float], low: float, high: float):
    """There is no problem if and only if there is one finite number per row and all are within the bounds."""
    request = GoldenRequest(name="n", body="x", rows=3, minimum=low, maximum=high)
    right = len(numbers) == 3 and all(math.isfinite(n) and low <= n <= high for n in numbers)
    assert (judge(request, Reply(numbers=tuple(numbers))) == []) == right


LISTS = GoldenRequest(name="wines", body='{"instances": [[1], [2]]}', rows=2, columns=3, minimum=0, maximum=1)


def test_a_list_a_row_is_read_from_json_and_csv() -> None:
    """The numbers of a row are in order; a row with other numbers is invalid."""
    assert read_answer(b'{"predictions": [[0.5, 0.5], [1, 0]]}', "application/json", 2).numbers == (0.5, 0.5, 1.0, 0.0)
    assert read_answer(b"0.5,0.5\n1,0\n", "text/csv", 2).numbers == (0.5, 0.5, 1.0, 0.0)
    for body in (b'{"predictions": [[0.5, 0.5], [1]]}', b'{"predictions": [0.5, 0.5]}'):
        assert "expected a list of 2 numbers for each row" in str(read_answer(body, "application/json", 2).problem)
    assert read_answer(b'{"predictions": [[0.5, 0.5]]}', "application/json").problem is not None


def test_bounds_and_rows_of_lists_are_judged_by_row() -> None:
    """Reports the row of a probability above 1, a missing number, and a row that differs alone."""
    numbers = (0.2, 0.3, 0.5, 0.1, 0.8, 0.1)
    assert judge(LISTS, Reply(numbers=numbers), {1: Reply(numbers=(0.1, 0.8, 0.1))}) == []
    assert is_whole(LISTS, Reply(numbers=numbers))
    assert judge(LISTS, Reply(numbers=(*numbers[:5], 1.5))) == [
        "1 of 6 numbers above the maximum 1, first in row 1: got 1.5"
    ]
    assert judge(LISTS, Reply(numbers=numbers[:5])) == ["got 5 numbers for 2 rows"]
    found = judge(LISTS, Reply(numbers=numbers), {1: Reply(numbers=(0.1, 0.1, 0.8))})
    assert found[0].startswith(
        "1 of 1 rows differ when sent alone, first row 1: got [0.1, 0.1, 0.8] alone and [0.1, 0.8, 0.1] among 2"
    )
    again = (*numbers[:3], 0.8, 0.1, 0.1)
    assert repeated(numbers, again, "in round 2", columns=3) == [
        "1 of 2 rows got another answer in round 2, first row 1: got 0.8 after 0.1"
    ]


def test_each_output_has_its_own_bounds() -> None:
    """A waist of 80 is as wrong as a weight of 30."""
    request = GoldenRequest(name="men", body="[]", rows=2, columns=2, minimums=(50, 20), maximums=(120, 60))
    assert judge(request, Reply(numbers=(80, 35, 90, 40))) == []
    assert judge(request, Reply(numbers=(80, 35, 30, 80))) == [
        "1 of 2 numbers of column 0 below the minimum 50, first in row 1: got 30",
        "1 of 2 numbers of column 1 above the maximum 60, first in row 1: got 80",
    ]


def test_each_row_is_held_to_bounds_of_its_own() -> None:
    """Finds one forgotten category of many, whatever the common bounds; null is no bound."""
    low, high = (2.0, 5.0, None), (9.0, None, 3.0)
    request = GoldenRequest(name="n", body="x", rows=3, row_minimums=low, row_maximums=high)
    assert judge(request, Reply(numbers=(2.0, 5.0, 3.0))) == []
    assert judge(request, Reply(numbers=(2.0, 0.0, 4.0))) == [
        "1 numbers below the bound of their row, first in row 1: got 0.0, allowed is 5",
        "1 numbers above the bound of their row, first in row 2: got 4.0, allowed is 3",
    ]
