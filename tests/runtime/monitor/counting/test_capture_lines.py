"""All captured formats give the same rows; unreadable data is a typed error."""

import base64
import json
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_runtime.contracts import canonical_json
from mlops_runtime.contracts.monitor import Baseline, Condition
from mlops_runtime.monitor.counting import capture_lines as payloads
from mlops_runtime.monitor.counting.baseline import category_baseline, fit_baseline
from mlops_runtime.monitor.counting.baseline_cells import LevelCells, to_numbers
from mlops_runtime.monitor.counting.capture_lines import (
    TOO_LONG,
    CaptureError,
    LineReader,
    bounded_lines,
    is_since,
    read_call,
    read_labels,
)
from mlops_runtime.monitor.counting.counts import count
from mlops_runtime.monitor.counting.live_baseline import live_baseline
from mlops_runtime.monitor.counting.problems import (
    INPUT_NOT_CAPTURED,
    LINE_NOT_JSON,
    MAXIMUM,
    ROW_SHAPE,
    ROW_WIDTH,
    SIDE_NOT_TEXT,
    TIME_INVALID,
    UNANNOUNCED,
)
from mlops_runtime.monitor.monitors.label_join import join

NAMES = ("price", "stock", "store")
PLACES = (
    "DEEP",
    '{"instances": DEEP}',
    '{"instances": [DEEP]}',
    '{"instances": [[DEEP, 2, "north"], [1, 2, DEEP]]}',
    '{"instances": [{"price": DEEP, "x": DEEP}]}',
    '{"instances": [[DEEP]]}',
    '{"data": {"features": DEEP}}',
)


def nested(depth: int, kind: str) -> str:
    """Return a value nested in arrays or objects."""
    return "[" * depth + "1" + "]" * depth if kind == "array" else '{"a":' * depth + "1" + "}" * depth


@pytest.mark.parametrize("depth", [900, 950, 985, 1000, 1015, 1024, 1030, 5000, 100_000])
@pytest.mark.parametrize("kind", ["array", "object"])
def test_what_is_nested_too_deeply_is_one_problem(lines: Any, baseline: Baseline, depth: int, kind: str) -> None:
    """Data nested too deeply in a line, row, prediction, id or encoding is one problem; the other lines count."""
    deep, good = nested(depth, kind), lines.call("1,2,north", "9", inference_id="a")
    odd = json.loads(good)
    odd["eventMetadata"]["inferenceId"] = odd["captureData"]["endpointInput"]["encoding"] = "DEEP"
    bad = [
        deep,
        json.dumps(odd).replace('"DEEP"', deep),
        *(lines.call(text.replace("DEEP", deep), "9", encoding="JSON") for text in PLACES),
        lines.call(None, f'{{"predictions": [{deep}, {{"score": {deep}}}]}}', output_encoding="JSON"),
    ]
    counts = count([*bad, good], baseline)
    assert counts.features[0].counts[:-1] != (0,) * (len(counts.features[0].counts) - 1)
    assert counts.calls + counts.malformed == len(bad) + 1
    assert json.loads(canonical_json(counts))
    assert max(map(len, counts.problems or {})) < 200
    joined = join(
        [lines.label("a", [8]), deep],
        [*bad, good],
        features=baseline.features,
        columns=["price", "store"],
        unlabelled=True,
    )
    assert joined.labelled.prediction.tolist() == [9.0]


