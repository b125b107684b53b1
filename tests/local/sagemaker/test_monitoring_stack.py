"""A monitor with SageMaker Model Monitor as its engine, deployed with IAM enforced: from captures by executions to the report."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import aws_cdk as cdk
import numpy as np
import pytest
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_s3 as s3

from mlops_constructs import (
    BusinessUnit,
    ModelMonitor,
    MonitorEngine,
    Network,
    Profile,
    SageMakerModelMonitor,
)
from mlops_constructs._unit_resources import define_table
from mlops_local.stacks import deployer
from mlops_runtime.contracts import canonical_json, content_hash, from_dict
from mlops_runtime.contracts.monitor import Baseline, MonitorState
from mlops_runtime.contracts.monitor_report import MonitorReport
from mlops_runtime.contracts.rollout import LivePointer
from mlops_runtime.layers import layer_wheels
from mlops_runtime.monitor.counting.baseline import number_baseline
from mlops_runtime.monitor.spec import MonitorSpec

if TYPE_CHECKING:
    from conftest import Plane

ENDPOINT = "native-forecast"
TRAINED = np.random.default_rng(1).normal(10, 2, 5000).astype(np.float32)
SETTINGS = SageMakerModelMonitor(
    monitors=("data_quality", "model_quality"), problem_type="Regression", label_delay=cdk.Duration.hours(1)
)


@dataclass
class Served:
    """The monitor's endpoint."""

    business_unit: BusinessUnit
    rollout: Any
    capture_bucket: s3.IBucket
    endpoint_name: str = ENDPOINT
    variant: str = "AllTraffic"

    def metric_invocations(self) -> cloudwatch.Metric:
        """Return the number of calls."""
        dimensions = {"EndpointName": self.endpoint_name, "VariantName": self.variant}
        return cloudwatch.Metric(namespace="AWS/SageMaker", metric_name="Invocations", dimensions_map=dimensions)


def _assembly(folder: Path, *, monitored: bool, settings: SageMakerModelMonitor = SETTINGS) -> Path:
    app = cdk.App(outdir=str(folder / f"cdk.out.{monitored}.{settings.instance_type}"))
    stack = cdk.Stack(app, "Native")
    unit = BusinessUnit(
        stack, "Unit", name="native", profile=Profile.DEVELOPMENT, network=Network.create(availability_zones=2)
    )
    table = define_table(stack, "Table", business_unit=unit, partition_key="endpoint")
    outputs = {"Artifacts": unit.artifacts.bucket_name, "Table": table.table_name}
    if monitored:
        with pytest.MonkeyPatch.context() as patch:
            # in place of the layer's wheels, which the embedded cloud does not mount
            patch.setattr(layer_wheels, "ASSETS", folder / "assets")
            (layer_wheels.layer_folder("monitor", architecture="x86_64") / "python").mkdir(parents=True, exist_ok=True)
            monitor = ModelMonitor(
                stack,
                "Monitor",
                endpoint=Served(unit, SimpleNamespace(table=table, publish_monitor=lambda: None), unit.artifacts),
                window=cdk.Duration.days(1),
                interval=cdk.Duration.days(1),
                spec=MonitorSpec(alarm_windows=1, of_windows=1),
                engine=MonitorEngine.sagemaker_model_monitor(settings),
            )
        outputs["Decide"] = monitor.decide_function.function_name
    for name, value in outputs.items():
        cdk.CfnOutput(stack, f"{name}Output", value=value)
    return Path(app.synth().directory)


