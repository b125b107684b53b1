"""Counts: formats agree, parts add up to the whole, and counts of another baseline are rejected."""

import csv
import io
import json
import tracemalloc
from dataclasses import replace
from functools import reduce
from itertools import chain, pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_runtime.contracts import canonical_json, content_hash, from_json
from mlops_runtime.contracts.monitor import Baseline, Condition, Counts
from mlops_runtime.monitor.counting.baseline import fit_baseline
from mlops_runtime.monitor.counting.baseline_cells import Coded
from mlops_runtime.monitor.counting.capture_lines import bounded_lines
from mlops_runtime.monitor.counting.counts import MergeError, count, count_columns, empty, merge
from mlops_runtime.monitor.counting.problems import (
    COLUMN_FOREIGN,
    COLUMN_MISSING,
    INPUT_NOT_CAPTURED,
    INPUT_WITHOUT_INSTANCES,
    INPUT_WITHOUT_ROWS,
    LINE_NOT_JSON,
    LINE_TOO_LONG,
    PREDICTIONS_DIFFER,
    ROW_FOREIGN,
    ROW_SHAPE,
    ROW_WIDTH,
    SIDE_NOT_JSON,
    SIDE_TOO_DEEP,
    UNANNOUNCED,
)

RANDOM = np.random.default_rng(3)


@pytest.fixture(scope="module")
def full() -> Baseline:
    """Return a baseline with conditions, a pair, a tail and null patterns."""
    columns: dict[str, Any] = {
        "price": RANDOM.lognormal(1, 0.4, 700).astype(np.float32),
        "stock": np.where(RANDOM.random(700) < 0.1, np.nan, RANDOM.poisson(3, 700)).astype(np.float32),
        "store": [f"store {n}" for n in RANDOM.integers(0, 40, 700)],
    }
    return fit_baseline(
        columns,
        types={"price": "number", "stock": "number", "store": "category"},
        training_set_id="t",
        created="2017-08-01T00:00:00Z",
        times=np.datetime64("2017-07-03", "s") + np.arange(700) * np.timedelta64(1, "h"),
        conditions=[Condition(name="hour", kind="hour_of_week"), Condition(name="stock", edges=(2.0,))],
        pairs=[("price", "stock")],
        prediction=columns["price"],
    )


def hour(lines: Any, index: int, rows: int) -> list[str]:
    """Return the lines of an hour: numbers whose float sum depends on their order, and some problems."""
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
    """24 hours merge to one day bit for bit: in order, reversed, and after a JSON round trip."""
    hours = [hour(lines, index, 60) for index in range(24)]
    whole = count([line for of_hour in hours for line in of_hour], full)
    assert whole.problem_lines is not None
    assert all(len(numbers) == 3 for numbers in whole.problem_lines.values())
    whole = replace(whole, problem_lines=None)  # a sum of objects has no lines
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
    """Merging is associative and commutative: pairs merged in any order give the same counts."""
    parts = [count(hour(lines, index, index), full) for index in range(5)]
    expected = canonical_json(merge(empty(full), parts))
    while len(parts) > 1:
        first = parts.pop(data.draw(st.integers(0, len(parts) - 1)))
        second = parts.pop(data.draw(st.integers(0, len(parts) - 1)))
        parts.append(merge(first, [second]))
    assert canonical_json(merge(empty(full), parts)) == expected
    assert canonical_json(reduce(lambda a, b: merge(a, [b]), parts, empty(full))) == expected


def test_many_parts_are_exact(lines: Any, full: Baseline) -> None:
    """More parts than are buffered at once add up exactly."""
    part = count(hour(lines, 1, 9), full)
    merged = merge(empty(full), [part] * 200)
    assert merged.rows == 200 * part.rows
    assert merged == merge(merge(empty(full), [part] * 150), [part] * 50)


def test_parts_without_some_counts_are_added(full: Baseline) -> None:
    """A count that one part lacks is taken from the others."""
    old = replace(empty(full), strata=None, null_patterns=None, pairs=None, objects=None, prediction=None)
    assert merge(old, [old]) == old
    assert merge(old, [empty(full)]) == merge(empty(full), [old])


def test_fails_for_a_pair_that_does_not_fit(full: Baseline) -> None:
    """Rejects a pair table of another size."""
    counts = empty(full)
    assert counts.pairs is not None
    wrong = replace(counts, pairs=(replace(counts.pairs[0], counts=(1, 2)),))
    with pytest.raises(MergeError, match=r"counts of pair \('price', 'stock'\) must have \d+ cells, got 2"):
        merge(counts, [wrong])