def test_a_bad_row_costs_nothing_but_itself(lines: Any, baseline: Baseline) -> None:
    """A short row in each of ten calls of a thousand rows costs only itself: the others count with their own predictions."""
    body = "\n".join("1,2" if row == 7 else f"{row},2,north" for row in range(1000))
    counts = count([lines.call(body, "\n".join("9" * 1000)) for _ in range(10)], baseline)
    assert (counts.calls, counts.malformed, counts.rows) == (10, 0, 9990)
    assert counts.problems == {ROW_WIDTH(2, 3): 10}
    call = read_call(lines.call("1,2,north\n3\n4,5,south", "7\n8\n9"), NAMES)
    assert (call.rows, call.unread) == ([["1", "2", "north"], None, ["4", "5", "south"]], 1)
    mixed = lines.call('{"instances": [[1, 2, "north"], 7, null, [1, 2]]}', "7\n8\n9\n9", encoding="JSON")
    assert Counter(read_call(mixed, NAMES).problems) == {
        ROW_SHAPE(): 2,
        ROW_WIDTH(2, 3): 1,
    }


def test_rows_beside_a_bad_one_keep_their_predictions_and_strata(lines: Any) -> None:
    """Rows beside an invalid one keep their predictions and strata, when counted and when a baseline is fitted."""
    columns = {"price": [1.0, 5.0] * 50, "store": ["a", "b"] * 50}
    types: Any = {"price": "number", "store": "category"}
    created = "2017-08-01T00:00:00Z"
    given = fit_baseline(
        columns, types=types, training_set_id="t", created=created, conditions=[Condition(name="store")],
        prediction=[1.0, 5.0] * 50,
    )  # fmt: skip
    good, bad = lines.call("1,a\n5,b", "1\n5"), lines.call("1,a\n9\n5,b", "1\n3\n5")
    expected, found = count([good], given), count([bad], given)
    assert (found.rows, found.features) == (expected.rows, expected.features)
    strata = {one.key: one for one in found.strata or ()}
    for one in expected.strata or ():
        assert strata.pop(one.key) == one
    assert found.prediction is not None
    assert sum(found.prediction.counts) == 3
    assert live_baseline([[bad] * 9], types, created=created) == live_baseline([[good] * 9], types, created=created)


@pytest.mark.parametrize("text", ["5\n\n6\n", "5\n\n6", "\n", "\n5"])
def test_one_column_has_the_same_nulls_with_either_line_end(lines: Any, text: str) -> None:
    """An empty line is a null in a one-column CSV and no row in a wider one, with either line ending."""
    unix = read_call(lines.call(text), ["a"]).rows
    assert read_call(lines.call(text.replace("\n", "\r\n")), ["a"]).rows == unix
    assert len(unix or ()) == text.removesuffix("\n").count("\n") + 1
    assert read_call(lines.call("1,2\r\n\r\n3,4\r\n"), ["a", "b"]).rows == [["1", "2"], ["3", "4"]]


def test_predictions_with_windows_line_ends_are_the_same(lines: Any) -> None:
    """A class name does not include the carriage return."""
    assert read_call(lines.call(None, "yes\r\nno\r\n"), None).predictions == ["yes", "no"]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ('{"instances": [{"features": [1, 2, "a"]}, {"features": [3, 4, "b"]}]}', "application/json"),
        ('{"instances": [{"data": {"features": {"values": [1, 2, "a"]}}}, [3, 4, "b"]]}', "application/json"),
        ('[[1, 2, "a"], {"price": 3, "stock": 4, "store": "b"}]', "application/json"),
        ('{"features": [1, 2, "a"]}\n{"features": [3, 4, "b"]}\n', "application/jsonlines"),
        ('[1, 2, "a"]\n\n{"store": "b", "stock": 4, "price": 3}', "application/jsonlines"),
        ('{"data": {"features": {"values": [1, 2, "a"]}}}\n[3, 4, "b"]', "application/jsonlines"),
    ],
)
@pytest.mark.parametrize("encoding", ["JSON", "BASE64"])
def test_rows_are_read_in_every_documented_shape(text: str, kind: str, encoding: str) -> None:
    """Reads JSON and JSON Lines, dense, bare and named, whether or not the capture options list the content type."""
    call = read_call(captured(text, "1\n2", kind, encoding), NAMES)
    assert [list(row or ()) for row in call.rows or ()] == [[1, 2, "a"], [3, 4, "b"]]
    assert call.problems == []