class Native:
    """The deployed stack."""

    def __init__(self, plane: "Plane", folder: Path) -> None:
        self.plane, self.folder = plane, folder

    def deploy(self, **options: Any) -> dict[str, str]:
        """Deploy it with or without the monitor; return its outputs."""
        outputs = deployer.deploy(self.plane.cloud, _assembly(self.folder, **options))["Native"]
        return {name.removesuffix("Output"): value for name, value in outputs.items()}

    @property
    def now(self) -> datetime:
        """The embedded time."""
        return datetime.fromtimestamp(self.plane.cloud.clock()["epoch"], UTC)

    def hour(self) -> datetime:
        """The embedded hour."""
        return self.now.replace(minute=0, second=0, microsecond=0)

    def serve(self, bucket: str) -> None:
        """Make the endpoint, capturing to the unit's bucket."""
        self.plane.model(ENDPOINT)
        self.plane.config(
            ENDPOINT,
            count=1,
            EnableCapture=True,
            InitialSamplingPercentage=100,
            DestinationS3Uri=f"s3://{bucket}/capture",
            CaptureOptions=[{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
        )
        self.plane.endpoint(ENDPOINT, ENDPOINT)

    def promote(self, outputs: dict[str, str]) -> None:
        """Make a model with its baseline live."""
        baseline = Baseline(
            features=(number_baseline("price", TRAINED),),
            rows=5000,
            training_set_id="set-1",
            created="2017-08-01T00:00:00Z",
            prediction=number_baseline("prediction", TRAINED),
            target="regression",
            quality={"mae": 0.1, "wape": 0.01},
        )
        key = f"evaluations/{ENDPOINT}/baseline.json"
        self.plane.s3.put_object(Bucket=outputs["Artifacts"], Key=key, Body=canonical_json(baseline))
        live = LivePointer(
            endpoint=ENDPOINT, config="c", model="m", model_package_arn="arn:p/1", model_sha256="s", artifact_uri="s3://a",
            baseline_uri=f"s3://{outputs['Artifacts']}/{key}", baseline_sha256=content_hash(baseline),
            evaluation_uri="s3://e", training_set_id="set-1", spec_sha256="x", spec_uri="s3://x", execution="arn:e",
            since="2017-08-07T00:10:00Z",
            artifact_sha256="a" * 64, container_sha256="c" * 64,
        )  # fmt: skip
        row = {"endpoint": {"S": ENDPOINT}, "live": {"S": canonical_json(live).decode()}}
        self.plane.cloud.client("dynamodb").put_item(TableName=outputs["Table"], Item=row)

    def call(self, bucket: str, prices: np.ndarray, at: datetime, error: float = 0.0) -> None:
        """Capture one call per price in an hour, and upload the labels an hour later."""
        lines, labels = [], []
        for number, price in enumerate(prices):
            sides = (("endpointInput", "INPUT", price), ("endpointOutput", "OUTPUT", price + error))
            data = {
                name: {"observedContentType": "text/csv", "mode": mode, "data": str(value), "encoding": "CSV"}
                for name, mode, value in sides
            }
            metadata = {"eventId": f"{at:%d%H}-{number}", "inferenceTime": f"{at:%Y-%m-%dT%H}:05:00Z"}
            lines.append(json.dumps({"captureData": data, "eventMetadata": metadata, "eventVersion": "0"}))
            truth = {"data": str(price), "encoding": "CSV"}
            labels.append(json.dumps({"groundTruthData": truth, "eventMetadata": metadata, "eventVersion": "0"}))
        later = at + timedelta(hours=1)
        for folder, hour, body in (
            (f"capture/{ENDPOINT}/AllTraffic", at, lines),
            (f"labels/{ENDPOINT}", later, labels),
        ):
            key = f"{folder}/{hour:%Y/%m/%d/%H}/part.jsonl"
            self.plane.s3.put_object(Bucket=bucket, Key=key, Body="\n".join(body).encode())

    def executed(self, monitor: str, at: datetime) -> dict[str, Any]:
        """Wait for an execution's end."""

        def done() -> Any:
            listed = self.plane.sagemaker.list_monitoring_executions(MonitoringScheduleName=f"{ENDPOINT}-{monitor}")
            found = [e for e in listed["MonitoringExecutionSummaries"] if e["ScheduledTime"] == at]
            ended = found and found[0]["MonitoringExecutionStatus"] not in ("Pending", "InProgress")
            return found[0] if ended else None

        found: dict[str, Any] = self.plane.wait(done, f"the execution of {monitor} at {at}")
        return found

    def decide(self, outputs: dict[str, str]) -> MonitorReport:
        """Invoke the deciding function for the current time."""
        payload = json.dumps({"time": self.now.strftime("%Y-%m-%dT%H:%M:%SZ")}).encode()
        answer = self.plane.cloud.client("lambda").invoke(FunctionName=outputs["Decide"], Payload=payload)
        body = json.loads(answer["Payload"].read())
        assert "FunctionError" not in answer, body
        return from_dict(MonitorReport, body)


def test_executions_become_the_report_of_every_engine(plane: "Plane", tmp_path: Path) -> None:
    """Without the endpoint it is rejected as on AWS; then roles suffice, drift and errors are found, by a named analyzer."""
    native = Native(plane, tmp_path)
    first = native.deploy(monitored=False)
    with pytest.raises(deployer.DeployError, match=f"Endpoint '{ENDPOINT}' does not exist"):
        native.deploy(monitored=True)
    native.serve(first["Artifacts"])
    outputs = native.deploy(monitored=True)
    assert native.decide(outputs).drift.state is MonitorState.NOT_YET_DEPLOYED

    native.promote(outputs)
    assert native.decide(outputs).drift.state is MonitorState.NO_TRAFFIC  # this also uploads the baselines
    hour = native.hour()
    native.call(outputs["Artifacts"], np.random.default_rng(2).normal(14, 2, 400), hour, error=1.0)
    at = hour + timedelta(hours=2)
    plane.cloud.clock_jump(to=at + timedelta(minutes=20))
    data, quality = native.executed("data-quality", hour + timedelta(hours=1)), native.executed("model-quality", at)
    assert (data["MonitoringExecutionStatus"], data.get("FailureReason")) == ("CompletedWithViolations", None)
    assert (quality["MonitoringExecutionStatus"], quality.get("FailureReason")) == ("CompletedWithViolations", None)

    report = native.decide(outputs)
    assert (report.engine, report.rows, report.quality.rows) == ("SAGEMAKER_MODEL_MONITOR", 400, 400)
    assert (report.drift.state, report.quality.state) == (MonitorState.VIOLATION, MonitorState.VIOLATION)
    assert {feature.name for feature in report.drift.features if feature.drifted} == {"price", "prediction"}
    assert [metric.name for metric in report.quality.metrics if metric.violated] == ["mae"]
    assert (report.analyzer, report.problems) == ("mlops_runtime", None)
    assert "in place of AWS's image" in json.dumps(plane.cloud.status()["monitoring"])

    before = plane.sagemaker.list_data_quality_job_definitions(EndpointName=ENDPOINT)["JobDefinitionSummaries"]
    native.deploy(monitored=True, settings=SageMakerModelMonitor(instance_type="ml.m5.4xlarge"))
    after = plane.sagemaker.list_data_quality_job_definitions(EndpointName=ENDPOINT)["JobDefinitionSummaries"]
    assert len(before) == len(after) == 1
    assert before[0]["MonitoringJobDefinitionName"] != after[0]["MonitoringJobDefinitionName"]
    schedules = plane.sagemaker.list_monitoring_schedules(EndpointName=ENDPOINT)["MonitoringScheduleSummaries"]
    assert [row["MonitoringJobDefinitionName"] for row in schedules] == [after[0]["MonitoringJobDefinitionName"]]
