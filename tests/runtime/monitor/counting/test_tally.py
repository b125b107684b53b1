"""Tallies, checked against counting value by value."""

import math
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_runtime.contracts.monitor import Baseline, Condition, FeatureBaseline, FeatureCounts
from mlops_runtime.monitor.counting.baseline import fit_baseline
from mlops_runtime.monitor.counting.baseline_cells import INVALID, NOT_A_NUMBER, LevelCells, to_coded, to_numbers
from mlops_runtime.monitor.counting.tally import ExactSums, Grid, WindowTally, expansion, tally

FINITE = st.floats(-1e300, 1e300)
NUMBERS = st.lists(
    st.floats(width=32, allow_nan=False, allow_infinity=False) | st.sampled_from([1e38, -1e38, 1e-45]), max_size=60
)


def value(result: tuple[float, tuple[float, ...] | None]) -> Fraction:
    """Return the value of an expansion."""
    return sum((Fraction(term) for term in (result[0], *(result[1] or ()))), Fraction(0))


@given(st.lists(FINITE, max_size=20), st.randoms())
def test_an_expansion_is_exact_and_of_one_form(parts: list[float], random: object) -> None:
    """An expansion equals the sum, has the same terms in any order, and each term is the double nearest to the rest."""
    result = expansion(parts)
    exact = sum(map(Fraction, parts), Fraction(0))
    assert value(result) == exact
    random.shuffle(parts)  # type: ignore[attr-defined]
    assert expansion(parts) == result
    left = exact
    for term in (result[0], *(result[1] or ())):
        assert term == float(left)
        left -= Fraction(term)


@given(NUMBERS, st.lists(st.integers(0, 60), max_size=3))
def test_sums_are_exact_in_any_grouping(values: list[float], cuts: list[int]) -> None:
    """Sums and sums of squares of very different numbers are exact, whole or in parts."""
    bounds = [0, *sorted(min(cut, len(values)) for cut in cuts), len(values)]
    for numbers in (np.array(values, dtype=np.float64), np.array(values, dtype=np.float64) ** 2):
        whole, parts = ExactSums(), ExactSums()
        whole.add(numbers)
        for start, stop in pairwise(bounds):
            parts.add(numbers[start:stop])
        assert value(whole.result(0)) == sum(map(Fraction, numbers.tolist()), Fraction(0))
        assert parts.result(0) == whole.result(0)


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(width=32, allow_nan=False, allow_infinity=False)), max_size=40))
def test_groups_are_added_apart(rows: list[tuple[int, float]]) -> None:
    """Each group's sum covers its own values alone."""
    groups, values = np.array([g for g, _ in rows], dtype=np.int64), np.array([v for _, v in rows], dtype=np.float64)
    together = ExactSums(4)
    together.add(values, groups)
    for group in range(4):
        alone = ExactSums()
        alone.add(values[groups == group])
        assert together.result(group) == alone.result(0)


def test_long_columns_are_exact() -> None:
    """More values than a block and more parts than are buffered still equal the sum of fractions."""
    random = np.random.default_rng(2)
    values = (
        (random.normal(size=50_000) * 10.0 ** random.integers(-20, 20, 50_000)).astype(np.float32).astype(np.float64)
    )
    sums = ExactSums(2)
    groups = random.integers(0, 2, 50_000)
    for start in range(0, 50_000, 100):
        sums.add(values[start : start + 100], groups[start : start + 100])
    assert len(sums._parts) <= 257
    whole = ExactSums()
    whole.add(values)
    exact = sum(map(Fraction, values.tolist()), Fraction(0))
    assert value(whole.result(0)) == exact == value(sums.result(0)) + value(sums.result(1))


@pytest.mark.parametrize("values", [[], [0.0], [-0.0, 0.0], [5.0, -5.0]])
def test_nothing_is_a_positive_zero(values: list[float]) -> None:
    """Zero is always positive zero."""
    sums = ExactSums()
    sums.add(np.array(values))
    assert repr(sums.result(0)) == "(0.0, None)"


RANDOM = np.random.default_rng(7)
ROWS = 400
COLUMNS: dict[str, Any] = {
    "price": RANDOM.lognormal(1, 0.5, ROWS).astype(np.float32),
    "stock": np.where(RANDOM.random(ROWS) < 0.2, np.nan, RANDOM.poisson(2, ROWS)).astype(np.float32),
    "store": [None if n == 7 else f"store {n}" for n in RANDOM.integers(0, 40, ROWS)],
}
BASELINE = fit_baseline(
    COLUMNS,
    types={"price": "number", "stock": "number", "store": "category"},
    training_set_id="t",
    created="2017-08-01T00:00:00Z",
    conditions=[Condition(name="stock", edges=(1.0, 3.0))],
    pairs=[("price", "store")],
    prediction=COLUMNS["price"],
)
VALUE = st.none() | st.floats(-1, 9, width=32) | st.sampled_from(["x", True, float("inf"), float("-inf"), 0, 2])
TEXT = st.none() | st.sampled_from(["", "store 1", "store 2", "new", 3]) | st.integers(0, 45).map("store {}".format)
ROW = st.tuples(VALUE, VALUE, TEXT, VALUE)


