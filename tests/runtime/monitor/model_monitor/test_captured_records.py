"""Rows of captured and merged records in any payload format."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_runtime.monitor.model_monitor.captured_records import RecordError, read_record, rows_of, value_of

NAMES = ["prediction", "price", "store"]


def _line(data: str, output: str | None, encoding: str = "CSV", **more: Any) -> str:
    def side(mode: str, text: str) -> dict[str, str]:
        kind = {"CSV": "text/csv", "JSON": "application/json", "BASE64": "text/html"}[encoding]
        return {"observedContentType": kind, "mode": mode, "data": text, "encoding": encoding}

    captured = {"endpointInput": side("INPUT", data)}
    if output is not None:
        captured["endpointOutput"] = side("OUTPUT", output)
    return json.dumps({"captureData": captured, "eventMetadata": {"eventId": "e"}, "eventVersion": "0", **more})


@pytest.mark.parametrize(
    "line",
    [
        _line("2,north\n3,south\n", "7.5\n8\n"),
        _line(base64.b64encode(b"2,north\n3,south").decode(), base64.b64encode(b"7.5\n8").decode(), "BASE64"),
    ],
)
def test_csv_is_read_by_position_the_output_first(line: str) -> None:
    """Reads CSV by position with the output first, like AWS's container."""
    assert rows_of(read_record(line), NAMES) == [
        {"prediction": "7.5", "price": "2", "store": "north"},
        {"prediction": "8", "price": "3", "store": "south"},
    ]


@pytest.mark.parametrize(
    ("data", "output"),
    [
        ('{"instances": [{"price": 2, "store": "north"}]}', '{"predictions": [7.5]}'),
        ('{"instances": [[2, "north"]]}', '{"predictions": [7.5]}'),
        ('{"store": "north", "price": 2}', '{"prediction": 7.5}'),
        ('{"store": "north", "price": 2}\n', "7.5"),
        ('[{"store": "north", "price": 2}]', "[7.5]"),
    ],
)
def test_json_is_read_by_name_where_it_has_names(data: str, output: str) -> None:
    """Reads JSON by name; an unnamed prediction gets the baseline's first name that the input lacks."""
    assert rows_of(read_record(_line(data, output, "JSON")), NAMES) == [
        {"prediction": 7.5, "price": 2, "store": "north"}
    ]


def test_what_is_beyond_the_baseline_has_a_name_too() -> None:
    """Columns beyond the baseline get a name, so that they are noticed."""
    assert rows_of(read_record(_line("2,north,x", "7")), NAMES)[0]["_c3"] == "x"


def test_one_side_can_be_looked_at_alone() -> None:
    """Reads one side alone, by ``captureIndexNames`` or the capture options."""
    record = read_record(_line("2,north", "7"))

    assert rows_of(record, ["price", "store"], ("endpointInput",)) == [{"price": "2", "store": "north"}]
    assert rows_of(read_record(_line("2,north", None)), ["price", "store"]) == [{"price": "2", "store": "north"}]


def test_rows_of_both_sides_must_agree() -> None:
    """Rejects different numbers of rows on both sides, where predictions cannot be matched."""
    with pytest.raises(RecordError, match="different numbers of rows"):
        rows_of(read_record(_line("2,north", "7\n8")), NAMES)


def test_labels_are_in_the_order_of_the_rows() -> None:
    """Labels of a merged record are in row order."""
    line = _line("2,a\n3,b", "7\n8", groundTruthData={"data": "1\n0\n", "encoding": "CSV"})

    assert read_record(line).labels == ["1", "0"]


def test_an_id_like_the_platforms_hides_nothing() -> None:
    """Reads records with the platform's synthetic ids like any other, as AWS's container does."""
    line = json.loads(_line("2,a", "7"))
    line["eventMetadata"]["inferenceId"] = "mlops-synthetic-1"

    record = read_record(json.dumps(line))
    assert (record.sides["endpointInput"], record.key) == ([["2", "a"]], "mlops-synthetic-1")


@pytest.mark.parametrize(
    "line", ["", "{", "[]", '{"captureData": {}}', '{"captureData": 1, "eventMetadata": {"eventId": "e"}}']
)
def test_what_is_no_record_is_told_the_same_way(line: str) -> None:
    """Every invalid record has the same error, so that lines can be counted by it."""
    with pytest.raises(RecordError, match=r"^line is not a capture record$"):
        read_record(line)


@pytest.mark.parametrize(("data", "encoding"), [("{", "JSON"), ("%", "BASE64"), ("/w==", "BASE64")])
def test_a_payload_that_cannot_be_read_names_its_side(data: str, encoding: str) -> None:
    """Errors for invalid JSON, BASE64 and UTF-8 name the side."""
    with pytest.raises(RecordError, match="endpointInput is neither CSV nor JSON"):
        read_record(_line(data, None, encoding))


@given(st.binary(max_size=40) | st.text(max_size=40))
def test_no_line_breaks_it(line: bytes | str) -> None:
    """Any line is a record or an error."""
    try:
        read_record(line)
    except RecordError:
        return


@pytest.mark.parametrize(
    ("row", "attribute", "value"),
    [(["a", "b"], "1", "b"), ({"score": 1}, "score", 1), (3, "0", 3), (["a"], "4", None), ({}, "x", None)],
)
def test_attributes_are_names_or_positions(row: Any, attribute: str, value: Any) -> None:
    """Attributes of an output row are names or positions."""
    assert value_of(row, attribute) == value