VALUE = st.none() | st.floats(-5, 30, width=32) | st.integers(0, 9)
ROW = st.tuples(VALUE, VALUE, st.sampled_from(["north", "south, old", "new", None]))
CALLS = st.lists(st.lists(ROW, min_size=1, max_size=4), max_size=12)


def as_json(lines: Any, rows: list[Any]) -> str:
    """Return the call as JSON objects with one prediction per row."""
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
    """The same data counts alike as CSV and as JSON."""
    by_json = count([as_json(lines, rows) for rows in calls], baseline)
    assert by_json == count([as_csv(lines, rows) for rows in calls], baseline)
    assert (by_json.calls, by_json.rows) == (len(calls), sum(map(len, calls)))
    assert all(sum(feature.counts) + feature.invalid == by_json.rows for feature in by_json.features)


@given(calls=CALLS, cuts=st.lists(st.integers(0, 12), max_size=4), reverse=st.booleans())
def test_counts_of_parts_add_up_to_counts_of_the_whole(
    lines: Any, baseline: Baseline, calls: list[Any], cuts: list[int], reverse: bool
) -> None:
    """Any split of a window, merged in any order, gives the same bytes."""
    records = [as_json(lines, rows) for rows in calls] + ["broken"]
    bounds = [0, *sorted(min(cut, len(records)) for cut in cuts), len(records)]
    parts = [count(records[a:b], baseline) for a, b in pairwise(bounds)]
    merged, whole = merge(empty(baseline), reversed(parts) if reverse else parts), count(records, baseline)
    assert whole.problem_lines is not None
    assert whole.problem_lines[LINE_NOT_JSON()] == (len(records),)
    assert canonical_json(replace(merged, objects=1)) == canonical_json(replace(whole, problem_lines=None))


def test_counts_survive_their_json(lines: Any, baseline: Baseline) -> None:
    """Counts survive their JSON round trip."""
    counts = count([as_csv(lines, [(1.5, None, "north")])], baseline)
    assert from_json(Counts, canonical_json(counts)) == counts
    assert counts.baseline_sha256 == content_hash(baseline)


def test_values_land_in_their_cells(lines: Any, baseline: Baseline) -> None:
    """Known, other and null levels have their cells; invalid and infinite values are in none."""
    counts = count([lines.call("1,x,north\n2,inf,west\n3,,\n")], baseline)
    price, stock, store = counts.features
    assert sum(price.counts) == 3
    assert (price.sum, price.sum_squares) == (6.0, 14.0)
    assert (sum(stock.counts), stock.counts[-1], stock.invalid, stock.infinite) == (1, 1, 1, 1)
    assert merge(counts, [counts]).features[1].infinite == 2
    levels = baseline.features[2].levels
    assert store.counts == (*(1 if level == "north" else 0 for level in levels), 1, 1)


def test_a_boolean_may_be_called_true(lines: Any, baseline: Baseline) -> None:
    """JSON true and its CSV text count as 1 if the signature's kind is boolean, and are not numbers otherwise."""
    requested = replace(baseline.features[0], kind="boolean")
    body = json.dumps(
        {"instances": [[True, 1, "north"], [False, True, "north"], ["TRUE", 3, "north"], [1, 4, "north"]]}
    )
    calls = [lines.call(body, encoding="JSON"), lines.call("true,5,north\n0,6,north\n")]
    price, stock, _ = count(calls, replace(baseline, features=(requested, *baseline.features[1:]))).features
    assert (price.sum, sum(price.counts), price.invalid) == (4.0, 6, 0)
    assert (sum(stock.counts), stock.invalid) == (5, 1)


def test_calls_of_an_earlier_model_are_left_out(lines: Any, baseline: Baseline) -> None:
    """Excludes calls from before the live model went live."""
    records = [lines.call("1,2,north", time=f"2017-08-07T{hour}:00:00Z") for hour in ("09", "10", "11")]
    counts = count(records, baseline, since="2017-08-07T10:00:00Z")
    assert (counts.calls, counts.first, counts.last) == (2, "2017-08-07T10:00:00Z", "2017-08-07T11:00:00Z")


