"""The join of labels and captures: order, duplicates, delay, coverage and bounded memory."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_runtime.contracts.monitor import FeatureBaseline
from mlops_runtime.contracts.rollout import TakenBack
from mlops_runtime.monitor.monitors.label_join import Joined, Timed, column_text, due_before, join

NOON = datetime(2017, 8, 7, 12, tzinfo=UTC)
FEATURES = (
    FeatureBaseline(name="store", type="category", counts=()),
    FeatureBaseline(name="age", type="number", counts=()),
)


def at(hours: float) -> str:
    """Return the time the given number of hours after noon."""
    return (NOON + timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%SZ")


# id of the call, hour of the call, labels, upload hours of each label version
CALLS = st.lists(
    st.tuples(
        st.floats(-48, 0),
        st.lists(st.integers(0, 100), min_size=1, max_size=3),
        st.lists(st.floats(0, 24), max_size=3),
    ),
    min_size=1,
    max_size=12,
)


@given(CALLS, st.randoms())
def test_every_order_gives_the_same(lines: Any, calls: list[Any], random: Any) -> None:
    """The latest upload wins, a capture counts once, delay ends at the first upload, coverage is of calls a day old."""
    captures, labels = [], []
    for number, (hour, values, uploads) in enumerate(calls):
        line = lines.call(None, "\n".join(map(str, values)), inference_id=f"c{number}", time=at(hour))
        captures += [line] * random.choice([1, 1, 2])
        for version, upload in enumerate(sorted(uploads)):
            label = lines.label("x", [value + version + 1 for value in values], inference_id=f"c{number}")
            labels.append(Timed(NOON + timedelta(hours=upload, microseconds=version), label))
    random.shuffle(captures)
    random.shuffle(labels)
    joined = join(labels, captures, due_until=due_before(NOON, 24))
    errors = sorted((joined.labelled.label - joined.labelled.prediction).tolist())
    assert errors == sorted(float(len(uploads)) for _, values, uploads in calls if uploads for _ in values)
    assert (joined.unmatched, joined.mismatched, joined.malformed) == (0, 0, 0)
    due = [bool(uploads) for hour, _, uploads in calls if at(hour) <= at(-24)]
    if labels:
        assert joined.repeated == len(captures) - len(calls)
        assert (joined.due, joined.covered) == (len(due), sum(due))
        delays = [min(uploads) - hour for hour, _, uploads in calls if uploads]
        assert joined.delay_hours == pytest.approx(np.median(delays), abs=1 / 3600)
    else:
        assert (joined.due, joined.delay_hours) == (0, None)


@pytest.mark.parametrize(
    ("data", "labels"),
    [
        ("3\n4\n5", [3.0, 4.0, 5.0]),
        ("3\r\n4\r\n5\r\n", [3.0, 4.0, 5.0]),
        ("\n4\n5", [4.0, 5.0]),
        ("3\n4\n", [3.0, 4.0]),
        ("3\n\n\n", [3.0]),
        ("\n\n", []),
        ("3\n4", None),
        ("3\n4\n5\n6", None),
        ("", None),
    ],
)
def test_an_empty_label_keeps_its_row_at_either_end(lines: Any, data: str, labels: list[float] | None) -> None:
    """Only the final line ending may be missing; any other number of lines is a mismatch."""
    record = json.loads(lines.label("e", [0]))
    record["groundTruthData"]["data"] = data
    joined = join([json.dumps(record)], [lines.call(None, "3\n4\n5", event_id="e")])
    assert joined.mismatched == (labels is None)
    assert joined.labelled.label.tolist() == joined.labelled.prediction.tolist() == (labels or [])


def test_what_cannot_be_judged_is_counted(lines: Any) -> None:
    """Counts labelled rows without a prediction, and the rows of calls with an unreadable output and readable input."""
    label = lines.label("e", [1, 2, "nan", 4])
    joined = join([label], [lines.call(None, "1\nnan\nx\nx", event_id="e")])
    assert (len(joined.labelled), joined.unpredicted, joined.unreadable) == (1, 2, 1)
    broken = lines.call("north,30\n" * 4, "{", output_encoding="JSON", event_id="e")
    for columns, malformed, unpredicted in (([], 1, 0), (["store"], 0, 3)):
        joined = join([label], [broken], features=FEATURES, columns=columns)
        assert (len(joined.labelled), joined.malformed, joined.unpredicted) == (0, malformed, unpredicted)


def test_a_delay_is_not_below_zero_and_a_mismatch_is_told_once(lines: Any) -> None:
    """A delay is at least 0, as uploads are known to the hour; mismatches of labels before the window are not repeated."""
    captures = [lines.call(None, "8", event_id=f"e{number}", time=at(-0.5)) for number in (1, 2)]
    labels = [Timed(NOON - timedelta(hours=1), lines.label("e1", [1])), Timed(NOON, lines.label("e2", [1, 2]))]
    joined = join(labels, captures)
    assert (joined.mismatched, joined.delay_hours) == (1, 0.25)
    joined = join(labels, captures, window_from=at(1))
    assert joined.mismatched == 0


def test_labels_before_the_window_count_for_coverage_alone(lines: Any) -> None:
    """Labels before the window were measured in their own run."""
    captures = [lines.call(None, "8", event_id=f"e{hour}", time=at(-hour)) for hour in (30, 40)]
    labels = [
        Timed(NOON - timedelta(hours=10), lines.label("e30", [10])),
        Timed(NOON - timedelta(hours=1), lines.label("e40", [10])),
    ]
    joined = join(labels, captures, window_from=at(-2), due_until=at(-24))
    assert (len(joined.labelled), joined.due, joined.covered) == (1, 2, 2)


def test_calls_that_are_due_have_all_their_labels(lines: Any) -> None:
    """Includes labels uploaded before the window, which are not measured again."""
    captures = [lines.call(None, str(hour), event_id=f"e{hour}", time=at(-hour)) for hour in (30, 29, 28, 3)]
    labels = [
        Timed(NOON - timedelta(hours=10), lines.label("e30", [1])),
        Timed(NOON - timedelta(hours=1), lines.label("e29", [2])),
        Timed(NOON - timedelta(hours=10), lines.label("e28", [3])),
        Timed(NOON - timedelta(hours=1), lines.label("e3", [4])),
    ]
    joined = join(labels, captures, window_from=at(-2), matured=(at(-30), at(-28)))
    assert joined.matured.label.tolist() == [1, 2]
    assert joined.labelled.label.tolist() == [2, 4]
    assert len(join(labels, captures, window_from=at(-2)).matured) == 0


def test_calls_of_a_rollout_that_was_taken_back_are_left_out_with_their_labels(lines: Any) -> None:
    """The model that answered is unknown, so calls are excluded, and their labels are not reported as unmatched."""
    captures = [lines.call(None, "8", event_id=f"e{hour}", time=at(-hour)) for hour in (4, 3, 2)]
    labels = [lines.label(f"e{hour}", [10]) for hour in (4, 3, 2)]
    joined = join(labels, captures, aside=(TakenBack(since=at(-3), until=at(-2.5)),))
    assert (len(joined.labelled), joined.unmatched, joined.due) == (2, 0, 0)


def test_a_label_uploaded_again_in_the_window_is_measured_again(lines: Any) -> None:
    """A correction is measured again; the delay still ends at the first upload."""
    labels = [
        Timed(NOON - timedelta(hours=1), lines.label("e-1", [20])),
        Timed(NOON - timedelta(hours=10), lines.label("e-1", [10])),
    ]
    joined = join(labels, [lines.call(None, "8", time=at(-12))], window_from=at(-2))
    assert (joined.labelled.label.tolist(), joined.delay_hours) == ([20.0], 2.0)


def test_columns_are_the_same_from_every_content_type(lines: Any) -> None:
    """CSV, JSON by name and by position, and base64 give the same columns, with one notation of numbers."""
    instances = json.dumps({"instances": [{"store": "north", "age": 41}, ["north", 41.0]]})
    calls = [
        lines.call("north,41.0\nnorth,41\n", "1\n2", event_id="csv"),
        lines.call(instances, '{"predictions": [1, 2]}', encoding="JSON", output_encoding="JSON", event_id="json"),
        lines.call("bm9ydGgsNDEKbm9ydGgsNDEuMA==", "1\n2", encoding="BASE64", event_id="base64"),
    ]
    labels = [lines.label(key, [1, 2]) for key in ("csv", "json", "base64")]
    rows = join(labels, calls, features=FEATURES, columns=("age", "store")).labelled
    assert len(rows) == 6
    assert (rows.columns["age"].values, rows.columns["store"].values) == (("41",), ("north",))
    assert len(set(rows.call.tolist())) == 3


def test_a_boolean_is_one_segment_however_it_is_written(lines: Any) -> None:
    """JSON true, CSV true and 1 are one segment."""
    feature = FeatureBaseline(name="member", type="number", edges=(1.0,), counts=(1, 1, 0), kind="boolean")
    calls = [
        lines.call('{"instances": [[true], [1], [false]]}', "1\n2\n3", encoding="JSON", event_id="json"),
        lines.call("True\n0\n", "4\n5", event_id="csv"),
    ]
    labels = [lines.label("json", [1, 2, 3]), lines.label("csv", [4, 5])]
    texts = join(labels, calls, features=(feature,), columns=("member",)).labelled.columns["member"]
    assert sorted(texts.values[code] for code in texts.codes) == ["0", "0", "1", "1", "1"]


def test_a_row_whose_input_cannot_be_read_keeps_its_prediction(lines: Any) -> None:
    """The row is in no segment, like a null or a call without a captured input."""
    calls = [
        lines.call("north", "1", event_id="short"),
        lines.call(",", "2", event_id="null"),
        lines.call(None, "3", event_id="none"),
        lines.call("north,1\nsouth,2", "4", event_id="long"),
    ]
    labels = [lines.label(key, [1]) for key in ("short", "null", "none", "long")]
    rows = join(labels, calls, features=FEATURES, columns=("store", "age")).labelled
    assert rows.prediction.tolist() == [1.0, 2.0, 3.0, 4.0]
    assert rows.columns["store"].codes.tolist() == rows.columns["age"].codes.tolist() == [-1] * 4


def test_bounds_come_beside_their_prediction(lines: Any) -> None:
    """An interval that is not a pair of numbers is dropped."""
    call = lines.call(None, '{"predictions": [[5, 3, 8], [6, null, 9]]}', output_encoding="JSON")
    rows = join([lines.label("e-1", [4, 4])], [call]).labelled
    np.testing.assert_array_equal(rows.low, [3, np.nan])
    assert rows.high.tolist() == [8, 9]


def test_unlabelled_calls_are_looked_at_where_asked(lines: Any) -> None:
    """Reads all calls of the window, instead of stopping at the last labelled one."""
    calls = [
        lines.call("north,1", "1", event_id="before", time=at(-30)),
        lines.call("north,1", "2", event_id="labelled", time=at(-30)),
        lines.call("south,1", "3", event_id="inside", time=at(-1)),
        lines.call("south,1", "nan", event_id="broken", time=at(-1)),
        lines.call("south,1", "5", inference_id="mlops-synthetic-1", time=at(-1)),
    ]
    joined = join(
        [lines.label("labelled", [2])],
        calls,
        window_from=at(-2),
        features=FEATURES,
        columns=("store",),
        unlabelled=True,
        announced=lambda *_: True,
    )
    assert joined.predicted.prediction.tolist() == [3.0]
    assert joined.labelled.prediction.tolist() == [2.0]


def run_sampled(lines: Any, maximum: int, *, unlabelled: bool) -> Joined:
    """Join 4000 calls of one or two rows, the older half labelled."""
    calls, labels = [], []
    for number in range(4000):
        rows = 1 + number % 2
        calls.append(lines.call(None, "\n".join(["8"] * rows), event_id=f"e{number}", time=at(number % 24 - 24)))
        if number % 24 < 12:
            labels.append(lines.label(f"e{number}", [10 + number % 5] * rows))
    return join(labels, calls, due_until=at(0), unlabelled=unlabelled, maximum_rows=maximum)


@pytest.mark.parametrize("unlabelled", [False, True])
def test_too_many_rows_are_sampled_by_call(lines: Any, unlabelled: bool) -> None:
    """Samples whole calls within the bound; coverage and the mean label stay close to those of all calls."""
    whole, part = (run_sampled(lines, maximum, unlabelled=unlabelled) for maximum in (100_000, 1000))
    expected = sum(1 + number % 2 for number in range(4000) if number % 24 < 12)
    assert (whole.share, len(whole.labelled)) == (1.0, expected)
    assert part.share in (0.5, 0.25, 0.125, 0.0625)
    assert 200 < len(part.labelled) <= 1000
    assert len(part.predicted) <= 1000
    assert (part.unmatched, part.mismatched) == (0, 0)
    assert part.covered / part.due == pytest.approx(whole.covered / whole.due, abs=0.06)
    assert part.labelled.label.mean() == pytest.approx(whole.labelled.label.mean(), abs=0.3)
    assert len(part.labelled) / len(whole.labelled) == pytest.approx(part.share, rel=0.2)
    sizes = np.bincount(part.labelled.call)
    assert set(sizes[sizes > 0].tolist()) == {1, 2}


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        ("number", "0.1", "0.1"),
        ("number", 0.1, "0.1"),
        ("number", -2.0, "-2"),
        ("number", "x", None),
        ("number", float("inf"), None),
        ("number", True, None),
        ("category", "a b", "a b"),
        ("category", "", None),
        ("category", 3, "3"),
        ("category", 3.0, None),
        ("category", True, None),
        ("number", 16777217, "16777216"),
        ("number", 1e300, None),
        ("number", "1_0", None),
    ],
)
def test_texts_of_columns(kind: str, value: object, text: str | None) -> None:
    """Equal values have one text."""
    assert column_text(kind, value) == text


def test_classes_are_joined_row_by_row(lines: Any) -> None:
    """Probabilities are joined to class positions; a row with another number of values has no prediction."""
    call = lines.call(None, "0.2,0.7,0.1\n0.5,0.5\n0.1,0.1,0.8", inference_id="c", time=at(0))
    label = lines.label("x", ["b", "a", "c"], inference_id="c")
    joined = join([label], [call], classes=("a", "b", "c"))
    assert joined.labelled.prediction.tolist() == [[0.2, 0.7, 0.1], [0.1, 0.1, 0.8]]
    assert joined.labelled.label.tolist() == [1.0, 2.0]
    assert joined.unpredicted == 1


def test_outputs_are_joined_row_by_row(lines: Any) -> None:
    """Both sides are lists of numbers; sampling keeps them together."""
    calls = [lines.call(None, f"{n},{2 * n}", inference_id=f"c{n}", time=at(0)) for n in range(200)]
    labels = [lines.label("x", [f"{n},{2 * n}"], inference_id=f"c{n}") for n in range(200)]
    joined = join(labels, calls, outputs=("w", "x"), maximum_rows=50)
    assert 0 < len(joined.labelled) <= 50
    assert joined.share < 1
    assert joined.labelled.prediction.tolist() == joined.labelled.label.tolist()
    assert (joined.labelled.prediction[:, 1] == 2 * joined.labelled.prediction[:, 0]).all()