@pytest.mark.parametrize("text", ['{"price": 1, "stock": 2, "store": "a"}', '[1, 2, "a"]', '{"features": [1, 2, "a"]}'])
def test_one_bare_row_is_a_call(text: str) -> None:
    """A bare object or array of values is one row."""
    rows = read_call(captured(text, "1", "application/json", "JSON"), NAMES).rows
    assert [list(row or ()) for row in rows or ()] == [[1, 2, "a"]]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"inputs": [[1, 2, "a"]]}', "input has no instances"),
        ("[]", "input has no instances"),
        ("5", "input has no instances"),
        ('{"data": {"features": {"keys": [0], "shape": [3], "values": [1]}}}', "input has no instances"),
        ("[1, 2]", "row has 2 values instead of 3"),
    ],
)
def test_fails_for_a_shape_that_is_not_read(text: str, problem: str) -> None:
    """Rejects an unknown shape by name instead of reading a row of nulls."""
    with pytest.raises(CaptureError, match=problem):
        read_call(captured(text, "1", "application/json", "JSON"), NAMES)


def test_a_broken_line_of_json_lines_is_one_row(lines: Any) -> None:
    """A broken line of JSON Lines costs one row."""
    call = read_call(captured('[1, 2, "a"]\n{\n[3, 4, "b"]', "1\n2\n3", "application/jsonlines", "JSON"), NAMES)
    assert (call.rows, call.problems) == ([[1, 2, "a"], None, [3, 4, "b"]], [ROW_SHAPE()])


@pytest.mark.parametrize(
    ("text", "kind", "predictions"),
    [
        ('{"predictions": [{"score": 0.4}, {"score": 0.6}]}', "application/json", [0.4, 0.6]),
        ('{"predictions": [{"score": 0.4, "predicted_label": 0}]}', "application/json", [0.4]),
        ('{"predictions": [{"score": [0.1, 0.9], "predicted_label": 1}]}', "application/json", [1]),
        ('{"score": 0.4}\n{"score": 0.6, "predicted_label": 1}\n', "application/jsonlines", [0.4, 0.6]),
        ("0.4\n0.6", "application/jsonlines", [0.4, 0.6]),
        ("[5, 3, 8]", "application/jsonlines", [5]),
        ("[5, 3, 8]", "application/json", [5, 3, 8]),
        ("0.4", "application/json", [0.4]),
        ('{"score": 0.4}', "application/json", [0.4]),
        ('{"predictions": [{"closest_cluster": 1}]}', "application/json", [{"closest_cluster": 1}]),
    ],
)
def test_predictions_are_read_in_every_documented_shape(text: str, kind: str, predictions: list[Any]) -> None:
    """Reads Linear Learner's responses, bare arrays and one prediction a line; another object is kept as a non-number."""
    assert read_call(captured("1,2,a", text, "text/csv", "CSV", kind), NAMES).predictions == predictions


def captured(text: str, output: str, kind: str, encoding: str, output_kind: str = "text/csv") -> str:
    """Return a line with the given content types."""
    data = base64.b64encode(text.encode()).decode() if encoding == "BASE64" else text
    sides = {
        "endpointInput": {"observedContentType": kind, "mode": "INPUT", "encoding": encoding, "data": data},
        "endpointOutput": {
            "observedContentType": output_kind,
            "mode": "OUTPUT",
            "encoding": "CSV" if output_kind == "text/csv" else "JSON",
            "data": output,
        },
    }
    return json.dumps({"captureData": sides, "eventMetadata": {"eventId": "e"}})


OBJECTS = json.dumps({"instances": [{"price": 1.5, "store": "south, old"}, [2, 3, "north"]]})