def one_by_one(feature: FeatureBaseline, values: list[Any]) -> FeatureCounts:
    """Count values as the contract defines."""
    counts, known, invalid, infinite = [0] * len(feature.counts), [], 0, 0
    levels = LevelCells(feature) if feature.type == "category" else None
    for value in values:
        if levels is not None:
            cell = levels[value]
            invalid += cell == len(counts)
            if cell < len(counts):
                counts[cell] += 1
            continue
        number = float(to_numbers([value])[0])
        if number == NOT_A_NUMBER:
            invalid += 1
        elif math.isinf(number):
            infinite += 1
        elif math.isnan(number):
            counts[-1] += 1
        else:
            counts[sum(edge <= number for edge in feature.edges)] += 1
            known.append(number + 0.0)
    return FeatureCounts(
        name=feature.name,
        counts=tuple(counts),
        invalid=invalid,
        infinite=infinite or None,
        sum=float(sum(map(Fraction, known))),
        sum_squares=float(sum((Fraction(number) ** 2 for number in known), Fraction(0))),
        minimum=min(known, default=None),
        maximum=max(known, default=None),
    )


def without_rest(counts: FeatureCounts) -> tuple[Any, ...]:
    """Return the tally without the remainders of the sums."""
    return (
        counts.counts,
        counts.invalid,
        counts.infinite,
        counts.sum,
        counts.sum_squares,
        counts.minimum,
        counts.maximum,
    )


@given(st.lists(ROW, max_size=30))
def test_cells_are_those_of_counting_one_by_one(rows: list[tuple[Any, ...]]) -> None:
    """Every feature's cells equal those counted one by one, sorted at once or searched row by row."""
    for index, feature in enumerate(BASELINE.features):
        values = [row[index] for row in rows]
        expected = without_rest(one_by_one(feature, values))
        for cells in (False, True):
            alone = tally(feature)
            found, nulls = alone.add(values, None, cells=cells, nulls=True)
            assert without_rest(alone.result(None)) == expected
            assert (found is not None) is (cells and len(rows) >= 0)
            assert int(0 if nulls is None else nulls.sum()) == expected[0][-1]
        grouped = tally(feature, 3)
        grouped.add(values, np.arange(len(rows)) % 3, cells=False, nulls=False)
        assert without_rest(grouped.result(None)) == expected
        for group in range(3):
            assert without_rest(grouped.result(group)) == without_rest(one_by_one(feature, values[group::3]))


@given(st.lists(ROW, max_size=30), st.integers(0, 30))
def test_strata_pairs_and_patterns_are_those_of_their_rows(rows: list[tuple[Any, ...]], cut: int) -> None:
    """Strata, pairs and patterns contain exactly their own rows, for any block size."""
    window = WindowTally(Grid(BASELINE))
    for block in (rows[:cut], rows[cut:]):
        columns = {name: [row[index] for row in block] for index, name in enumerate(COLUMNS)}
        groups = window.add(columns, len(block))
        window.add_predictions([[row[3] for row in block]], groups)
    by_key: dict[str, list[tuple[Any, ...]]] = {}
    for row in rows:
        stock = float(to_numbers([row[1]])[0])
        if not math.isinf(stock):
            by_key.setdefault(
                "null" if math.isnan(stock) else "below 1" if stock < 1 else "1 to 3" if stock < 3 else "3 or more", []
            ).append(row)
    strata = window.strata()
    assert strata is not None
    assert {stratum.key: stratum.rows for stratum in strata} == {key: len(of_key) for key, of_key in by_key.items()}
    assert BASELINE.prediction is not None
    for stratum in strata:
        for index, counted in enumerate((*stratum.features, stratum.prediction)):
            feature = (*BASELINE.features, BASELINE.prediction)[index]
            assert counted is not None
            expected = one_by_one(feature, [row[index] for row in by_key[stratum.key]])
            assert without_rest(counted) == without_rest(expected)
    patterns = window.fields(None)["null_patterns"]
    assert patterns is not None
    assert sum(patterns.counts) == len(rows)
    assert BASELINE.null_patterns is not None
    assert patterns.counts[BASELINE.null_patterns.levels.index("none")] == sum(
        not math.isnan(float(to_numbers([a])[0])) and not math.isnan(float(to_numbers([b])[0])) and c not in (None, "")
        for a, b, c, _ in rows
    )
    pairs = window.fields(None)["pairs"]
    assert pairs is not None
    valid = sum(
        not math.isinf(float(to_numbers([a])[0])) and to_coded([c])[0].codes[0] != INVALID for a, _, c, _ in rows
    )
    assert sum(pairs[0].counts) == valid


def test_the_baseline_counts_itself() -> None:
    """Counting the rows of a fit gives the fitted counts."""
    window = WindowTally(Grid(BASELINE))
    window.add_predictions([COLUMNS["price"]], window.add(COLUMNS, ROWS))
    assert [f.counts for f in window.fields(None)["features"]] == [f.counts for f in BASELINE.features]
    assert window.strata() == BASELINE.strata
    assert [p.counts for p in window.fields(None)["pairs"] or ()] == [p.counts for p in BASELINE.pairs or ()]
    patterns = window.fields(None)["null_patterns"]
    assert patterns is not None
    assert BASELINE.null_patterns is not None
    assert patterns.counts == BASELINE.null_patterns.counts


def test_an_old_baseline_still_counts() -> None:
    """Reads old baselines: one cell for other levels, open outer bins, nothing besides the features."""
    store = FeatureBaseline(name="store", type="category", levels=("a",), counts=(5, 3, 1))
    price = FeatureBaseline(name="price", type="number", edges=(2.0,), counts=(4, 5, 0))
    baseline = Baseline(features=(price, store), rows=9, training_set_id="t", created="2017-08-01T00:00:00Z")
    window = WindowTally(Grid(baseline))
    assert window.add({"price": [1, 2, None], "store": ["a", "b", "c"]}, 3) is None
    window.add_predictions([[1, 2, 3]], None)
    assert [feature.counts for feature in window.fields(None)["features"]] == [(1, 1, 1), (1, 2, 0)]
    found = window.fields(None)
    assert [found[name] for name in ("prediction", "null_patterns", "pairs")] == [None] * 3
    assert window.strata() is None
