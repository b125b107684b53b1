"""The monitor's deciding function with its AWS resources in this process (moto)."""

import json
from datetime import UTC, datetime
from typing import Any

import boto3
import numpy as np
import pytest
from tests.loaded_module import load_handler

from mlops_local import embedded_metrics
from mlops_runtime.contracts import canonical_json, content_hash, from_dict, from_json, to_dict
from mlops_runtime.contracts.capture import capture_key, ground_truth_key
from mlops_runtime.contracts.monitor import Baseline
from mlops_runtime.contracts.monitor_report import MonitorReport
from mlops_runtime.contracts.rollout import LivePointer
from mlops_runtime.monitor.counting.baseline import number_baseline
from mlops_runtime.monitor.counting.counts import count
from mlops_runtime.monitor.spec import MonitorSpec

NOW = datetime(2017, 8, 14, 0, 15, tzinfo=UTC)
CALLED = datetime(2017, 8, 7, 0, 30, tzinfo=UTC)
LABELLED = datetime(2017, 8, 13, 18, tzinfo=UTC)
TRAINED = np.random.default_rng(1).normal(10, 2, 5000).astype(np.float32)
BASELINE = Baseline(
    features=(number_baseline("price", TRAINED),),
    rows=5000,
    training_set_id="set-1",
    created="2017-08-01T00:00:00Z",
    prediction=number_baseline("prediction", TRAINED),
    quality={"wape": 0.1, "bias": 0.0},
)
LIVE = LivePointer(
    endpoint="demand-forecast", config="c", model="m", model_package_arn="arn:p/1", model_sha256="s", artifact_uri="s3://a",
    baseline_uri="s3://artifacts/baseline.json", baseline_sha256=content_hash(BASELINE), evaluation_uri="s3://e",
    training_set_id="set-1", spec_sha256="x", spec_uri="s3://x", execution="arn:e", since="2017-08-07T00:10:00Z",
    artifact_sha256="a" * 64, container_sha256="c" * 64,
)  # fmt: skip
SETTINGS = {
    "ENDPOINT": "demand-forecast",
    "VARIANT": "AllTraffic",
    "UNIT": "demand",
    "ROLLOUT_TABLE": "rollout",
    "ARTIFACTS_BUCKET": "artifacts",
    "CAPTURE_BUCKET": "captures",
    "EVENT_BUS": "demand-bus",
    "WINDOW_HOURS": "168",
    "MONITOR": json.dumps(to_dict(MonitorSpec(alarm_features=("price",)))),
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "x",
    "AWS_SECRET_ACCESS_KEY": "x",
}