def test_a_json_call_is_read_by_name_and_by_position(lines: Any) -> None:
    """Reads objects by name and arrays by position; an absent column is null, and predictions keep their order."""
    line = lines.call(OBJECTS, '{"predictions": [1, 2.5]}', encoding="JSON", output_encoding="JSON")
    call = read_call(line, NAMES)
    assert (call.rows, call.predictions) == ([[1.5, None, "south, old"], [2, 3, "north"]], [1, 2.5])
    assert (call.join_key, call.time) == ("e-1", "2017-08-07T10:00:00Z")


def test_a_csv_call_holds_several_rows(lines: Any) -> None:
    """Quoted CSV fields keep their commas, and a trailing line ending adds no row."""
    call = read_call(lines.call('1.5,,"south, old"\n2,3,north\n', "1\n2.5\n"), NAMES)
    assert (call.rows, call.predictions) == ([["1.5", "", "south, old"], ["2", "3", "north"]], ["1", "2.5"])
    assert read_call(lines.call("1,2,north\n"), NAMES).rows == [["1", "2", "north"]]


@pytest.mark.parametrize(
    ("text", "expected"), [("1,2,north", ["1", "2", "north"]), (OBJECTS, [1.5, None, "south, old"])]
)
def test_an_unlisted_content_type_is_base64(lines: Any, text: str, expected: list[Any]) -> None:
    """Decodes base64 of JSON or CSV for content types that the capture options do not list."""
    call = read_call(lines.call(base64.b64encode(text.encode()).decode(), encoding="BASE64"), NAMES)
    assert call.rows is not None
    assert call.rows[0] == expected


def test_a_side_may_be_absent(lines: Any) -> None:
    """Reads a capture with only the input or only the output."""
    alone = read_call(lines.call(None, "1\n"), NAMES)
    assert (alone.rows, alone.problems) == (None, [INPUT_NOT_CAPTURED()])
    assert read_call(lines.call("1,2,north"), NAMES).predictions is None
    assert read_call(lines.call("not,read", "1"), None).rows is None
    with pytest.raises(CaptureError, match=r"^line has neither input nor output$"):
        read_call(lines.call(None), NAMES)


def test_a_synthetic_call_is_known_by_its_inference_id(lines: Any) -> None:
    """A synthetic call is recognised by its inference id, even with broken payloads; a similar event id is SageMaker's own."""
    call = read_call(lines.call("no,number,of,columns", inference_id="mlops-synthetic-7"), ["a"], lambda *_: True)
    assert (call.is_synthetic, call.rows, call.predictions) == (True, None, None)
    assert not read_call(lines.call("1", event_id="mlops-synthetic-7"), ["a"], lambda *_: True).is_synthetic


def test_a_call_that_nobody_announced_counts_as_any_other(lines: Any) -> None:
    """A call with an unannounced synthetic id counts like any other, and is reported."""
    call = read_call(lines.call("1", "2", inference_id="mlops-synthetic-7"), ["a"])
    assert (call.is_synthetic, call.is_unannounced) == (False, True)
    assert (call.rows, call.problems) == (
        [["1"]],
        [UNANNOUNCED()],
    )
    assert not read_call(lines.call("1", "2", inference_id="mine"), ["a"]).is_unannounced


def test_the_inference_id_is_the_join_key(lines: Any) -> None:
    """The join key is the caller's inference id, or else SageMaker's event id."""
    assert read_call(lines.call("1,2,north", inference_id="week-31-0"), NAMES).join_key == "week-31-0"


@pytest.mark.parametrize(
    "line",
    [
        "",
        "{",
        "[]",
        '"x"',
        "{}",
        '{"captureData": {}, "eventMetadata": {}}',
        '{"captureData": null, "eventMetadata": {"eventId": "e"}}',
    ],
)
def test_fails_for_what_is_no_record(line: str) -> None:
    """Rejects each invalid record with one typed error."""
    with pytest.raises(CaptureError, match=r"line is not (JSON|a capture record)"):
        read_call(line, NAMES)


