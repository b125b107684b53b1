"""The function that decides over a window, with everything around it in process (moto)."""

import importlib.util
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pytest
from moto import mock_aws

from mlops_runtime.contracts import canonical_json, from_dict, from_json, to_dict
from mlops_runtime.contracts.capture import capture_key, ground_truth_key
from mlops_runtime.contracts.events import EventDetail
from mlops_runtime.contracts.monitor import Baseline, MonitorReport, MonitorState, Violations
from mlops_runtime.contracts.rollout import LivePointer
from mlops_runtime.monitor.baseline import number_baseline
from mlops_runtime.monitor.counts import count
from mlops_runtime.monitor.spec import MonitorSpec

HANDLER = Path(__file__).parents[2] / "lambdas" / "monitor_decide" / "handler.py"
NOW = datetime(2017, 8, 14, 0, 2, tzinfo=UTC)
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
    baseline_uri="s3://artifacts/baseline.json", evaluation_uri="s3://e", training_set_id="set-1", spec_sha256="x",
    spec_uri="s3://x", execution="arn:e", since="2017-08-07T00:10:00Z",
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
    """The function and what it works on."""

    def __init__(self) -> None:
        """Make buckets, table, bus and a queue that hears the bus, then load the function as Lambda does."""
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
        spec = importlib.util.spec_from_file_location("monitor_decide_handler", HANDLER)
        assert spec is not None
        assert spec.loader is not None
        self.module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self.module)

    def deploy(self, live: LivePointer = LIVE) -> None:
        """Write the live pointer as the Deploy machine does."""
        self._put_live({"endpoint": {"S": "demand-forecast"}, "live": {"S": canonical_json(live).decode()}})

    def traffic(self, values: np.ndarray, *, error: float = 0.0, counted: bool = True, labelled: bool = True) -> None:
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
            metadata = {"eventId": f"e{number}", "inferenceId": f"w-{number}", "inferenceTime": CALLED.isoformat()}
            lines.append(json.dumps({"captureData": data, "eventMetadata": metadata}))
            truth = {"data": "\n".join(map(str, part)), "encoding": "CSV"}
            labels.append(
                json.dumps({"groundTruthData": truth, "eventMetadata": {"eventId": f"w-{number}"}, "eventVersion": "0"})
            )
        for file, chosen in (("a", lines[::2]), ("b", lines[1::2])):
            key = capture_key("capture", "demand-forecast", "AllTraffic", CALLED, file)
            self.s3.put_object(Bucket="captures", Key=key, Body="\n".join(chosen).encode())
            if counted:
                target = f"monitor/demand-forecast/counts/AllTraffic/{CALLED:%Y/%m/%d/%H}/{file}.json"
                self.s3.put_object(Bucket="artifacts", Key=target, Body=canonical_json(count(chosen, BASELINE)))
        if labelled:
            key = ground_truth_key("labels", "demand-forecast", LABELLED, "l")
            self.s3.put_object(Bucket="captures", Key=key, Body="\n".join(labels).encode())

    def run(self) -> MonitorReport:
        """Deliver the schedule's event; check that the written report is the returned one."""
        returned = self.module.handler({"time": "2017-08-14T00:02:00Z"}, None)
        report = from_json(MonitorReport, self.read("report.json"))
        assert from_dict(MonitorReport, returned) == report
        return report

    def read(self, name: str) -> bytes:
        """Return one of the run's files."""
        key = f"monitor/demand-forecast/reports/2017-08-14T00/{name}"
        return bytes(self.s3.get_object(Bucket="artifacts", Key=key)["Body"].read())

    def metrics(self) -> dict[str, float]:
        """Return what was published, as ``monitor/name``."""
        found = {}
        for metric in self.cloudwatch.list_metrics(Namespace="MLOps/demand")["Metrics"]:
            monitor = next(d["Value"] for d in metric["Dimensions"] if d["Name"] == "Monitor")
            points = self.cloudwatch.get_metric_statistics(
                Namespace="MLOps/demand",
                MetricName=metric["MetricName"],
                Dimensions=metric["Dimensions"],
                StartTime=datetime(2017, 8, 13, tzinfo=UTC),
                EndTime=datetime(2017, 8, 15, tzinfo=UTC),
                Period=86400,
                Statistics=["Sum"],
            )["Datapoints"]
            found[f"{monitor}/{metric['MetricName']}"] = sum(point["Sum"] for point in points)
        return found

    def heard(self) -> list[dict[str, Any]]:
        """Return the events on the unit's bus."""
        messages = self.sqs.receive_message(QueueUrl=self.queue, MaxNumberOfMessages=10).get("Messages", [])
        return [json.loads(message["Body"]) for message in messages]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Everything in process."""
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        yield World()


def like_training(rows: int, shift: float = 0.0) -> np.ndarray:
    """Return rows as in training, moved by ``shift`` standard deviations."""
    return np.random.default_rng(5).normal(10 + 2 * shift, 2, rows).round(4)


def test_a_window_like_the_training_data_is_ok(world: World) -> None:
    """No drift, errors like on the holdout: OK, with all files, metrics and the event."""
    world.deploy()
    world.traffic(like_training(1000), error=0.1)
    report = world.run()
    assert (report.drift_state, report.quality_state) == (MonitorState.OK, MonitorState.OK)
    assert (report.rows, report.labelled_rows, report.window_until) == (1000, 1000, "2017-08-14T00:00:00Z")
    assert report.quality["wape"] == pytest.approx(0.01, rel=0.02)
    assert [(f.name, f.drifted) for f in report.features] == [("price", False), ("prediction", False)]
    assert from_json(Violations, world.read("constraint_violations.json")).violations == ()
    assert json.loads(world.read("statistics.json"))["dataset"] == {"item_count": 1000}
    metrics = world.metrics()
    assert (metrics["heartbeat/Heartbeat"], metrics["drift/FeaturesDrifted"], metrics["drift/SampleCount"]) == (
        1,
        0,
        1000,
    )
    assert metrics["quality/WapeRatio"] == pytest.approx(0.1, rel=0.02)
    [event] = world.heard()
    detail = from_dict(EventDetail, event["detail"])
    assert (event["detail-type"], detail.subject, detail.outcome) == ("MLOps Monitor Reported", "demand-forecast", "OK")
    assert detail.attributes["report_uri"] == "s3://artifacts/monitor/demand-forecast/reports/2017-08-14T00/report.json"


def test_a_moved_window_is_a_violation(world: World) -> None:
    """Half a standard deviation: drift of feature and prediction, in Model Monitor's words too."""
    world.deploy()
    world.traffic(like_training(1000, shift=0.5), error=2.0)
    report = world.run()
    assert (report.drift_state, report.quality_state) == (MonitorState.VIOLATION, MonitorState.VIOLATION)
    assert [f.name for f in report.features if f.drifted] == ["price", "prediction"]
    assert report.features[0].mean_shift == pytest.approx(0.5, abs=0.1)
    found = from_json(Violations, world.read("constraint_violations.json")).violations
    assert [(v.feature_name, v.constraint_check_type) for v in found] == [
        ("price", "baseline_drift_check"),
        ("prediction", "baseline_drift_check"),
    ]
    assert world.metrics()["drift/FeaturesDrifted"] == 2
    assert world.heard()[0]["detail"]["outcome"] == "VIOLATION"


