"""Windows that cannot be estimated: each reason, in order, with its number."""

import numpy as np
import pytest
from tests.runtime.monitor.monitors.estimates.holdouts import Kind, estimator_of, learnt, window

from mlops_runtime.contracts.monitor import FeatureBaseline
from mlops_runtime.contracts.monitor_report import EstimateScore, ScoredWindow
from mlops_runtime.monitor.monitors.estimates.expectation import Shown, shown_columns
from mlops_runtime.monitor.monitors.estimates.support import unsupported, were_wrong


@pytest.mark.parametrize("kind", ["regression", "classification", "classes"])
@pytest.mark.parametrize(("shift", "start"), [(0.0, None), (0.7, None), (2.0, "a: the window corresponds to")])
def test_a_window_far_from_the_holdout_has_too_few_rows_like_it(kind: Kind, shift: float, start: str | None) -> None:
    """Fewer than a tenth of the holdout's rows resemble a window two standard deviations away."""
    baseline = learnt(kind, 10_000, 1)
    shown = shown_columns(estimator_of(baseline), baseline, window(kind, 2000, 2, shift=shift).counts(baseline))
    why = unsupported(shown, estimator_of(baseline).rows)
    assert why is None if start is None else why is not None and why.startswith(start)
    assert why is None or "of 10,000 labelled rows, at least 1,000 are needed" in why


def column(rows: list[float], labelled: list[float], *, bounded: bool | None = True) -> Shown:
    """Return a column with two bins within its range."""
    price = FeatureBaseline(name="price", type="number", edges=(0.0, 1.0, 2.0), counts=(0, 5, 5, 0, 0), bounded=bounded)
    return Shown("price", price, np.array(rows), np.array(labelled))


@pytest.mark.parametrize(
    ("shown", "why"),
    [
        (column([10, 490, 500, 0, 0], [0, 500, 500, 0, 0]), None),
        (
            column([11, 489, 500, 0, 0], [0, 500, 500, 0, 0]),
            "price: 1.1 % of the rows are beyond the range of the labelled rows, at most 1 % is allowed",
        ),
        # the holdout is later than the training split and covers values beyond its range
        (column([0, 100, 500, 400, 0], [0, 200, 500, 300, 0]), None),
        (column([0, 500, 450, 0, 50], [0, 500, 500, 0, 0]), None),
        (
            column([0, 500, 440, 0, 60], [0, 500, 500, 0, 29]),
            "price: 6.0 % of the rows have values with fewer than 30 labelled rows, at most 5 % is allowed",
        ),
        (column([0, 500, 440, 0, 60], [0, 500, 500, 0, 30]), None),
        (column([60, 500, 440, 0, 0], [0, 500, 500, 0, 0], bounded=None), "price: 6.0 % of the rows have values"),
    ],
)
def test_rows_beyond_the_range_and_in_thin_cells(shown: Shown, why: str | None) -> None:
    """Allows at most 1 % of rows out of range and 5 % in cells with fewer than 30 labelled rows."""
    found = unsupported([shown], 1000)
    assert found is None if why is None else found is not None and found.startswith(why)


def scored(*outside: bool) -> list[ScoredWindow]:
    """Return scored windows, newest first."""
    return [
        ScoredWindow(
            window_from="a",
            window_until="b",
            rows=500,
            metrics=(EstimateScore(name="auc", estimated=0.8, low=0.7, high=0.9, measured=0.6 if out else 0.9),),
        )
        for out in outside
    ]


@pytest.mark.parametrize(
    ("outside", "wrong"),
    [
        ((), False),
        ((True,), False),
        ((True, True), True),
        ((True, False, True), True),
        ((False, False, True, True), False),
    ],
)
def test_the_last_estimates_were_wrong(outside: tuple[bool, ...], wrong: bool) -> None:
    """Two wrong estimates of the last three make a window unusable."""
    why = were_wrong(scored(*outside))
    assert (why is not None) is wrong
    assert why is None or why.startswith("the last estimates were wrong: labels of 2 of the last")