class World:
    """The function and its resources."""

    def __init__(self, capture: pytest.CaptureFixture[str]) -> None:
        """Create buckets, table, bus and a queue subscribed to the bus, then load the function as Lambda does."""
        self.capture, self.printed = capture, ""
        self.s3, self.cloudwatch, self.sqs = boto3.client("s3"), boto3.client("cloudwatch"), boto3.client("sqs")
        dynamodb, events = boto3.client("dynamodb"), boto3.client("events")
        for bucket in ("artifacts", "captures"):
            self.s3.create_bucket(Bucket=bucket)
        dynamodb.create_table(
            TableName="rollout",
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": "endpoint", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "endpoint", "KeyType": "HASH"}],
        )
        self._put_live = lambda row: dynamodb.put_item(TableName="rollout", Item=row)
        self.s3.put_object(Bucket="artifacts", Key="baseline.json", Body=canonical_json(BASELINE))
        self.queue = self.sqs.create_queue(QueueName="heard")["QueueUrl"]
        arn = self.sqs.get_queue_attributes(QueueUrl=self.queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        events.create_event_bus(Name="demand-bus")
        events.put_rule(Name="all", EventBusName="demand-bus", EventPattern=json.dumps({"source": ["mlops.demand"]}))
        events.put_targets(Rule="all", EventBusName="demand-bus", Targets=[{"Id": "q", "Arn": arn}])
        self.module = load_handler("monitor_decide")

    def deploy(self, live: LivePointer = LIVE, **row: Any) -> None:
        """Write the live pointer as the Deploy machine does, and further attributes of the row."""
        self._put_live({"endpoint": {"S": "demand-forecast"}, "live": {"S": canonical_json(live).decode()}, **row})

    def traffic(
        self,
        values: np.ndarray,
        *,
        error: float = 0.0,
        counted: bool = True,
        labelled: bool = True,
        at: datetime = CALLED,
    ) -> None:
        """Capture calls of 50 rows whose prediction is the value plus ``error``, count them, upload their labels."""
        lines, labels = [], []
        for number, part in enumerate(np.array_split(values, len(values) // 50)):
            sides = (
                ("endpointInput", "INPUT", "\n".join(map(str, part))),
                ("endpointOutput", "OUTPUT", "\n".join(str(value + error) for value in part)),
            )
            data = {
                name: {"observedContentType": "text/csv", "mode": mode, "data": text, "encoding": "CSV"}
                for name, mode, text in sides
            }
            metadata = {"eventId": f"e{number}", "inferenceId": f"w-{number}", "inferenceTime": at.isoformat()}
            lines.append(json.dumps({"captureData": data, "eventMetadata": metadata}))
            truth = {"data": "\n".join(map(str, part)), "encoding": "CSV"}
            labels.append(
                json.dumps({"groundTruthData": truth, "eventMetadata": {"eventId": f"w-{number}"}, "eventVersion": "0"})
            )
        for file, chosen in (("a", lines[::2]), ("b", lines[1::2])):
            key = capture_key("capture", "demand-forecast", "AllTraffic", at, file)
            self.s3.put_object(Bucket="captures", Key=key, Body="\n".join(chosen).encode())
            if counted:
                target = f"monitor/demand-forecast/counts/AllTraffic/{at:%Y/%m/%d/%H}/{file}.json"
                self.s3.put_object(Bucket="artifacts", Key=target, Body=canonical_json(count(chosen, BASELINE)))
        if labelled:
            key = ground_truth_key("labels", "demand-forecast", LABELLED, "l")
            self.s3.put_object(Bucket="captures", Key=key, Body="\n".join(labels).encode())

    def run(self, time: str = "2017-08-14T00:15:00Z") -> MonitorReport:
        """Deliver the schedule's event; assert that the written report equals the returned one."""
        self.capture.readouterr()
        returned = self.module.handler({"time": time}, None)
        self.printed = self.capture.readouterr().out
        report = from_json(MonitorReport, self.read("report.json", time))
        assert from_dict(MonitorReport, returned) == report
        return report

    def read(self, name: str, time: str = "2017-08-14T00:15:00Z") -> bytes:
        """Return one of the run's files."""
        key = f"monitor/demand-forecast/reports/{time[:13]}/{name}"
        return bytes(self.s3.get_object(Bucket="artifacts", Key=key)["Body"].read())

    def metrics(self) -> dict[str, float]:
        """Return the metrics of the last run as ``monitor/name``, as CloudWatch extracts them from its log."""
        found = {}
        for line in self.printed.splitlines():
            for datum in embedded_metrics.read(line):
                assert datum.namespace == "MLOps/demand"
                assert (datum.dimensions["Endpoint"], datum.dimensions["Variant"]) == ("demand-forecast", "AllTraffic")
                assert datum.at == NOW.timestamp()
                feature = f"/{datum.dimensions['Feature']}" if "Feature" in datum.dimensions else ""
                [found[f"{datum.dimensions['Monitor']}/{datum.name}{feature}"]] = datum.values
        return found

    def received_events(self) -> list[dict[str, Any]]:
        """Return the events on the unit's bus."""
        messages = self.sqs.receive_message(QueueUrl=self.queue, MaxNumberOfMessages=10).get("Messages", [])
        return [json.loads(message["Body"]) for message in messages]


def like_training(rows: int, shift: float = 0.0) -> np.ndarray:
    """Return rows as in training, shifted by ``shift`` standard deviations."""
    return np.random.default_rng(5).normal(10 + 2 * shift, 2, rows).round(4)