def test_a_run_that_is_repeated_says_the_same(world: World) -> None:
    """The schedule delivers at least once: same files, same event id."""
    world.deploy()
    world.traffic(like_training(1000))
    assert world.run() == world.run()
    assert len({event["detail"]["id"] for event in world.heard()}) == 1


def test_nothing_serves_yet(world: World) -> None:
    """Before the first rollout there is a heartbeat and a state, no result."""
    report = world.run()
    assert (report.drift_state, report.quality_state) == (MonitorState.NOT_YET_DEPLOYED,) * 2
    assert set(world.metrics()) == {"heartbeat/Heartbeat", "drift/SampleCount", "quality/SampleCount"}


def test_silence_is_told_apart(world: World) -> None:
    """No traffic, traffic that was not captured, captures that were not counted."""
    world.deploy()
    assert world.run().drift_state is MonitorState.NO_TRAFFIC
    dimensions = [{"Name": "EndpointName", "Value": "demand-forecast"}, {"Name": "VariantName", "Value": "AllTraffic"}]
    datum = {"MetricName": "Invocations", "Dimensions": dimensions, "Timestamp": CALLED, "Value": 3.0}
    world.cloudwatch.put_metric_data(Namespace="AWS/SageMaker", MetricData=[datum])
    assert world.run().drift_state is MonitorState.NO_CAPTURE
    world.traffic(like_training(300), counted=False, labelled=False)
    report = world.run()
    assert (report.drift_state, report.quality_state) == (MonitorState.MONITOR_NOT_RUN, MonitorState.NO_LABELS_YET)


