"""Counting: formats agree, parts add up to the whole, other baselines are refused."""

import csv
import io
import json
import tracemalloc
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_runtime.contracts import canonical_json, content_hash, from_json
from mlops_runtime.contracts.monitor import Baseline, Counts
from mlops_runtime.monitor.counts import MergeError, count, empty, merge

VALUE = st.none() | st.floats(-5, 30, width=32) | st.integers(0, 9)
ROW = st.tuples(VALUE, VALUE, st.sampled_from(["north", "south, old", "new", None]))
CALLS = st.lists(st.lists(ROW, min_size=1, max_size=4), max_size=12)


def as_json(lines: Any, rows: list[Any]) -> str:
    """Return the call as JSON objects with a prediction a row."""
    names = ("price", "stock", "store")
    body = json.dumps({"instances": [dict(zip(names, row, strict=True)) for row in rows]})
    answer = json.dumps({"predictions": [float(index) for index in range(len(rows))]})
    return str(lines.call(body, answer, encoding="JSON", output_encoding="JSON"))


def as_csv(lines: Any, rows: list[Any]) -> str:
    """Return the same call as CSV."""
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return str(lines.call(text.getvalue(), "\n".join(str(float(index)) for index in range(len(rows)))))


@given(calls=CALLS)
def test_json_and_csv_give_the_same_counts(lines: Any, baseline: Baseline, calls: list[Any]) -> None:
    """What a caller sends as CSV is counted as the same data sent as JSON."""
    by_json = count([as_json(lines, rows) for rows in calls], baseline)
    assert by_json == count([as_csv(lines, rows) for rows in calls], baseline)
    assert (by_json.calls, by_json.rows) == (len(calls), sum(map(len, calls)))
    assert all(sum(feature.counts) + feature.invalid == by_json.rows for feature in by_json.features)


@given(calls=CALLS, cuts=st.lists(st.integers(0, 12), max_size=4), reverse=st.booleans())
def test_counts_of_parts_add_up_to_counts_of_the_whole(
    lines: Any, baseline: Baseline, calls: list[Any], cuts: list[int], reverse: bool
) -> None:
    """Any cut of a window and any order of merging give the same bytes."""
    records = [as_json(lines, rows) for rows in calls] + ["broken"]
    bounds = [0, *sorted(min(cut, len(records)) for cut in cuts), len(records)]
    parts = [count(records[a:b], baseline) for a, b in pairwise(bounds)]
    merged, whole = merge(empty(baseline), reversed(parts) if reverse else parts), count(records, baseline)
    assert canonical_json(replace(merged, objects=1)) == canonical_json(whole)


def test_counts_survive_their_json(lines: Any, baseline: Baseline) -> None:
    """What is written is what is merged."""
    counts = count([as_csv(lines, [(1.5, None, "north")])], baseline)
    assert from_json(Counts, canonical_json(counts)) == counts
    assert counts.baseline_sha256 == content_hash(baseline)


def test_values_land_in_their_cells(lines: Any, baseline: Baseline) -> None:
    """Known, other and null levels; invalid values are in no cell."""
    counts = count([lines.call("1,x,north\n2,inf,west\n3,,\n")], baseline)
    price, stock, store = counts.features
    assert sum(price.counts) == 3
    assert (price.sum, price.sum_squares) == (6.0, 14.0)
    assert (sum(stock.counts), stock.counts[-1], stock.invalid) == (1, 1, 2)
    levels = baseline.features[2].levels
    assert store.counts == (*(1 if level == "north" else 0 for level in levels), 1, 1)


def test_calls_of_an_earlier_model_are_left_out(lines: Any, baseline: Baseline) -> None:
    """Only calls since the live model serves are its own."""
    records = [lines.call("1,2,north", time=f"2017-08-07T{hour}:00:00Z") for hour in ("09", "10", "11")]
    counts = count(records, baseline, since="2017-08-07T10:00:00Z")
    assert (counts.calls, counts.first, counts.last) == (2, "2017-08-07T10:00:00Z", "2017-08-07T11:00:00Z")


def test_synthetic_calls_are_left_out_and_told(lines: Any, baseline: Baseline) -> None:
    """The platform's own calls are nobody's data, whoever answered and whatever they hold; merged, their number adds up."""
    own = {"inference_id": "mlops-synthetic-1-29174fbf3e2370f6"}
    real = [lines.call("1,2,north", "9\n"), lines.call("1,2,north", "9\n", inference_id="not-mlops-synthetic-1")]
    synthetic = [lines.call("5,5,south", "1\n", **own), lines.call("broken", **own, time="2017-08-01T00:00:00Z")]
    mixed = count([*synthetic, *real], baseline, since="2017-08-07T00:00:00Z")
    alone = count(real, baseline)
    assert (alone.synthetic, mixed.synthetic) == (None, 2)
    assert replace(mixed, synthetic=None) == alone
    assert merge(empty(baseline), [mixed, alone, mixed]).synthetic == 4
    assert merge(empty(baseline), [alone]).synthetic is None


def test_malformed_lines_are_counted_not_raised(lines: Any, baseline: Baseline) -> None:
    """One broken record does not hide the others; blank lines are nothing."""
    counts = count([b"{", b"", lines.call("1,2"), lines.call("1,2,north").encode()], baseline)
    assert (counts.malformed, counts.calls, counts.rows) == (2, 1, 1)


def test_an_output_alone_counts_predictions(lines: Any, baseline: Baseline) -> None:
    """Where inputs are not captured, rows are those of the predictions."""
    counts = count([lines.call(None, "9\n11\n")], baseline)
    assert counts.prediction is not None
    assert (counts.rows, sum(counts.prediction.counts), counts.features[0].counts.count(0)) == (
        2,
        2,
        len(counts.features[0].counts),
    )


def test_memory_is_flat(lines: Any, baseline: Baseline) -> None:
    """Five times the lines need no more memory."""
    line = as_csv(lines, [(1.5, 2, "north")] * 40)

    def peak(number: int) -> int:
        tracemalloc.start()
        count((line for _ in range(number)), baseline)
        _, highest = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return highest

    peak(300)
    assert peak(2500) < 1.2 * peak(500)


def test_fails_to_merge_counts_of_another_baseline(baseline: Baseline) -> None:
    """Cells of different baselines are not the same cells."""
    with pytest.raises(MergeError, match=r"counts must be of one baseline, got [0-9a-f]{64} and [0-9a-f]{64}"):
        merge(empty(baseline), [empty(replace(baseline, training_set_id="set-2"))])


def test_fails_to_merge_counts_that_do_not_fit(baseline: Baseline) -> None:
    """A file that claims the baseline but not its features or cells is refused."""
    counts = empty(baseline)
    with pytest.raises(MergeError, match=r"must have its features, got \['price'\]"):
        merge(counts, [replace(counts, features=counts.features[:1])])
    short = replace(counts.features[0], counts=(1, 2))
    with pytest.raises(MergeError, match="counts of feature 'price' must have 13 cells, got 2"):
        merge(counts, [replace(counts, features=(short, *counts.features[1:]))])
