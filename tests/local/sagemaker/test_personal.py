"""A canary value in a personal field is found nowhere in the cloud: not in captures, logs, tables, or monitor results."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_runtime.contracts import canonical_json
from mlops_runtime.contracts.monitor import Baseline, FeatureBaseline
from mlops_runtime.contracts.serving import PersonalSpec
from mlops_runtime.contracts.unit_entries import EndpointEntry
from mlops_runtime.monitor.counting.counts import count
from mlops_runtime.serving.endpoint_client import EndpointClient

if TYPE_CHECKING:
    from conftest import Plane

BUCKET = "plane"
CANARY, PLAIN = "canary-Ann-Example-1970", "plain-as-day-4711"


def _objects(plane: "Plane") -> Iterator[bytes]:
    for bucket in plane.s3.list_buckets()["Buckets"]:
        for page in plane.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket["Name"]):
            for entry in page.get("Contents", []):
                yield plane.s3.get_object(Bucket=bucket["Name"], Key=entry["Key"])["Body"].read()


def _logs(plane: "Plane") -> Iterator[bytes]:
    for page in plane.logs.get_paginator("describe_log_groups").paginate():
        for group in page["logGroups"]:
            events = plane.logs.get_paginator("filter_log_events").paginate(logGroupName=group["logGroupName"])
            yield from (event["message"].encode() for found in events for event in found["events"])


def _rows(plane: "Plane") -> Iterator[bytes]:
    tables = plane.cloud.client("dynamodb")
    for name in tables.list_tables()["TableNames"]:
        yield json.dumps(tables.scan(TableName=name)["Items"], default=str).encode()


def _files(plane: "Plane") -> Iterator[bytes]:
    home: Path = plane.cloud.log_path.parent
    yield from (path.read_bytes() for path in home.rglob("*") if path.is_file() and not path.is_symlink())


def _found(plane: "Plane", text: str) -> list[str]:
    """Return where a string is found."""
    places = {"objects": _objects, "logs": _logs, "rows": _rows, "files": _files}
    return [name for name, read in places.items() if any(text.encode() in content for content in read(plane))]


def test_a_canary_in_personal_fields_is_found_nowhere(plane: "Plane") -> None:
    """The same search finds a field that is not personal in the captures."""
    key = plane.cloud.client("secretsmanager").create_secret(Name="hash", SecretString="k" * 64)["ARN"]
    entry = EndpointEntry(
        endpoint="personal",
        unit="crm",
        group="crm-churn",
        rollout_table="t",
        deploy_machine="m",
        target="sagemaker",
        is_monitored=False,
        personal=PersonalSpec(hashed=("household",), withheld=("email",), secret_arn=key),
    )
    capture = {
        "EnableCapture": True,
        "InitialSamplingPercentage": 100,
        "DestinationS3Uri": f"s3://{BUCKET}/capture",
        "CaptureOptions": [{"CaptureMode": "InputAndOutput"}],
        "CaptureContentTypeHeader": {"JsonContentTypes": ["application/json"]},
    }
    plane.config(plane.model("personal"), **capture)
    plane.endpoint("personal", "personal")
    row = {"household": CANARY, "email": CANARY, "store": PLAIN}
    EndpointClient(entry, client=plane.cloud.client).send(
        json.dumps({"instances": [row]}).encode(), "application/json", inference_id="canary-call"
    )

    def captured() -> list[bytes]:
        keys = plane.s3.list_objects_v2(Bucket=BUCKET, Prefix="capture/personal/").get("Contents", [])
        return [plane.s3.get_object(Bucket=BUCKET, Key=entry["Key"])["Body"].read() for entry in keys]

    (body,) = plane.wait(captured, "the capture")
    levels = FeatureBaseline(name="household", type="category", counts=(5, 5, 0, 0), levels=("a", "b"))
    baseline = Baseline(
        features=(levels, FeatureBaseline(name="store", type="category", counts=(5, 5, 0), levels=("s",))),
        rows=10,
        training_set_id="t",
        created="2026-01-01T00:00:00Z",
    )
    counts = canonical_json(count(body.splitlines(), baseline))

    assert CANARY.encode() not in counts
    assert "objects" in _found(plane, PLAIN)
    assert _found(plane, CANARY) == []
