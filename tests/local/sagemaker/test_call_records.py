"""Metrics and data capture of endpoints by boto3."""

import base64
import json
import time
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from mlops_local.sagemaker.call_records import encoding
from mlops_runtime.contracts import from_json
from mlops_runtime.contracts.capture import CaptureRecord

if TYPE_CHECKING:
    from conftest import Plane


BUCKET = "plane"


def test_metrics_count_what_was_invoked(plane: "Plane") -> None:
    """Every invocation is in AWS/SageMaker by endpoint and variant, in its minute of the embedded clock."""
    plane.config(plane.model("measured"))
    plane.endpoint("measured", "measured")
    before = datetime.fromisoformat(plane.cloud.clock()["now"])
    for status in (200, 200, 400, 500):
        try:
            plane.invoke("measured", {"status": status})
        except ClientError as error:
            assert error.response["Error"]["Code"] == "ModelError"

    def total(name: str, statistic: str = "Sum", config: str | None = None) -> float:
        dimensions = {"EndpointName": "measured", "VariantName": "AllTraffic"}
        if config is not None:
            dimensions["EndpointConfigName"] = config
        points = plane.cloudwatch.get_metric_statistics(
            Namespace="AWS/SageMaker",
            MetricName=name,
            Dimensions=[{"Name": key, "Value": value} for key, value in dimensions.items()],
            StartTime=before - timedelta(minutes=2),
            EndTime=before + timedelta(hours=3),
            Period=60,
            Statistics=[statistic],
        )["Datapoints"]
        return sum(point[statistic] for point in points)

    plane.wait(lambda: total("Invocations") == 4, "the metrics")
    names = ("Invocation4XXErrors", "Invocation5XXErrors", "InvocationModelErrors")
    assert [total(name) for name in names] == [1, 1, 2]
    assert total("Invocation5XXErrors", "SampleCount") == 4
    assert 0 < total("ModelLatency") < 4 * 5e6
    assert total("OverheadLatency") > 0
    assert total("Invocations", config="measured") == 0

    plane.sagemaker.update_endpoint(EndpointName="measured", EndpointConfigName="measured")
    plane.settled("measured")
    plane.invoke("measured")
    plane.wait(lambda: total("Invocations", config="measured") == 1, "the metric by fleet")


def _capture(percent: int = 100, mode: str = "InputAndOutput") -> dict[str, Any]:
    return {
        "EnableCapture": True,
        "InitialSamplingPercentage": percent,
        "DestinationS3Uri": f"s3://{BUCKET}/capture",
        "CaptureOptions": [{"CaptureMode": mode}],
        "CaptureContentTypeHeader": {"CsvContentTypes": ["text/csv"], "JsonContentTypes": ["application/json"]},
    }


def _lines(plane: "Plane", endpoint: str, count: int) -> list[tuple[str, CaptureRecord]]:
    def read() -> Any:
        prefix = f"capture/{endpoint}/"
        keys = [item["Key"] for item in plane.s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])]
        bodies = ((key, plane.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()) for key in keys)
        lines = [(key, from_json(CaptureRecord, line)) for key, body in bodies for line in body.splitlines()]
        return lines if len(lines) >= count else None

    found: list[tuple[str, CaptureRecord]] = plane.wait(read, f"{count} captured calls")
    return found


def test_calls_are_captured(plane: "Plane") -> None:
    """Each call is one line in the documented location and format, within seconds, with the caller's inference id."""
    plane.config(plane.model("captured"), **_capture())
    plane.endpoint("captured", "captured")
    described = plane.sagemaker.describe_endpoint(EndpointName="captured")
    assert described["DataCaptureConfig"]["CaptureStatus"] == "Started"
    began = datetime.fromisoformat(plane.cloud.clock()["now"])
    plane.invoke("captured", {"a": 1}, InferenceId="row-1")
    plane.runtime.invoke_endpoint(EndpointName="captured", ContentType="text/csv", Body=b"a,b\n")
    lines = _lines(plane, "captured", 2)
    by_type = {record.capture.input.content_type: (key, record) for key, record in lines if record.capture.input}
    key, record = by_type["application/json"]
    assert record.event.inference_id == record.event.join_key == "row-1"
    assert record.capture.input is not None
    assert json.loads(record.capture.input.data) == {"a": 1}
    assert record.capture.input.encoding == "JSON"
    at = datetime.fromisoformat(str(record.event.inference_time))
    assert began - timedelta(seconds=1) <= at <= began + timedelta(hours=1)
    assert key.startswith(f"capture/captured/AllTraffic/{at:%Y/%m/%d/%H}/")
    assert key.endswith(".jsonl")
    _, record = by_type["text/csv"]
    assert record.capture.output is not None
    assert (record.capture.output.data, record.capture.output.encoding) == ("A,B\n", "CSV")
    assert record.capture.output.content_type == "text/csv; charset=utf-8"
    assert record.event.inference_id is None


def test_a_share_of_the_input_is_captured(plane: "Plane") -> None:
    """Sampling uses its percentage; mode Input captures no output; failed calls are not captured."""
    plane.config(plane.model("sampled"), **_capture(40, "Input"))
    plane.endpoint("sampled", "sampled")
    for _ in range(100):
        plane.invoke("sampled")
    lines = _lines(plane, "sampled", 20)
    time.sleep(0.8)  # one more delivery
    lines = _lines(plane, "sampled", len(lines))
    assert 16 <= len(lines) <= 64  # 40 expected, nearly five standard deviations
    assert all(record.capture.output is None and record.capture.input is not None for _, record in lines)


def test_unlisted_content_types_are_base64(plane: "Plane") -> None:
    """Without a CaptureContentTypeHeader everything is base64."""
    config = _capture()
    del config["CaptureContentTypeHeader"]
    plane.config(plane.model("encoded"), **config)
    plane.endpoint("encoded", "encoded")
    plane.invoke("encoded", {"a": 1})
    ((_, record),) = _lines(plane, "encoded", 1)
    assert record.capture.input is not None
    assert record.capture.input.encoding == "BASE64"
    assert json.loads(base64.b64decode(record.capture.input.data)) == {"a": 1}


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [("text/csv", "CSV"), ("TEXT/CSV; header=present", "CSV"), ("application/json", "JSON"), ("image/png", "BASE64")],
)
def test_encoding_follows_the_listed_types(content_type: str, expected: str) -> None:
    """Parameters and case of a content type are ignored."""
    headers = {"CsvContentTypes": ["text/csv"], "JsonContentTypes": ["application/json"]}
    assert encoding(content_type, headers) == expected
