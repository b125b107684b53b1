"""Coordinates of the small charts stay in bounds and in order."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.runtime.monitor import reports

from mlops_runtime.contracts.monitor import FeatureBaseline, FeatureCounts
from mlops_runtime.contracts.monitor_report import Measured
from mlops_runtime.monitor.monitors.drift.comparison import plain
from mlops_runtime.monitor.page.drawings import (
    MOST_LEVELS,
    SPARK_HEIGHT,
    SPARK_WIDTH,
    cell_rows,
    compared,
    in_order,
    marks,
    pair_table,
    spark,
    was_tested,
)

NUMBER = st.floats(-1e6, 1e6)


@given(st.lists(st.floats(0, 100), min_size=2, max_size=30))
def test_a_history_lies_inside_its_drawing(values: list[float]) -> None:
    """A larger PSI is never drawn lower, and the last report is at the right end."""
    found = spark(
        "price", [reports.report_of(2 + i % 20, (reports.drift("price", psi),)) for i, psi in enumerate(values)]
    )

    assert found is not None
    assert all(0 <= dot.x <= SPARK_WIDTH and 0 <= dot.y <= SPARK_HEIGHT for dot in found.dots)
    for first, second in zip(sorted(values), sorted(values)[1:], strict=False):
        assert found.dots[values.index(first)].y >= found.dots[values.index(second)].y
    assert found.dots[-1].x == SPARK_WIDTH - 4


def test_a_report_that_did_not_test_leaves_a_gap() -> None:
    """A report without a test leaves a gap; one report is no history."""
    reported, untold = reports.report_of(2, reports.QUIET), reports.report_of(3, ())
    untested = reports.report_of(4, (reports.drift("price", untested="all null"),))

    assert spark("price", [reported]) is None
    assert spark("price", [reported, untold, untested]) is None
    found = spark("price", [reported, untold, untested, reported])
    assert found is not None
    assert [dot.x for dot in found.dots] == [4, SPARK_WIDTH - 4]


@given(value=NUMBER, low=NUMBER, high=NUMBER, baseline=st.none() | NUMBER, limit=st.none() | NUMBER)
def test_marks_keep_their_order(
    value: float, low: float, high: float, baseline: float | None, limit: float | None
) -> None:
    """Marks keep their order between 0 and 100 %."""
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
    """Undefined metrics are not drawn."""
    assert marks(measured) is None


def test_reports_are_put_in_order() -> None:
    """Reports are sorted by age; later ones are dropped and the newest kept."""
    report = reports.report_of(8, ())
    history = [reports.report_of(day, ()) for day in (9, 3, 7, 3, 8)]

    assert [each.window_until[8:10] for each in in_order(report, history, 30)] == ["03", "07", "08"]
    assert [each.window_until[8:10] for each in in_order(report, history, 2)] == ["07", "08"]
    assert was_tested(report)
    assert not was_tested(replace(reports.silent().report))


def _rows(feature: FeatureBaseline, counts: tuple[int, ...]) -> dict[str, tuple[float, float]]:
    rows = cell_rows(plain(feature, FeatureCounts(name=feature.name, counts=counts)))
    return {row.label: (round(row.before, 4), round(row.after, 4)) for row in rows}


@given(st.lists(st.integers(0, 1000), min_size=24, max_size=24))
def test_shares_sum_to_one(counts: list[int]) -> None:
    """Merging levels neither loses nor repeats shares."""
    rows = cell_rows(plain(reports.STORE, FeatureCounts(name="store", counts=tuple(counts))))

    assert sum(row.before for row in rows) == pytest.approx(1)
    assert sum(row.after for row in rows) == pytest.approx(1 if any(counts) else 0)
    assert len([row for row in rows if row.kind == "cell"]) == MOST_LEVELS


def test_bins_are_named_by_their_bounds() -> None:
    """Bins include point masses, out of range (only if present) and nulls."""
    assert _rows(reports.STOCK, reports.STOCK.counts)["value 0"] == (0.3, 0.3)
    assert _rows(reports.PRICE, (*[0] * 9, 5, 5))["above 12, out of range"] == (0.0, 0.5)
    assert "above 12, out of range" not in _rows(reports.PRICE, reports.PRICE.counts)
    assert _rows(reports.PRICE, reports.PRICE.counts)["nulls"] == (0.02, 0.02)


def test_rare_levels_are_one_row() -> None:
    """Rare levels share a row with frequent levels that are not shown; new levels have their own."""
    rows = _rows(reports.STORE, reports.HIGH_PRICES["store"])

    assert list(rows)[-2:] == ["other levels, 4 of them frequent", "levels never seen before"]
    assert "store 19" not in rows


def test_what_moved_is_marked() -> None:
    """Marks the rows with most of the change, and none without a change."""
    price = compared(reports.BASELINE, reports.counts_of(reports.BASELINE, **reports.HIGH_PRICES))["price"]
    quiet = compared(reports.BASELINE, reports.counts_of(reports.BASELINE))["price"]

    assert [row.label for row in cell_rows(price) if row.moved] == ["0.5 to 1", "1 to 1.49", "3.99 to 4.99"]
    assert not any(row.moved for row in cell_rows(quiet))


def test_a_window_is_compared_given_its_conditions() -> None:
    """With strata the baseline is reweighted; a window of unknown conditions only is compared with the whole."""
    sample = reports.conditioned()
    assert sample.baseline is not None
    assert sample.counts is not None
    assert sample.counts.strata is not None
    given_conditions = compared(sample.baseline, sample.counts)["price"]
    unknown = replace(sample.counts, strata=sample.counts.strata[1:])

    assert cell_rows(given_conditions)[0].before == pytest.approx(300 / 600, abs=0.01)
    assert cell_rows(compared(sample.baseline, unknown)["price"])[0].before == pytest.approx(0.1)


def test_counts_of_another_baseline_are_refused() -> None:
    """Rejects counts whose features do not match."""
    counts = reports.counts_of(reports.BASELINE, price=(1, 2, 3))

    with pytest.raises(ValueError, match=r"counts must have the baseline's cells, got others for 'price'"):
        compared(reports.BASELINE, counts)


def test_a_pair_is_a_table_by_groups() -> None:
    """Groups are named by their first and last cell."""
    counts = reports.counts_of(reports.BASELINE)
    assert counts.pairs is not None
    features = {feature.name: feature for feature in reports.BASELINE.features}
    table = pair_table(reports.PAIR, counts.pairs[0], features)

    assert table.rows == ("0.5 to 1 … 1.49 to 1.99", "1.99 to 2.49 … 4.99 to 12", "null")
    assert table.columns[0] == "value 0"
    assert sum(cell.before for row in table.cells for cell in row) == pytest.approx(1)
    with pytest.raises(ValueError, match="must have 9 cells, got 1"):
        pair_table(reports.PAIR, replace(counts.pairs[0], counts=(1,)), {})
    assert pair_table(reports.PAIR, counts.pairs[0], {}).rows == ("group 1", "group 2", "null")
