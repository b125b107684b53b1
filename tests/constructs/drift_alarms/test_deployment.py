"""A monitor's alarms on the embedded cloud with IAM enforced: recipients, messages, and alarms on missing calls."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sns_subscriptions as subscriptions
from aws_cdk import aws_sqs as sqs

from mlops_constructs import (
    BusinessUnit,
    DriftAlarms,
    ExpectedTraffic,
    ModelImage,
    ModelMonitor,
    MonitorEngine,
    Network,
    Profile,
)
from mlops_constructs._unit_resources import define_table
from mlops_local.stacks import deployer
from mlops_runtime.contracts import canonical_json
from mlops_runtime.contracts.monitor import metric_dimensions
from mlops_runtime.contracts.rollout import LivePointer

if TYPE_CHECKING:
    from mlops_local.cloud import Cloud

pytestmark = pytest.mark.cloud
ENDPOINT = "told-forecast"


@dataclass
class Served:
    """An endpoint with a model for the monitor."""

    business_unit: BusinessUnit
    rollout: Any
    capture_bucket: s3.IBucket
    endpoint_name: str = ENDPOINT
    variant: str = "AllTraffic"

    def metric_invocations(self) -> cloudwatch.Metric:
        """Return the number of calls."""
        dimensions = {"EndpointName": self.endpoint_name, "VariantName": self.variant}
        return cloudwatch.Metric(namespace="AWS/SageMaker", metric_name="Invocations", dimensions_map=dimensions)


def _assembly(folder: Path) -> Path:
    app = cdk.App(outdir=str(folder / "cdk.out"))
    stack = cdk.Stack(app, "Told")
    unit = BusinessUnit(
        stack, "Unit", name="told", profile=Profile.DEVELOPMENT, network=Network.create(availability_zones=2)
    )
    table = define_table(stack, "Table", business_unit=unit, partition_key="endpoint")
    image = ModelImage.from_ecr(repository_name="mlops-runtime", digest="sha256:" + "0" * 64)
    rollout = SimpleNamespace(table=table, require_image=lambda _image: None, publish_monitor=lambda: None)
    monitor = ModelMonitor(
        stack,
        "Monitor",
        endpoint=Served(unit, rollout, unit.artifacts),
        window=cdk.Duration.days(3),
        interval=cdk.Duration.days(3),
        engine=MonitorEngine.processing(image=image),
    )
    alarms = DriftAlarms(
        stack,
        "Alarms",
        monitor=monitor,
        expected_traffic=ExpectedTraffic(start=8, end=20, max_silence=cdk.Duration.hours(3)),
    )
    # without encryption: the test reads what the topic publishes
    people = sqs.Queue(stack, "People")
    unit.topic.add_subscription(subscriptions.SqsSubscription(people, raw_message_delivery=True))
    outputs = {
        "People": people.queue_url,
        "Start": monitor.decide_function.function_name,
        "Artifacts": unit.artifacts.bucket_name,
        "Bus": unit.bus.event_bus_name,
        "Table": table.table_name,
        "Endpoint": alarms.endpoint_alarm.alarm_name,
        **{severity.value.capitalize(): alarm.alarm_name for severity, alarm in alarms.composites.items()},
        **{
            name.capitalize() + "Alarm": alarms.alarms[name].alarm_name
            for name in ("suspect", "features", "traffic", "baseline")
        },
    }
    for name, value in outputs.items():
        cdk.CfnOutput(stack, f"{name}Output", value=value)
    app.synth()
    return folder / "cdk.out"


@dataclass
class Deployed:
    """The deployed stack."""

    cloud: "Cloud"
    outputs: dict[str, str]

    def publish(self, monitor: str, name: str, value: float) -> None:
        """Publish one of the monitor's metrics."""
        dimensions = metric_dimensions(ENDPOINT, "AllTraffic", monitor).items()
        named = [{"Name": key, "Value": text} for key, text in dimensions]
        datum = {"MetricName": name, "Dimensions": named, "Value": value}
        self.cloud.client("cloudwatch").put_metric_data(Namespace="MLOps/told", MetricData=[datum])

    def run(self) -> None:
        """Publish Lambda's metrics of a successful run of the monitor's function."""
        named = [{"Name": "FunctionName", "Value": self.outputs["Start"]}]
        data: Any = [
            {"MetricName": name, "Dimensions": named, "Value": value}
            for name, value in (("Invocations", 1), ("Errors", 0))
        ]
        self.cloud.client("cloudwatch").put_metric_data(Namespace="AWS/Lambda", MetricData=data)

    def states(self) -> dict[str, str]:
        """Return the state of each alarm, by output."""
        found = self.cloud.client("cloudwatch").describe_alarms(AlarmTypes=["MetricAlarm", "CompositeAlarm"])
        states = {
            alarm["AlarmName"]: alarm["StateValue"]
            for kind in ("MetricAlarms", "CompositeAlarms")
            for alarm in found[kind]
        }
        return {name: states[value] for name, value in self.outputs.items() if value in states}

    def messages(self) -> list[str]:
        """Return the notifications since the last call."""
        found = []
        while (
            batch := self.cloud.client("sqs")
            .receive_message(QueueUrl=self.outputs["People"], MaxNumberOfMessages=10, WaitTimeSeconds=1)
            .get("Messages")
        ):
            for message in batch:
                found.append(message["Body"])
                self.cloud.client("sqs").delete_message(
                    QueueUrl=self.outputs["People"], ReceiptHandle=message["ReceiptHandle"]
                )
        return found


