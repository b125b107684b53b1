"""Pair tables: groups of cells, and counts checked against a brute-force table."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_runtime.contracts.monitor import FeatureBaseline, PairBaseline, PairDispersion
from mlops_runtime.monitor.counting.pairs import (
    GROUPS,
    PairCounter,
    PairError,
    check,
    groups,
    pair_baseline,
    pair_baselines,
    pair_name,
)


@given(st.lists(st.integers(0, 50), min_size=2, max_size=70))
def test_groups_are_few_and_cover_all_cells(counts: list[int]) -> None:
    """At most five groups, none empty, follow the order of the cells; null is separate."""
    found = groups(FeatureBaseline(name="x", type="number", counts=tuple(counts)))
    assert len(found) == len(counts)
    assert list(found[:-1]) == sorted(found[:-1])
    assert found[-1] == max(found[:-1]) + 1 <= GROUPS
    if sum(counts[:-1]):
        assert all(sum(c for c, g in zip(counts, found, strict=True) if g == group) for group in range(found[-1]))


def test_groups_hold_about_the_same() -> None:
    """Ten bins of a tenth make five groups of two; five levels of a fifth are groups of their own."""
    assert groups(FeatureBaseline(name="x", type="number", counts=(0, *[10] * 10, 0, 3)))[1:11] == (
        0,
        0,
        1,
        1,
        2,
        2,
        3,
        3,
        4,
        4,
    )
    assert groups(FeatureBaseline(name="x", type="category", counts=(20, 20, 20, 20, 20, 0, 3))) == (
        0,
        1,
        2,
        3,
        4,
        4,
        5,
    )


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), max_size=50))
def test_tables_are_those_of_brute_force(rows: list[tuple[int, int]]) -> None:
    """Rows with an invalid value in either column (the cell after null) are in no cell."""
    features = {
        "a": FeatureBaseline(name="a", type="number", counts=(4, 0, 4, 1)),
        "b": FeatureBaseline(name="b", type="number", counts=(4, 4, 1)),
    }
    cells = {"a": np.array([a for a, _ in rows], dtype=np.int64), "b": np.array([b for _, b in rows], dtype=np.int64)}
    pair = pair_baseline(("a", "b"), features, cells, None)
    size = max(pair.second_groups) + 1
    expected = [0] * (size * (max(pair.first_groups) + 1))
    for a, b in rows:
        if a < 4 and b < 3:
            expected[pair.first_groups[a] * size + pair.second_groups[b]] += 1
    assert list(pair.counts) == expected
    counter = PairCounter(pair)
    counter.add(cells["a"], cells["b"])
    assert counter.counts.tolist() == [expected]


def test_strata_have_tables_of_their_own_that_add_up() -> None:
    """Each row is in the table of its stratum; two passes give the same as one."""
    random = np.random.default_rng(6)
    features = {name: FeatureBaseline(name=name, type="category", counts=(10, 10, 0)) for name in "ab"}
    first, second, strata = (random.integers(0, 2, 300) for _ in range(3))
    pair = pair_baseline(("a", "b"), features, {"a": first, "b": second}, None, strata)
    assert pair.given == PairDispersion(overdispersion=1.0)
    counter = PairCounter(pair, 2)
    for rows in (slice(0, 100), slice(100, 300)):
        counter.add(first[rows], second[rows], strata[rows])
    assert tuple(counter.counts.sum(axis=0).tolist()) == pair.counts
    of_one = np.bincount(first[strata == 1] * 3 + second[strata == 1], minlength=9)
    assert counter.counts[1].tolist() == of_one.tolist()


def test_what_strata_explain_is_not_variance_of_clusters() -> None:
    """Days of promotions pair differently; given that stratum, rows are independent."""
    random = np.random.default_rng(7)
    features = {name: FeatureBaseline(name=name, type="category", counts=(10, 10, 0)) for name in "ab"}
    days = np.repeat(np.arange(60), 100)
    promoted = (days % 2).astype(np.int64)
    first = random.integers(0, 2, len(days))
    second = np.where(random.random(len(days)) < 0.2 + 0.6 * promoted, first, 1 - first)
    pair = pair_baseline(("a", "b"), features, {"a": first, "b": second}, days, promoted)
    assert pair.given is not None
    assert (pair.given.overdispersion < 1.3, pair.overdispersion > 5) == (True, True)
    assert pair.given.clusters == 59


def test_the_first_pairs_that_have_room_are_kept_by_stratum() -> None:
    """Keeps the first pairs within 20,000 cells of all strata: with 400 strata of 36 cells that is one pair."""
    random = np.random.default_rng(8)
    features = {name: FeatureBaseline(name=name, type="category", counts=(9, 9, 9, 9, 9, 0)) for name in "abc"}
    cells = {name: random.integers(0, 5, 4000) for name in "abc"}
    pairs = [("a", "b"), ("b", "c"), ("a", "c")]
    found = pair_baselines(pairs, features, cells, None, np.arange(4000) % 400)
    assert [pair.given is not None for pair in found] == [True, False, False]
    assert all(pair.given is None for pair in pair_baselines(pairs, features, cells, None, None))


def test_clustered_pairs_are_overdispersed() -> None:
    """Rows that are copies within clusters count as one per cluster."""
    random = np.random.default_rng(5)
    features = {name: FeatureBaseline(name=name, type="category", counts=(10, 10, 0)) for name in "ab"}
    cells = {name: np.repeat(random.integers(0, 2, 500), 7) for name in "ab"}
    pair = pair_baseline(("a", "b"), features, cells, np.repeat(np.arange(500), 7))
    assert pair.overdispersion == pytest.approx(7, rel=0.1)
    assert pair.overdispersion_spread is not None


def test_fails_for_what_is_no_pair() -> None:
    """Rejects invalid pairs and names all of them together."""
    with pytest.raises(PairError, match=r"got \('a', 'a'\); .* got \('a', 'c'\); .* got \('a',\)$"):
        check([("a", "b"), ("a", "a"), ("a", "c"), ("a",)], ["a", "b"])


def test_a_pair_has_a_name() -> None:
    """The name contains both features."""
    assert pair_name(PairBaseline(first="a", second="b", first_groups=(), second_groups=(), counts=())) == "a x b"
