"""Coordinates of the small drawings stay inside them and keep their order."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.runtime.monitor import reports

from mlops_runtime.contracts.monitor import Measured
from mlops_runtime.monitor.page.marks import SPARK_HEIGHT, SPARK_WIDTH, in_order, marks, spark, was_tested

NUMBER = st.floats(-1e6, 1e6)


@given(st.lists(st.floats(0, 100), min_size=2, max_size=30))
def test_a_history_lies_inside_its_drawing(values: list[float]) -> None:
    """A larger PSI is never lower; the last report is at the right end."""
    found = spark(
        "price", [reports.report_of(2 + i % 20, (reports.drift("price", psi),)) for i, psi in enumerate(values)]
    )

    assert found is not None
    assert all(0 <= dot.x <= SPARK_WIDTH and 0 <= dot.y <= SPARK_HEIGHT for dot in found.dots)
    for first, second in zip(sorted(values), sorted(values)[1:], strict=False):
        assert found.dots[values.index(first)].y >= found.dots[values.index(second)].y
    assert found.dots[-1].x == SPARK_WIDTH - 4


def test_a_report_that_did_not_test_leaves_a_gap() -> None:
    """One report is no history."""
    told, untold = reports.report_of(2, reports.QUIET), reports.report_of(3, ())
    untested = reports.report_of(4, (reports.drift("price", untested="all null"),))

    assert spark("price", [told]) is None
    assert spark("price", [told, untold, untested]) is None
    found = spark("price", [told, untold, untested, told])
    assert found is not None
    assert [dot.x for dot in found.dots] == [4, SPARK_WIDTH - 4]


@given(value=NUMBER, low=NUMBER, high=NUMBER, baseline=st.none() | NUMBER, limit=st.none() | NUMBER)
def test_marks_keep_their_order(
    value: float, low: float, high: float, baseline: float | None, limit: float | None
) -> None:
    """And lie between 0 and 100 %."""
    found = marks(Measured(name="m", value=value, low=low, high=high, baseline=baseline, limit=limit))

    assert found is not None
    pairs = [
        (value, found.value),
        (low, found.low),
        (high, found.high),
        (baseline, found.baseline),
        (limit, found.limit),
    ]
    known = sorted((number, place) for number, place in pairs if number is not None and place is not None)
    places = [place for _, place in known]
    assert places == sorted(places)
    assert all(0 <= place <= 100 for place in places)


@pytest.mark.parametrize(
    "measured",
    [
        Measured(name="m", value=None),
        Measured(name="m", value=float("inf")),
        Measured(name="m", value=1, low=float("nan")),
    ],
)
def test_what_is_no_number_is_not_drawn(measured: Measured) -> None:
    """Metrics may not be defined."""
    assert marks(measured) is None


def test_reports_are_put_in_order() -> None:
    """Oldest first, later ones left out, the newest kept."""
    report = reports.report_of(8, ())
    history = [reports.report_of(day, ()) for day in (9, 3, 7, 3, 8)]

    assert [each.window_until[8:10] for each in in_order(report, history, 30)] == ["03", "07", "08"]
    assert [each.window_until[8:10] for each in in_order(report, history, 2)] == ["07", "08"]
    assert was_tested(report)
    assert not was_tested(replace(reports.silent().report))