@pytest.fixture(scope="module")
def deployed(cloud: "Cloud", tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """Deploy it once and destroy it afterwards: its schedules would slow down clock jumps of other tests."""
    outputs = deployer.deploy(cloud, _assembly(tmp_path_factory.mktemp("told")))["Told"]
    yield Deployed(cloud, {name.removesuffix("Output"): value for name, value in outputs.items()})
    pages = cloud.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName="Told")
    made: dict[str, list[str]] = {}
    for one in (each for page in pages for each in page["StackResourceSummaries"]):
        made.setdefault(one["ResourceType"], []).append(one["PhysicalResourceId"])
    alarms = cloud.client("cloudwatch")
    left = alarms.describe_alarms(AlarmNames=made["AWS::CloudWatch::CompositeAlarm"], AlarmTypes=["CompositeAlarm"])
    composites = left["CompositeAlarms"]
    while composites:  # one at a time, starting with alarms that no other alarm references
        gone = next(one for one in composites if not any(one["AlarmName"] in each["AlarmRule"] for each in composites))
        alarms.delete_alarms(AlarmNames=[gone["AlarmName"]])
        composites.remove(gone)
    alarms.delete_alarms(AlarmNames=made["AWS::CloudWatch::Alarm"])
    for rule in made["AWS::Events::Rule"]:
        cloud.client("events").disable_rule(Name=rule)