def test_synthetic_calls_are_left_out_and_told(lines: Any, baseline: Baseline) -> None:
    """Excludes the platform's synthetic calls with any response or payload, and reports their number, also after merging."""
    own = {"inference_id": "mlops-synthetic-1-29174fbf3e2370f6"}
    real = [lines.call("1,2,north", "9\n"), lines.call("1,2,north", "9\n", inference_id="not-mlops-synthetic-1")]
    synthetic = [lines.call("5,5,south", "1\n", **own), lines.call("broken", **own, time="2017-08-01T00:00:00Z")]
    mixed = count([*synthetic, *real], baseline, since="2017-08-07T00:00:00Z", announced=lambda *_: True)
    alone = count(real, baseline)
    assert (alone.synthetic, mixed.synthetic) == (None, 2)
    assert replace(mixed, synthetic=None) == alone
    assert merge(empty(baseline), [mixed, alone, mixed]).synthetic == 4
    assert merge(empty(baseline), [alone]).synthetic is None


def test_nobody_hides_behind_an_id_of_the_platforms(lines: Any, baseline: Baseline) -> None:
    """Calls with an unannounced platform id count as any other and are reported, also after merging."""
    hidden = [lines.call("1,2,north", "9\n", inference_id=f"mlops-synthetic-{n}-{'0' * 32}") for n in (1, 2)]
    counts = count(hidden, baseline)
    assert (counts.rows, counts.synthetic, counts.unannounced) == (2, None, 2)
    assert counts.problems == {UNANNOUNCED(): 2}
    assert replace(counts, unannounced=None, problems=None, problem_lines=None) == count(
        [lines.call("1,2,north", "9\n", inference_id="mine")] * 2, baseline
    )
    assert merge(empty(baseline), [counts, counts]).unannounced == 4


def test_malformed_lines_are_counted_not_raised(lines: Any, baseline: Baseline) -> None:
    """Counts malformed lines without hiding the others; blank lines are skipped."""
    counts = count([b"{", b"", lines.call("1,2"), lines.call("1,2,north").encode()], baseline)
    assert (counts.malformed, counts.calls, counts.rows) == (2, 1, 1)


def test_an_output_alone_counts_predictions(lines: Any, baseline: Baseline) -> None:
    """Without captured inputs only predictions are counted."""
    counts = count([lines.call(None, "9\n11\n")], baseline)
    assert counts.prediction is not None
    assert (counts.rows, sum(counts.prediction.counts), counts.features[0].counts.count(0)) == (
        0,
        2,
        len(counts.features[0].counts),
    )


def test_memory_is_flat(lines: Any, baseline: Baseline) -> None:
    """Three times the lines, or as many unknown levels, need no more memory."""

    def peak(number: int) -> int:
        tracemalloc.start()
        count((many(lines, index) for index in range(number)), baseline)
        _, highest = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return highest

    peak(300)
    assert peak(1800) < 1.2 * peak(600)


def many(lines: Any, index: int) -> str:
    """Return a call of forty rows; no two calls are alike."""
    return as_csv(lines, [(index + part / 40, 2, f"level {index}-{part}") for part in range(40)])


def test_an_object_of_any_size_is_streamed(lines: Any, baseline: Baseline) -> None:
    """Memory does not grow with the size of a streamed object, not even for a line without an end."""
    calls = "\n".join([as_csv(lines, [(1.5, 2, "north")] * 50)] * 20).encode() + b"\n"

    def peak(chunks: int) -> tuple[int, Counts]:
        tracemalloc.start()
        endless = (b"x" * (1 << 20) for _ in range(chunks))
        body = chain((calls for _ in range(chunks)), endless, [b"\n", calls])
        counts = count(bounded_lines(body, maximum=1 << 22), baseline)
        _, highest = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return highest, counts

    peak(8)
    small, large = peak(20), peak(60)
    assert large[0] < 1.2 * small[0]
    assert large[1].rows == 61 * 1000
    assert large[1].problems == {LINE_TOO_LONG(): 1}


def test_fails_to_merge_counts_of_another_baseline(baseline: Baseline) -> None:
    """Rejects merging counts of different baselines."""
    with pytest.raises(MergeError, match=r"counts must be of one baseline, got [0-9a-f]{64} and [0-9a-f]{64}"):
        merge(empty(baseline), [empty(replace(baseline, training_set_id="set-2"))])


def test_fails_to_merge_counts_that_do_not_fit(baseline: Baseline) -> None:
    """Rejects counts with the baseline's hash but other features or cells."""
    counts = empty(baseline)
    with pytest.raises(MergeError, match=r"must have its features, got \['price'\]"):
        merge(counts, [replace(counts, features=counts.features[:1])])
    short = replace(counts.features[0], counts=(1, 2))
    with pytest.raises(MergeError, match="counts of feature 'price' must have 17 cells, got 2"):
        merge(counts, [replace(counts, features=(short, *counts.features[1:]))])