@pytest.mark.parametrize(
    ("data", "encoding", "message"),
    [
        ("1,2", "CSV", "row has 2 values instead of 3"),
        ("{", "JSON", "JSONDecodeError"),
        ('{"instances": 3}', "JSON", "input has no instances"),
        ('{"instances": ["abc"]}', "JSON", "a row must have 3 values, got 'abc'"),
        ("%%", "BASE64", "the payload is not base64"),
    ],
)
def test_fails_for_a_payload_of_another_shape(lines: Any, data: str, encoding: str, message: str) -> None:
    """Rejects a payload that does not fit the model, with the reason."""
    with pytest.raises(CaptureError, match=message):
        read_call(lines.call(data, encoding=encoding), NAMES)


FIELDS = st.sampled_from(["captureData", "eventMetadata", "endpointInput", "eventId", "data", "encoding"])
DOCUMENT = st.recursive(
    st.none() | st.integers() | st.text(max_size=5), lambda x: st.lists(x) | st.dictionaries(FIELDS, x), max_leaves=10
)


@given(DOCUMENT)
def test_nothing_in_a_line_is_more_than_a_capture_error(document: Any) -> None:
    """Arbitrary JSON is read or rejected with a capture error."""
    try:
        read_call(json.dumps(document), NAMES)
    except CaptureError as error:
        assert str(error)


def test_labels_keep_their_rows(lines: Any) -> None:
    """An empty label keeps its neighbours in place, a broken line is None, and blank lines are skipped."""
    records = [lines.label("e-1", [3, "", "nan", 4.5]), "{", "", lines.label("e-2", [7], inference_id="w-1")]
    read = list(read_labels(records))
    assert read[0] is not None
    assert read[0][0] == "e-1"
    assert (read[0][1][0], read[0][1][1], read[0][1][3]) == (3.0, None, 4.5)
    assert read[1:] == [None, ("w-1", (7.0,), None)]


def test_a_label_is_a_number_as_csv_has_it(lines: Any) -> None:
    """A label parses like a CSV number: 1_000 is text, as in a feature, and so is a value beyond 32-bit floats."""
    [found] = read_labels([lines.label("e-1", ["1_000", "1e3", "3.4028234e38", "3.4028236e38", "-1e200", "1e999"])])
    assert found is not None
    assert [str(label) for label in found[1]] == ["nan", "1000.0", "3.4028234e+38", "nan", "nan", "nan"]


@pytest.mark.parametrize(
    ("time", "since", "expected"),
    [
        ("2017-08-07T10:00:00Z", "2017-08-07T10:00:00.900Z", True),
        ("2017-08-07T09:59:59Z", "2017-08-07T10:00:00+00:00", False),
        ("", "2017-08-07T10:00:00Z", True),
        ("2017-08-07T10:00:00Z", "", True),
    ],
)
def test_calls_are_compared_to_the_second(time: str, since: str, expected: bool) -> None:
    """Calls are compared to the second, the resolution of capture files."""
    assert is_since(time, since) is expected


@pytest.mark.parametrize(
    ("output", "encoding", "predictions", "bounds"),
    [
        ('{"predictions": [[5, 3, 8], [6, 4, 9]]}', "JSON", [5, 6], [[3, 8], [4, 9]]),
        ("5,3,8\n6,4,9\n", "CSV", ["5", "6"], [["3", "8"], ["4", "9"]]),
        ('{"predictions": [[5], [6, 4, 9]]}', "JSON", [5, 6], None),
        ('{"predictions": [[], 6]}', "JSON", [[], 6], None),
        ("5,0.2\n6\n", "CSV", ["5", "6"], None),
        ("5\n6\n", "CSV", ["5", "6"], None),
    ],
)
def test_bounds_of_a_prediction_are_read_beside_it(
    lines: Any, output: str, encoding: str, predictions: list[Any], bounds: list[Any] | None
) -> None:
    """The prediction comes first; bounds are read if every row has both."""
    call = read_call(lines.call(None, output, output_encoding=encoding), None)
    assert (call.predictions, call.bounds) == (predictions, bounds)