def test_a_warning_yields_to_what_is_critical_and_each_tells_once(deployed: Deployed):
    """Composite alarms follow their children and notify the topic; the children notify no topic.

    See: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Create_Composite_Alarm.html
    """
    now = datetime.fromisoformat(deployed.cloud.clock()["now"]).astimezone(UTC)
    # no calls are expected at night, when their absence would be critical too
    deployed.cloud.clock_jump(by=now.replace(hour=21, minute=0) - now + timedelta(days=now.hour >= 21))
    deployed.run()
    deployed.cloud.clock_jump(by=timedelta(minutes=61))
    deployed.messages()
    deployed.publish("drift", "FeaturesSuspect", 1)
    deployed.publish("drift", "FeaturesDrifted", 0)
    deployed.cloud.clock_jump(by=timedelta(minutes=61))
    states = deployed.states()
    assert (states["SuspectAlarm"], states["Warning"], states["Critical"], states["Endpoint"]) == (
        "ALARM",
        "ALARM",
        "OK",
        "ALARM",
    )
    (warning,) = deployed.messages()
    assert json.loads(warning)["AlarmName"] == deployed.outputs["Warning"]

    deployed.publish("drift", "FeaturesDrifted", 1)
    deployed.cloud.clock_jump(by=timedelta(minutes=61))
    states = deployed.states()
    assert (states["FeaturesAlarm"], states["Warning"], states["Critical"], states["Endpoint"]) == (
        "ALARM",
        "OK",
        "ALARM",
        "ALARM",
    )
    (critical,) = deployed.messages()
    assert json.loads(critical)["AlarmName"] == deployed.outputs["Critical"]

    # between two runs there are no data, and the alarm keeps its state
    deployed.cloud.clock_jump(by=timedelta(hours=12))
    assert deployed.states()["FeaturesAlarm"] == "ALARM"
    deployed.publish("drift", "FeaturesDrifted", 0)
    deployed.publish("drift", "FeaturesSuspect", 0)
    deployed.cloud.clock_jump(by=timedelta(minutes=61))
    assert {deployed.states()[name] for name in ("SuspectAlarm", "FeaturesAlarm")} == {"OK"}


def test_a_report_is_told_in_words(deployed: Deployed, wait_for: Callable[..., Any]):
    """The rule's transformer writes one quoted line per part of the event; unchanged results are not published.

    See: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-transform-target-input.html
    """
    deployed.messages()

    def report(outcome: str, subject: str = ENDPOINT) -> None:
        detail = {
            "id": "told-forecast/AllTraffic/2017-08-08T06:00:00Z",
            "subject": subject,
            "outcome": outcome,
            "reason": "told-forecast: drift in 2 of 3 windows: price (mean rose 12 %)",
            "attributes": {
                "advice": "fix the feed if it broke, else let the model be trained again",
                "report_uri": "s3://bucket/monitor/told-forecast/reports/2017-08-08T06/report.json",
            },
            "version": "mlops.event/1",
        }
        entry = {
            "EventBusName": deployed.outputs["Bus"],
            "Source": "mlops.told",
            "DetailType": "MLOps Monitor Reported",
            "Detail": json.dumps(detail),
        }
        assert deployed.cloud.client("events").put_events(Entries=[entry])["FailedEntryCount"] == 0

    for outcome in ("OK", "NO_LABELS_YET", "INSUFFICIENT_DATA"):
        report(outcome)
    report("VIOLATION", subject="another")
    report("VIOLATION")
    (message,) = wait_for(deployed.messages)
    assert message.splitlines() == [
        '"told-forecast: drift in 2 of 3 windows: price (mean rose 12 %)"',
        '"What to do: fix the feed if it broke, else let the model be trained again"',
        '"Report: s3://bucket/monitor/told-forecast/reports/2017-08-08T06/report.json"',
    ]
    assert deployed.messages() == []


def test_no_calls_ring_only_at_hours_at_which_some_are_expected(deployed: Deployed):
    """Three hours without calls from 08:00 raise the alarm at 11:00; the same gap from 20:00 does not.

    See: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html and
    https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html
    """

    def state_at(hour: int, day: int) -> str:
        now = datetime.fromisoformat(deployed.cloud.clock()["now"]).astimezone(UTC)
        wanted = first.replace(hour=hour, minute=1) + timedelta(days=day)
        deployed.cloud.clock_jump(by=wanted - now)
        return deployed.states()["TrafficAlarm"]

    first = (
        datetime.fromisoformat(deployed.cloud.clock()["now"]).astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    )
    assert [state_at(hour, 1) for hour in (7, 10, 11)] == ["OK", "OK", "ALARM"]
    assert [state_at(20, 1), state_at(21, 1), state_at(6, 2)] == ["ALARM", "OK", "OK"]


