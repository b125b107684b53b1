"""Merging: any order and grouping give the same bytes, strata, pairs and problems included."""

from dataclasses import replace
from functools import reduce
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_runtime.contracts import canonical_json, from_json
from mlops_runtime.contracts.monitor import Baseline, Condition, Counts
from mlops_runtime.monitor.counting.baseline import fit_baseline
from mlops_runtime.monitor.counting.counts import count, empty
from mlops_runtime.monitor.counting.merge import MergeError, merge
from mlops_runtime.monitor.counting.problems import LINE_NOT_JSON, ROW_WIDTH, UNANNOUNCED

RANDOM = np.random.default_rng(3)


@pytest.fixture(scope="module")
def full() -> Baseline:
    """A baseline with conditions, a pair, a tail and null patterns."""
    columns: dict[str, Any] = {
        "price": RANDOM.lognormal(1, 0.4, 500).astype(np.float32),
        "stock": np.where(RANDOM.random(500) < 0.1, np.nan, RANDOM.poisson(3, 500)).astype(np.float32),
        "store": [f"store {n}" for n in RANDOM.integers(0, 40, 500)],
    }
    return fit_baseline(
        columns,
        types={"price": "number", "stock": "number", "store": "category"},
        training_set_id="t",
        created="2017-08-01T00:00:00Z",
        times=np.datetime64("2017-07-03", "s") + np.arange(500) * np.timedelta64(1, "h"),
        conditions=[Condition(name="hour", kind="hour_of_week"), Condition(name="stock", edges=(2.0,))],
        pairs=[("price", "stock")],
        prediction=columns["price"],
    )


def hour(lines: Any, index: int, rows: int) -> list[str]:
    """Return an hour's lines: numbers whose sum depends on their order unless it is exact, and some problems."""
    random = np.random.default_rng(index)
    scale = 10.0 ** random.integers(-12, 12, rows)
    data = [
        f"{(random.normal() * scale[i]):.7g},{random.integers(0, 9)},store {random.integers(0, 45)}"
        for i in range(rows)
    ]
    calls = [
        lines.call(row, f"{random.normal():.6g}", time=f"2017-08-07T{index % 24:02d}:00:{i % 60:02d}Z")
        for i, row in enumerate(data)
    ]
    return [*calls, "broken", lines.call("1,2,north", "3", inference_id="mlops-synthetic-2"), lines.call("1,2")]


def test_24_hours_are_one_day_bit_for_bit(lines: Any, full: Baseline) -> None:
    """In their order, backwards, and after having been written and read."""
    hours = [hour(lines, index, 60) for index in range(24)]
    whole = count([line for of_hour in hours for line in of_hour], full)
    parts = [from_json(Counts, canonical_json(count(of_hour, full))) for of_hour in hours]
    assert whole.strata is not None
    assert len(whole.strata) > 24
    for order in (parts, parts[::-1], [merge(empty(full), parts[:7]), *parts[7:]]):
        merged = merge(empty(full), order)
        assert merged.objects == 24
        assert canonical_json(replace(merged, objects=1)) == canonical_json(whole)
    assert any(feature.sum_rest for feature in whole.features)
    assert whole.problems == {
        LINE_NOT_JSON(): 24,
        ROW_WIDTH(2, 3): 24,
        UNANNOUNCED(): 24,
    }


@settings(max_examples=25)
@given(data=st.data())
def test_any_tree_of_merges_is_the_same(lines: Any, full: Baseline, data: Any) -> None:
    """Associative and commutative: pairs of parts, in any order, until one is left."""
    parts = [count(hour(lines, index, index), full) for index in range(5)]
    expected = canonical_json(merge(empty(full), parts))
    while len(parts) > 1:
        first = parts.pop(data.draw(st.integers(0, len(parts) - 1)))
        second = parts.pop(data.draw(st.integers(0, len(parts) - 1)))
        parts.append(merge(first, [second]))
    assert canonical_json(merge(empty(full), parts)) == expected
    assert canonical_json(reduce(lambda a, b: merge(a, [b]), parts, empty(full))) == expected


def test_many_parts_are_exact(lines: Any, full: Baseline) -> None:
    """More than are held at once."""
    part = count(hour(lines, 1, 9), full)
    merged = merge(empty(full), [part] * 200)
    assert merged.rows == 200 * part.rows
    assert merged == merge(merge(empty(full), [part] * 150), [part] * 50)


def test_parts_without_some_counts_are_added(full: Baseline) -> None:
    """What a part does not have is that of the others."""
    old = replace(empty(full), strata=None, null_patterns=None, pairs=None, objects=None, prediction=None)
    assert merge(old, [old]) == old
    assert merge(old, [empty(full)]) == merge(empty(full), [old])


def test_fails_for_a_pair_that_does_not_fit(full: Baseline) -> None:
    """A table of another size is refused."""
    counts = empty(full)
    assert counts.pairs is not None
    wrong = replace(counts, pairs=(replace(counts.pairs[0], counts=(1, 2)),))
    with pytest.raises(MergeError, match=r"counts of pair \('price', 'stock'\) must have \d+ cells, got 2"):
        merge(counts, [wrong])
