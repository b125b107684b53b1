"""Capture and ground truth files: SageMaker's shapes, names and keys."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from mlops_runtime.contracts import ContractError, from_dict, from_json, to_dict
from mlops_runtime.contracts.capture import (
    CapturedCall,
    CaptureRecord,
    EventMetadata,
    GroundTruthData,
    GroundTruthRecord,
    capture_key,
    ground_truth_key,
)

AT = datetime(2017, 8, 1, 9, 59, 59, tzinfo=UTC)


def test_sagemakers_capture_line_is_read() -> None:
    """The line has SageMaker's names; the call without an inference id is joined by its event id.

    See: https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-data-capture-endpoint.html
    """
    line = (
        '{"captureData":{"endpointInput":{"observedContentType":"text/csv","mode":"INPUT","data":"132,25,113.2","encoding":"CSV"},'
        '"endpointOutput":{"observedContentType":"text/csv; charset=utf-8","mode":"OUTPUT","data":"0.011","encoding":"CSV"}},'
        '"eventMetadata":{"eventId":"75e5d2f1","inferenceTime":"2019-11-15T22:05:36Z"},"eventVersion":"0"}'
    )

    record = from_json(CaptureRecord, line)

    assert record.capture.input is not None
    assert record.capture.output is not None
    assert (record.capture.input.data, record.capture.input.mode) == ("132,25,113.2", "INPUT")
    assert (record.capture.output.content_type, record.capture.output.data) == ("text/csv; charset=utf-8", "0.011")
    assert record.event == EventMetadata(event_id="75e5d2f1", inference_time="2019-11-15T22:05:36Z")
    assert record.event.join_key == "75e5d2f1"


def test_a_call_may_have_one_side() -> None:
    """Capture options may omit input or output; an absent side is not written as null."""
    record = CaptureRecord(capture=CapturedCall(), event=EventMetadata(event_id="e"))

    assert to_dict(record) == {"captureData": {}, "eventMetadata": {"eventId": "e"}, "eventVersion": "0"}
    assert from_dict(CaptureRecord, to_dict(record)) == record


def test_the_callers_id_goes_before_sagemakers() -> None:
    """Also an empty one, because it was given."""
    assert EventMetadata(event_id="e", inference_id="call-1").join_key == "call-1"
    assert EventMetadata(event_id="e", inference_id="").join_key == ""


def test_ground_truth_is_written_in_model_monitors_shape() -> None:
    """The shape that Model Monitor merges.

    See: https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-model-quality-merge.html
    """
    record = GroundTruthRecord(truth=GroundTruthData(data="1"), event=EventMetadata(event_id="aaaa-bbbb-cccc"))

    assert to_dict(record) == {
        "groundTruthData": {"data": "1", "encoding": "CSV"},
        "eventMetadata": {"eventId": "aaaa-bbbb-cccc"},
        "eventVersion": "0",
    }


def test_keys_are_cut_by_hour() -> None:
    """The last second of an hour is in that hour, with two digits everywhere."""
    assert (
        capture_key("capture", "demand-forecast", "AllTraffic", AT, "f")
        == "capture/demand-forecast/AllTraffic/2017/08/01/09/f.jsonl"
    )
    assert ground_truth_key("labels", "demand-forecast", AT, "f") == "labels/demand-forecast/2017/08/01/09/f.jsonl"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"captureData": ...}, "$.captureData is missing"),
        ({"eventMetadata.eventId": ...}, "$.eventMetadata.eventId is missing"),
        ({"eventMetadata.inferenceId": 7}, "$.eventMetadata.inferenceId must be a string, got 7"),
        ({"captureData.endpointInput": []}, "$.captureData.endpointInput must be an object, got []"),
        (
            {"captureData.endpointInput.observedContentType": ...},
            "$.captureData.endpointInput.observedContentType is missing",
        ),
        (
            {"captureData.endpointOutput.encoding": "XML"},
            "$.captureData.endpointOutput.encoding must be one of 'CSV', 'JSON', 'BASE64', got 'XML'",
        ),
        (
            {"captureData.endpointOutput.mode": "output"},
            "$.captureData.endpointOutput.mode must be one of 'INPUT', 'OUTPUT', got 'output'",
        ),
        ({"captureData.endpointInput.data": [1.5]}, "$.captureData.endpointInput.data must be a string, got [1.5]"),
    ],
)
def test_fails_on_a_line_that_is_no_capture(
    changes: dict[str, Any], message: str, example: Callable[..., Any], refusal: Callable[..., str]
) -> None:
    """The path has the names of the file."""
    assert refusal(CaptureRecord, example("CaptureRecord", **changes)) == f"not a valid CaptureRecord: {message}"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"groundTruthData.data": 13}, "$.groundTruthData.data must be a string, got 13"),
        ({"groundTruthData.encoding": "JSON"}, "$.groundTruthData.encoding must be one of 'CSV', got 'JSON'"),
        ({"eventMetadata": ...}, "$.eventMetadata is missing"),
    ],
)
def test_fails_on_a_label_that_is_none(
    changes: dict[str, Any], message: str, example: Callable[..., Any], refusal: Callable[..., str]
) -> None:
    """A label is text in CSV, with the id of its call."""
    assert message in refusal(GroundTruthRecord, example("GroundTruthRecord", **changes))


def test_fails_when_a_capture_line_is_read_as_a_label(example: Callable[..., Any]) -> None:
    """Both files are in neighbouring locations and never confused."""
    with pytest.raises(ContractError, match=r"groundTruthData is missing"):
        from_dict(GroundTruthRecord, example("CaptureRecord"))


def test_keys_are_of_the_utc_hour() -> None:
    """A time in another zone has the hour that SageMaker would use."""
    at = datetime(2017, 8, 1, 1, 30, tzinfo=timezone(timedelta(hours=2)))

    assert capture_key("capture", "e", "v", at, "a") == "capture/e/v/2017/07/31/23/a.jsonl"
    assert ground_truth_key("labels", "e", at, "a") == "labels/e/2017/07/31/23/a.jsonl"