def _run(deployed: Deployed, time: str, wait_for: Callable[..., Any]) -> dict[str, Any]:
    """Call the function as the schedule does, twice, and return the report of its job."""
    jobs = set()
    for _ in range(2):
        answer = deployed.cloud.client("lambda").invoke(
            FunctionName=deployed.outputs["Start"], Payload=json.dumps({"time": time}).encode()
        )
        body = json.loads(answer["Payload"].read())
        assert answer.get("FunctionError") is None, body
        jobs.add(body["job"])
    (name,) = jobs

    def ended() -> Any:
        job = deployed.cloud.client("sagemaker").describe_processing_job(ProcessingJobName=name)
        return job if job["ProcessingJobStatus"] in {"Completed", "Failed"} else None

    job = wait_for(ended)
    assert (job["ProcessingJobStatus"], job.get("FailureReason")) == ("Completed", None)
    key = f"monitor/{ENDPOINT}/reports/{time[:13]}/report.json"
    body = deployed.cloud.client("s3").get_object(Bucket=deployed.outputs["Artifacts"], Key=key)["Body"].read()
    found: dict[str, Any] = json.loads(body)
    return found


def test_the_schedule_starts_a_job_that_reports(deployed: Deployed, wait_for: Callable[..., Any]):
    """A repeated event starts one job, in the declared network and with sufficient permissions."""
    report = _run(deployed, "2017-08-08T06:15:00Z", wait_for)
    assert (report["drift"]["state"], report["endpoint"], report["engine"]) == (
        "NOT_YET_DEPLOYED",
        ENDPOINT,
        "PROCESSING",
    )


def test_a_baseline_that_is_gone_is_told_and_rings(deployed: Deployed, wait_for: Callable[..., Any]):
    """Covers the job's metrics and event, the alarm, the composite alarm, and the message with its fix."""
    deployed.messages()
    now = (
        datetime.fromisoformat(deployed.cloud.clock()["now"]).astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    )
    live = LivePointer(
        endpoint=ENDPOINT,
        config="c",
        model="m",
        model_package_arn="arn:aws:sagemaker:us-east-1:000000000000:model-package/told-forecast/1",
        model_sha256="0" * 64,
        artifact_uri=f"s3://{deployed.outputs['Artifacts']}/models/{ENDPOINT}/model.tar.gz",
        baseline_uri=f"s3://{deployed.outputs['Artifacts']}/evaluations/{ENDPOINT}/gone/baseline.json",
        baseline_sha256="8" * 64,
        evaluation_uri="s3://bucket/evaluation.json",
        training_set_id="t",
        spec_sha256="0" * 64,
        spec_uri="s3://bucket/spec.json",
        execution="e",
        since=f"{now - timedelta(days=3):%Y-%m-%dT%H:%M:%SZ}",
        artifact_sha256="a" * 64,
        container_sha256="c" * 64,
    )
    item = {"endpoint": {"S": ENDPOINT}, "live": {"S": canonical_json(live).decode()}}
    deployed.cloud.client("dynamodb").put_item(TableName=deployed.outputs["Table"], Item=item)

    report = _run(deployed, f"{now:%Y-%m-%dT%H}:15:00Z", wait_for)

    assert report["baseline_flaw"]
    (message,) = wait_for(deployed.messages)
    lines_of_message = message.splitlines()
    assert lines_of_message[0].startswith('"told-forecast: nothing is decided, ')
    assert lines_of_message[1].startswith('"What to do: find out who changed or removed it')
    assert (
        lines_of_message[2]
        == f'"Report: s3://{deployed.outputs["Artifacts"]}/monitor/{ENDPOINT}/reports/{now:%Y-%m-%dT%H}/report.json"'
    )
    deployed.cloud.clock_jump(by=timedelta(minutes=61))
    assert {deployed.states()[name] for name in ("BaselineAlarm", "Critical", "Endpoint")} == {"ALARM"}
