"""Rows and predictions are the same in every shape that SageMaker's algorithms document; what is not read is named."""

import base64
import json
from collections import Counter
from typing import Any

import pytest

from mlops_runtime.contracts import canonical_json
from mlops_runtime.contracts.monitor import Baseline, Condition
from mlops_runtime.monitor.counting.baseline import fit_baseline
from mlops_runtime.monitor.counting.capture import CaptureError, read_call
from mlops_runtime.monitor.counting.counts import count
from mlops_runtime.monitor.counting.live import live_baseline
from mlops_runtime.monitor.counting.problems import ROW_SHAPE, ROW_WIDTH
from mlops_runtime.monitor.quality.labels import join

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
    """Return a value that is nested in arrays or objects."""
    return "[" * depth + "1" + "]" * depth if kind == "array" else '{"a":' * depth + "1" + "}" * depth


@pytest.mark.parametrize("depth", [900, 950, 985, 1000, 1015, 1024, 1030, 5000, 100_000])
@pytest.mark.parametrize("kind", ["array", "object"])
def test_what_is_nested_too_deeply_is_one_problem(lines: Any, baseline: Baseline, depth: int, kind: str) -> None:
    """Wherever it lies: in a line, a row, a prediction, an id, an encoding. The lines beside it count."""
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
    """Ten calls of a thousand rows, one of them short in each: the others count, with their own predictions."""
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
    """Also where they are counted by condition, and where a baseline is made of them."""
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
    """An empty line is a null where there is one column, and no row where there are several."""
    unix = read_call(lines.call(text), ["a"]).rows
    assert read_call(lines.call(text.replace("\n", "\r\n")), ["a"]).rows == unix
    assert len(unix or ()) == text.removesuffix("\n").count("\n") + 1
    assert read_call(lines.call("1,2\r\n\r\n3,4\r\n"), ["a", "b"]).rows == [["1", "2"], ["3", "4"]]


def test_predictions_with_windows_line_ends_are_the_same(lines: Any) -> None:
    """A class is not read with a carriage return."""
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
    """JSON and JSON Lines, dense, bare and named; listed in the capture options or not."""
    call = read_call(captured(text, "1\n2", kind, encoding), NAMES)
    assert [list(row or ()) for row in call.rows or ()] == [[1, 2, "a"], [3, 4, "b"]]
    assert call.problems == []


@pytest.mark.parametrize("text", ['{"price": 1, "stock": 2, "store": "a"}', '[1, 2, "a"]', '{"features": [1, 2, "a"]}'])
def test_one_bare_row_is_a_call(text: str) -> None:
    """An object or an array of values."""
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
    """It is named, never taken for a row of nulls."""
    with pytest.raises(CaptureError, match=problem):
        read_call(captured(text, "1", "application/json", "JSON"), NAMES)


def test_a_broken_line_of_json_lines_is_one_row(lines: Any) -> None:
    """The others count."""
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
    """What Linear Learner answers, bare arrays, a line each. Another object is kept, and is no number."""
    assert read_call(captured("1,2,a", text, "text/csv", "CSV", kind), NAMES).predictions == predictions


def captured(text: str, output: str, kind: str, encoding: str, output_kind: str = "text/csv") -> str:
    """Return a line with content types of one's own."""
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