def test_synthetic_calls_alone_are_no_traffic(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """CloudWatch counts them, captures show that capture works, and nobody's rows are among them."""
    world.deploy()
    side = {"observedContentType": "text/csv", "mode": "INPUT", "data": "1", "encoding": "CSV"}
    metadata = {"eventId": "e", "inferenceId": "mlops-synthetic-1-29174fbf3e2370f6"}
    line = json.dumps({"captureData": {"endpointInput": side}, "eventMetadata": metadata})
    key = f"AllTraffic/{CALLED:%Y/%m/%d/%H}/a"
    world.s3.put_object(Bucket="captures", Key=f"capture/demand-forecast/{key}.jsonl", Body=line.encode())
    counts = canonical_json(count([line], BASELINE))
    world.s3.put_object(Bucket="artifacts", Key=f"monitor/demand-forecast/counts/{key}.json", Body=counts)
    dimensions = [{"Name": "EndpointName", "Value": "demand-forecast"}, {"Name": "VariantName", "Value": "AllTraffic"}]
    datum = {"MetricName": "Invocations", "Dimensions": dimensions, "Timestamp": CALLED, "Value": 3.0}
    world.cloudwatch.put_metric_data(Namespace="AWS/SageMaker", MetricData=[datum])
    with caplog.at_level("INFO", logger="mlops.monitor"):
        assert world.run().drift_state is MonitorState.NO_TRAFFIC
    assert '"synthetic": 1}' in caplog.text


def test_too_few_rows_decide_nothing(world: World) -> None:
    """A window of 100 rows says so."""
    world.deploy()
    world.traffic(like_training(100), labelled=False)
    report = world.run()
    assert (report.drift_state, report.rows, report.features) == (MonitorState.INSUFFICIENT_DATA, 100, ())


def test_a_new_model_starts_anew(world: World) -> None:
    """Counts against an earlier model's baseline, and errors of its predictions, are not the new model's."""
    newer = replace(BASELINE, training_set_id="set-2")
    world.s3.put_object(Bucket="artifacts", Key="newer.json", Body=canonical_json(newer))
    live = replace(
        LIVE, baseline_uri="s3://artifacts/newer.json", training_set_id="set-2", since="2017-08-13T00:00:00Z"
    )
    world.traffic(like_training(1000, shift=1), error=5.0)
    world.deploy(live)
    report = world.run()
    assert (report.rows, report.labelled_rows) == (0, 0)
    assert (report.drift_state, report.quality_state) == (MonitorState.NO_TRAFFIC, MonitorState.NO_LABELS_YET)


def test_a_baseline_of_another_training_set_is_named(world: World) -> None:
    """Comparing with it would mean nothing."""
    world.deploy(replace(LIVE, training_set_id="set-2"))
    world.traffic(like_training(1000))
    assert world.run().drift_state is MonitorState.BASELINE_OLDER_THAN_MODEL