@given(rows=st.lists(ROW, max_size=30), shift=st.integers(0, 200))
def test_columns_are_counted_as_the_same_rows_as_lines(lines: Any, rows: list[Any], shift: int) -> None:
    """Columns given as lists, arrays or codes count bit for bit like lines, with strata, pairs and predictions."""
    baseline = conditioned()
    times = np.datetime64("2017-08-07T00:00:00") + np.arange(shift, shift + len(rows)) * np.timedelta64(1, "h")
    calls = [
        json.loads(as_json(lines, [row])) | {"eventMetadata": {"eventId": "e", "inferenceTime": f"{time}Z"}}
        for row, time in zip(rows, times, strict=True)
    ]
    expected = count(map(json.dumps, calls), baseline)
    columns: dict[str, Any] = dict(
        zip(("price", "stock", "store"), zip(*rows, strict=True), strict=False)
    ) or dict.fromkeys(("price", "stock", "store"), ())
    texts = ["north", "south, old", "new"]
    codes = np.array([-1 if value is None else texts.index(value) for value in columns["store"]], dtype=np.int64)
    others = {
        "price": np.array(columns["price"], dtype=np.float64),
        "stock": np.array(columns["stock"], dtype=object),
        "store": Coded(codes, texts),
    }
    for given_columns in (columns, others):
        counted = count_columns(given_columns, baseline, predictions=np.zeros(len(rows)), times=times)
        assert canonical_json(counted) == canonical_json(expected)


def conditioned() -> Baseline:
    """Return a baseline with conditions and a pair."""
    random = np.random.default_rng(1)
    return fit_baseline(
        {
            "price": random.lognormal(1, 0.4, 400).astype(np.float32),
            "stock": np.where(random.random(400) < 0.1, np.nan, random.poisson(3, 400)).astype(np.float32),
            "store": random.choice(["north", "south, old"], 400).tolist(),
        },
        types={"price": "number", "stock": "number", "store": "category"},
        training_set_id="t",
        created="2017-08-01T00:00:00Z",
        times=np.datetime64("2017-07-03T00:00:00") + np.arange(400) * np.timedelta64(1, "h"),
        conditions=[Condition(name="day", kind="day_of_week"), Condition(name="store")],
        pairs=[("price", "store")],
        prediction=random.normal(0, 1, 400),
    )


def test_long_columns_are_counted_in_blocks() -> None:
    """Columns longer than a block count all their rows."""
    price = np.random.default_rng(1).normal(size=150_000).astype(np.float32)
    baseline = fit_baseline(
        {"price": price}, types={"price": "number"}, training_set_id="t", created="2017-08-01T00:00:00Z"
    )
    counts = count_columns({"price": price, "more": price}, baseline)
    assert counts.features[0].counts == baseline.features[0].counts
    assert (counts.rows, counts.calls, counts.first, counts.objects) == (150_000, 150_000, "", 1)
    with_prediction = count_columns({"price": price}, baseline, predictions=price)
    assert with_prediction == counts


def test_a_prediction_is_of_its_rows_stratum(lines: Any) -> None:
    """A prediction joins its row's stratum if a call has as many predictions as rows; otherwise it counts without one."""
    baseline = conditioned()
    calls = [lines.call("1,2,north\n1,2,north", "0\n1"), lines.call("1,2,north", "0\n1"), lines.call(None, "0")]
    counts = count(calls, baseline)
    assert counts.strata is not None
    assert [
        (stratum.key, stratum.rows, sum(stratum.prediction.counts)) for stratum in counts.strata if stratum.prediction
    ] == [("Mon|north", 3, 2)]
    assert counts.prediction is not None
    assert (counts.rows, sum(counts.prediction.counts)) == (3, 5)
    assert counts.problems == {INPUT_NOT_CAPTURED(): 1, PREDICTIONS_DIFFER(): 1}


def test_rows_of_no_stratum_of_the_baseline_are_counted(lines: Any) -> None:
    """Rows of an unknown stratum count in the window and in no stratum, as uncovered."""
    counts = count([lines.call("1,2,east"), lines.call("1,2,north", time="no time")], conditioned())
    assert (counts.rows, counts.strata) == (2, ())