@given(st.lists(st.lists(st.sampled_from([b"\n", b"a", b"bc", b"\r"]), max_size=6).map(b"".join), max_size=6))
def test_lines_are_the_same_however_an_object_is_chunked(chunks: list[bytes]) -> None:
    """Chunks of any size give the same lines, also with line endings at chunk boundaries and with equal lines."""
    assert [line for line in bounded_lines(chunks) if line] == [line for line in b"".join(chunks).split(b"\n") if line]
    short = [line if len(line) <= 3 else TOO_LONG for line in b"".join(chunks).split(b"\n") if line]
    assert [line for line in bounded_lines(chunks, maximum=3) if line] == short


_texts = st.text(st.characters() | st.sampled_from('"\\\ud800\x00\n,'), max_size=12)
_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.integers(10**18, 10**40) | _texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_texts, inner, max_size=3),
    max_leaves=6,
)


@given(_values, _values, _texts, st.booleans())
def test_a_line_is_the_same_with_and_without_orjson(key: Any, extra: Any, data: str, ascii_only: bool) -> None:
    """A line is read alike by orjson and the json module, also where only one of the decoders accepts it."""
    side = {"observedContentType": "text/csv", "mode": "INPUT", "data": data, "encoding": "CSV"}
    record = {"captureData": {"endpointInput": side, "x": extra}, "eventMetadata": {"eventId": "e", "inferenceId": key}}
    text = json.dumps(record, ensure_ascii=ascii_only)
    for line in (text, text.encode("utf-8", "surrogatepass"), text[:-1], text.replace('"e"', "1e999")):
        quick = outcome(line)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(payloads, "orjson", None)
            assert outcome(line) == quick


@given(
    st.lists(
        st.dictionaries(st.sampled_from(["price", "store", "new"]), _values) | st.lists(_values, max_size=3), max_size=3
    )
)
def test_values_are_the_same_with_and_without_orjson(rows: Any) -> None:
    """With orjson and the json module, numbers of any length, NaN and lone surrogates fall into the same cells."""
    side = {"observedContentType": "application/json", "mode": "INPUT", "encoding": "JSON"}
    data = {"endpointInput": {**side, "data": json.dumps({"instances": rows})}}
    line = json.dumps({"captureData": data, "eventMetadata": {"eventId": "e"}})
    cells = LevelCells(category_baseline("store", ["a"]))

    def cells_of() -> object:
        found = outcome(line)
        if isinstance(found, str) or not found[1]:  # type: ignore[index]
            return found
        kept = [row for row in found[1] if row is not None]  # type: ignore[index]
        price, store = zip(*kept, strict=True)
        return [found[3], np.nan_to_num(to_numbers(price)).tolist(), cells.of(store).tolist()]  # type: ignore[index]

    quick = cells_of()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(payloads, "orjson", None)
        assert cells_of() == quick


def outcome(line: bytes | str) -> object:
    """Return the rows of the line's call, or its error."""
    try:
        call = read_call(line, ("price", "store"))
    except CaptureError as error:
        return "; ".join(error.problems)
    return call.time, call.rows, call.is_synthetic, call.problems


@pytest.mark.parametrize(
    "record",
    [
        "[]",
        "7",
        '{"groundTruthData": {"data": "1"}}',
        '{"groundTruthData": {"data": 1}, "eventMetadata": {"eventId": "e"}}',
        '{"groundTruthData": {"data": "1", "encoding": "JSON"}, "eventMetadata": {"eventId": "e"}}',
        '{"groundTruthData": {"data": "1"}, "eventMetadata": {"eventId": 5}}',
        '{"groundTruthData": "1", "eventMetadata": {"eventId": "e"}}',
        '{"groundTruthData": {"data": "1"}, "eventMetadata": {"inferenceId": "e"}}',
    ],
)
def test_what_is_no_label_is_none(record: str) -> None:
    """A line that is not a label is None; the encoding may be absent."""
    plain = '{"groundTruthData": {"data": "1"}, "eventMetadata": {"eventId": "e"}}'
    assert list(read_labels([record, plain])) == [None, ("e", (1.0,), None)]


