"""Pair tables: groups of cells, counts against a brute-force table."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_runtime.contracts.monitor import FeatureBaseline
from mlops_runtime.monitor.counting.pairs import GROUPS, PairCounter, PairError, check, groups, pair_baseline


@given(st.lists(st.integers(0, 50), min_size=2, max_size=70))
def test_groups_are_few_and_cover_all_cells(counts: list[int]) -> None:
    """At most five that follow the order of the cells, none empty, and null apart."""
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
    """Rows of which either value is invalid (the cell past null) are in no cell."""
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
    assert counter.counts.tolist() == expected


def test_clustered_pairs_are_overdispersed() -> None:
    """Rows that are copies within clusters count as their clusters."""
    random = np.random.default_rng(5)
    features = {name: FeatureBaseline(name=name, type="category", counts=(10, 10, 0)) for name in "ab"}
    cells = {name: np.repeat(random.integers(0, 2, 500), 7) for name in "ab"}
    pair = pair_baseline(("a", "b"), features, cells, np.repeat(np.arange(500), 7))
    assert pair.overdispersion == pytest.approx(7, rel=0.1)
    assert pair.overdispersion_spread is not None


def test_fails_for_what_is_no_pair() -> None:
    """Each is named at once."""
    with pytest.raises(PairError, match=r"got \('a', 'a'\); .* got \('a', 'c'\); .* got \('a',\)$"):
        check([("a", "b"), ("a", "a"), ("a", "c"), ("a",)], ["a", "b"])