SCHEMA = [
    ('{"instances": [{"price": 1, "stock": 2}]}', {COLUMN_MISSING("store"): 1}, 0),
    ('{"instances": [{"price": 1, "stock": 2, "store": "a", "cost": 3}]}', {COLUMN_FOREIGN("cost"): 1}, 0),
    (
        '{"instances": [{"price": 1, "cost": 1}, [1, 2, "a"]]}',
        {COLUMN_FOREIGN("cost"): 1} | {COLUMN_MISSING(n): 1 for n in ("stock", "store")},
        0,
    ),
    ('{"instances": [{"cost": 1}]}', {ROW_FOREIGN(): 1}, 1),
    ('{"instances": [{}]}', {ROW_FOREIGN(): 1}, 1),
    ('{"instances": [[1, 2]]}', {ROW_WIDTH(2, 3): 1}, 1),
    ('{"instances": [7]}', {ROW_SHAPE(): 1}, 1),
    ('{"instances": {}}', {INPUT_WITHOUT_INSTANCES(): 1}, 1),
    ('{"rows": []}', {INPUT_WITHOUT_INSTANCES(): 1}, 1),
    ("[]", {INPUT_WITHOUT_INSTANCES(): 1}, 1),
    ("[" * 100_000, {SIDE_TOO_DEEP["input"](): 1}, 1),
    ("", {SIDE_NOT_JSON["input"](): 1}, 1),
]


@pytest.mark.parametrize(("data", "problems", "malformed"), SCHEMA)
def test_a_changed_schema_is_named(
    lines: Any, baseline: Baseline, data: str, problems: dict[str, int], malformed: int
) -> None:
    """Names missing and extra columns, by name or by number; a whole invalid line is malformed."""
    counts = count([lines.call(data, encoding="JSON"), lines.call("1,2,north")], baseline)
    assert (counts.malformed, counts.calls) == (malformed, 2 - malformed)
    assert set(problems.items()) <= set((counts.problems or {}).items())
    assert counts.rows == 1 + (0 if malformed else len(json.loads(data)["instances"]))


def test_values_of_every_kind_are_counted_or_invalid(lines: Any, baseline: Baseline) -> None:
    """NaN literals count as null; infinities, numbers beyond 32 bits, objects and lone surrogates each have their count."""
    rows = (
        '[NaN, Infinity, "\\ud800"], [1e39, -1e400, null], [{"a": 1}, [2], {}], [true, "x", 3], '
        f"[{'9' * 5000}, {10**30}, NaN], [1, 2, {json.dumps('x' * 100_000)}]"
    )
    counts = count([lines.call(f'{{"instances": [{rows}]}}', encoding="JSON")], baseline)
    price, stock, store = counts.features
    assert (counts.rows, counts.problems, counts.malformed) == (6, None, 0)
    assert (price.counts[-1], price.invalid, price.infinite, sum(price.counts)) == (1, 2, 2, 2)
    assert (stock.invalid, stock.infinite, stock.maximum) == (2, 2, float(np.float32(1e30)))
    assert (store.counts[-2:], store.invalid) == ((2, 2), 2)
    assert from_json(Counts, canonical_json(counts)) == counts


def test_nothing_is_counted_of_nothing(baseline: Baseline) -> None:
    """An empty object and one of blank lines count nothing."""
    for records in ([], ["", "  ", "\n"]):
        assert replace(count(records, baseline), objects=0) == empty(baseline)


def test_what_is_no_prediction_is_one_that_is_no_number(lines: Any, baseline: Baseline) -> None:
    """An error page as a response counts as non-numeric predictions, together with its rows."""
    counts = count([lines.call("1,2,north\n3,4,west", "<html>", output_encoding="JSON")], baseline)
    assert counts.prediction is not None
    assert (counts.rows, counts.prediction.invalid, sum(counts.prediction.counts)) == (2, 2, 0)
    assert counts.problems == {SIDE_NOT_JSON["output"](): 1}


@pytest.mark.parametrize("data", ['{"instances": []}', "\n", ""])
def test_a_call_without_a_row_is_named(lines: Any, baseline: Baseline, data: str) -> None:
    """A call without rows is reported, so that its feed is not mistaken for silence."""
    encoding = "JSON" if data.startswith("{") else "CSV"
    counts = count([lines.call(data, "", encoding=encoding)], baseline)
    assert (counts.calls, counts.rows, counts.malformed) == (0, 0, 1)
    assert counts.problems == {INPUT_WITHOUT_ROWS(): 1}


def test_fails_for_columns_that_do_not_fit(baseline: Baseline) -> None:
    """Rejects missing columns and columns of another length by name."""
    with pytest.raises(ValueError, match=r"columns must contain every feature, missing 'stock', 'store'"):
        count_columns({"price": [1]}, baseline)
    with pytest.raises(ValueError, match=r"columns must have one length, got 'price' of 1, 'stock' of 2, 'store' of 1"):
        count_columns({"price": [1], "stock": [1, 2], "store": ["a"]}, baseline)