KINDS = st.sampled_from(["call", "broken", "short", "synthetic", "early", "blank", "page", "untimed"])


def line_of(lines: Any, kind: str) -> str:
    """Return a line of the given kind."""
    return {
        "call": lines.call("1,2,north", "9"),
        "broken": "{" * 5000,
        "short": lines.call("1,2", "9"),
        "synthetic": lines.call("1", inference_id="mlops-synthetic-1"),
        "early": lines.call("1,2,north", "9", time="2017-08-07T08:00:00Z"),
        "blank": "  ",
        "page": lines.call("1,2,north", "PGh0bWw+/w==", output_encoding="BASE64"),
        "untimed": lines.call("1,2,north", "9", time="yesterday"),
    }[kind]


@given(kinds=st.lists(KINDS, max_size=30))
def test_no_line_is_lost(lines: Any, kinds: list[str]) -> None:
    """Every line is one of four kinds, and each error is named."""
    reader = LineReader(NAMES, "2017-08-07T09:00:00Z", lambda *_: True)
    calls = list(reader.read(line_of(lines, kind) for kind in kinds))
    number = {kind: kinds.count(kind) for kind in set(kinds)}
    assert len(calls) == reader.calls == sum(number.get(kind, 0) for kind in ("call", "page", "untimed"))
    assert reader.malformed == number.get("broken", 0) + number.get("short", 0)
    assert (reader.synthetic, reader.earlier) == (number.get("synthetic", 0), number.get("early", 0))
    assert len(kinds) == reader.calls + reader.malformed + reader.synthetic + reader.earlier + number.get("blank", 0)
    expected = {
        LINE_NOT_JSON(): number.get("broken", 0),
        ROW_WIDTH(2, 3): number.get("short", 0),
        SIDE_NOT_TEXT["output"](): number.get("page", 0),
        TIME_INVALID(): number.get("untimed", 0),
    }
    assert dict(reader.problems) == {name: times for name, times in expected.items() if times}


def test_names_that_callers_make_up_do_not_fill_the_memory(lines: Any) -> None:
    """A different column name in each of many calls does not grow the memory."""
    texts = (
        json.dumps({"instances": [{"price": 1, "stock": 2, "store": "a", f"x{number}": 0}]}) for number in range(25_000)
    )
    reader = LineReader(NAMES)
    assert sum(1 for _ in reader.read(lines.call(text, encoding="JSON") for text in texts)) == 25_000
    assert len(reader.problems) <= 10_000 + MAXIMUM
    assert reader.problems.total() == 25_000


def test_labels_of_classes_are_their_places(lines: Any) -> None:
    """Class labels are read as positions, quoted or as a float; an empty label is unknown, and other names are invalid."""
    record = lines.label("e-1", ["white", '"dry, red"', "1.0", " 1 ", "", "rosé", "2.5"])
    [(_, found, _)] = read_labels([record], classes=("dry, red", "white", "1"))
    assert found[:5] == (1.0, 0.0, 2.0, 2.0, None)
    assert np.isnan(found[5:]).all()  # type: ignore[call-overload] # numbers


def test_labels_of_outputs_have_a_number_of_each(lines: Any) -> None:
    """A label line of several outputs needs one number per output; otherwise its row stays unlabelled."""
    [(_, found, _)] = read_labels([lines.label("e-1", ["81.5,36", "", "81.5", "1,2,3", "1,", "1,x"])], outputs=2)
    assert found[:2] == ((81.5, 36.0), None)
    assert np.isnan(found[2:]).all()  # type: ignore[call-overload] # numbers
