"""A unit in two stacks of two repositories on the embedded cloud, with IAM enforced: the second works and is deleted alone."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aws_cdk as cdk
import boto3
import pyarrow as pa
import pytest
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from examples.pages.feature_groups import STOCK
from examples.pages.second_stack import Owner, Returns
from examples.retail.loop import Loop
from tests.examples import models
from tests.topic_queue import subscribe_queue

from mlops_constructs import (
    BusinessUnit,
    EndpointCapacity,
    EvaluationPlan,
    FeatureStore,
    ModelEndpoint,
    ModelImage,
    ModelRegistry,
    Profile,
    RetrainingPipeline,
    TrainingJob,
    TrainingSetPlan,
)
from mlops_constructs.compliance.harness import check
from mlops_constructs.drift_alarms.drift_alarms import NOTIFIED
from mlops_local import cloud as local_cloud
from mlops_local.stacks import deployer
from mlops_runtime.contracts.events import DetailType, event_source
from mlops_runtime.features.store_client import FeatureStoreClient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

UNIT = "twostack"
IMAGE = ModelImage.from_ecr(repository_name="mlops-runtime", digest=models.DIGEST)


class Second(Returns):
    """The page's stack with a producer of rows, and the names that the tests need."""

    def __init__(self, scope: cdk.App, id: str, *, profile: Profile) -> None:
        super().__init__(scope, id, name=UNIT, profile=profile, image=IMAGE)
        unit, rollout = self.registry.business_unit, self.endpoint.rollout
        producer = iam.Role(
            self, "Rows", assumed_by=iam.AccountRootPrincipal(), permissions_boundary=unit.permissions_boundary
        )
        self.store.grant_write(producer)
        freshness, captures = self.store.freshness_function, self.endpoint.capture_bucket
        assert freshness is not None
        assert captures is not None
        outputs = {
            "ApproverRoleArn": self.registry.approver_role.role_arn,
            "EndpointName": self.endpoint.endpoint_name,
            "RolloutTable": rollout.table.table_name,
            "DeployMachineArn": rollout.machine.state_machine_arn,
            "ArtifactsBucket": unit.artifacts.bucket_name,
            "CaptureBucket": captures.bucket_name,
            "Freshness": freshness.function_name,
            "Decide": self.monitor.decide_function.function_name,
            "Producer": producer.role_arn,
            "Topic": unit.topic.topic_arn,
            "Bus": unit.bus.event_bus_name,
        }
        for name, value in outputs.items():
            cdk.CfnOutput(self, f"{name}Output", value=value).override_logical_id(name)


class Third(cdk.Stack):
    """Another repository: a pipeline of the same unit that trains from the second stack's store."""

    def __init__(self, scope: cdk.App, id: str, *, profile: Profile, folder: Path) -> None:
        super().__init__(scope, id)
        source = folder / "training"
        source.mkdir()
        (source / "train.py").write_text("print('done')")
        unit = BusinessUnit.from_name(self, "Unit", name=UNIT, profile=profile)
        self.store = FeatureStore.from_name(self, "Features", business_unit=unit, groups=[STOCK])
        registry = ModelRegistry(self, "Registry", business_unit=unit, name="shelves")
        endpoint = ModelEndpoint(
            self,
            "Endpoint",
            business_unit=unit,
            registry=registry,
            name="shelves",
            image=IMAGE,
            capacity=EndpointCapacity.instances("ml.m5.large", instance_count=2),
        )
        training = TrainingJob(
            image=IMAGE,
            source=source,
            script="train.py",
            instance_type="ml.m5.large",
            max_runtime=cdk.Duration.hours(1),
        )
        plan = TrainingSetPlan(
            name="shelves",
            label_group="stock",
            timestamp="event_time",
            label="on_hand",
            features={"stock": ("shelf",)},
            holdout_days=28,
        )
        RetrainingPipeline(
            self,
            "Retraining",
            business_unit=unit,
            registry=registry,
            endpoint=endpoint,
            store=self.store,
            name="shelves",
            training_set=plan,
            training=training,
            evaluation=EvaluationPlan(label="on_hand", block="store_id", baselines=("shelf",)),
        )
        self.returns = ModelRegistry.from_registry_name(self, "Returns", business_unit=unit, name="returns")
        (tags,) = (each for each in self.node.find_all() if each.node.path.endswith("Retraining/Tags"))
        assert isinstance(tags, lambda_.Function)
        cdk.CfnOutput(self, "TagsOutput", value=tags.function_name).override_logical_id("Tags")


def _owner(folder: Path) -> Path:
    app = cdk.App(outdir=str(folder))
    Owner(app, "Owner", name=UNIT, profile=Profile.DEVELOPMENT)
    app.synth()
    return folder


def _second(folder: Path) -> Path:
    app = cdk.App(outdir=str(folder))
    Second(app, "Second", profile=Profile.DEVELOPMENT)
    app.synth()
    return folder


def _third(folder: Path) -> Path:
    app = cdk.App(outdir=str(folder / "cdk.out"))
    third = Third(app, "Third", profile=Profile.DEVELOPMENT, folder=folder)
    reviewer = iam.Role(third, "Reviewing", assumed_by=iam.AccountRootPrincipal())
    third.returns.grant_read(reviewer)
    cdk.CfnOutput(third, "Reviewer", value=reviewer.role_arn)
    app.synth()
    return folder / "cdk.out"


class Unit:
    """The deployed stacks and the second one's loop."""

    def __init__(self, cloud: local_cloud.Cloud, folder: Path) -> None:
        self.cloud, self.owner, self.second = cloud, _owner(folder / "owner"), _second(folder / "second")
        deployer.deploy(cloud, self.owner)
        self.made = self.resources()
        outputs = deployer.deploy(cloud, self.second)["Second"]
        self.outputs = outputs
        self.loop = Loop(client=cloud.client, outputs=outputs, unit=UNIT, now=self.now)
        self.loop.wait_idle("DeployMachineArn")

    def now(self) -> datetime:
        """Return the cloud's time."""
        return datetime.fromisoformat(self.cloud.clock()["now"])

    def resources(self) -> dict[str, str]:
        """Return the owner's resources by logical id."""
        pages = self.cloud.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName="Owner")
        found = [each for page in pages for each in page["StackResourceSummaries"]]
        return {each["LogicalResourceId"]: each["PhysicalResourceId"] for each in found}

    def acting(self, output: str, service: str) -> Any:
        """Return a client of a service in a role."""
        keys = self.cloud.client("sts").assume_role(RoleArn=self.outputs[output], RoleSessionName="test")["Credentials"]
        return boto3.client(
            service,
            endpoint_url=self.cloud.endpoint_url,
            region_name="us-east-1",
            aws_access_key_id=keys["AccessKeyId"],
            aws_secret_access_key=keys["SecretAccessKey"],
            aws_session_token=keys["SessionToken"],
        )

    def invoke(self, output: str, event: dict[str, Any]) -> Any:
        """Invoke a function and return its response."""
        answer = self.cloud.client("lambda").invoke(FunctionName=self.outputs[output], Payload=json.dumps(event))
        payload = json.loads(answer["Payload"].read())
        assert "FunctionError" not in answer, payload
        return payload


@pytest.fixture(scope="module")
def unit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Unit]:
    """Deploy the owner's stack, then the second one; the tests of this file depend on their order."""
    folder = tmp_path_factory.mktemp("second")
    cloud = local_cloud.up(folder / "cloud", clock_scale=120.0)
    try:
        yield Unit(cloud, folder)
    finally:
        cloud.down(forget=True)


@pytest.mark.parametrize("profile", list(Profile))
def test_nothing_of_importing_stacks_is_left_to_ask(profile: Profile, tmp_path: Path) -> None:
    """All packs report nothing unacknowledged for features, monitors and a pipeline."""
    app = cdk.App(context={"aws:cdk:enable-path-metadata": True}, outdir=str(tmp_path / "cdk.out"))
    Returns(app, "Returns", name=UNIT, profile=profile, image=IMAGE)
    Third(app, "Third", profile=profile, folder=tmp_path)
    assert [(stack.stack, stack.findings) for stack in check(app).stacks] == [("Returns", ()), ("Third", ())]


def test_rows_are_ingested_and_their_age_is_measured(unit: Unit) -> None:
    """A role with the owner's boundary uses the owner's key; the function of the second stack reads the rows."""
    keys = unit.cloud.client("sts").assume_role(RoleArn=unit.outputs["Producer"], RoleSessionName="producer")
    given = keys["Credentials"]
    environment = unit.cloud.environment() | {
        "AWS_ACCESS_KEY_ID": given["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": given["SecretAccessKey"],
        "AWS_SESSION_TOKEN": given["SessionToken"],
    }
    store = FeatureStoreClient.glue(database=f"{UNIT}_features", environment=environment, now=unit.now)
    rows = {"store_id": ["a", "b"], "on_hand": [3, 4], "shelf": ["front", None]}
    times = pa.array([unit.now()] * 2, pa.timestamp("us", "UTC"))
    assert store.ingest(STOCK, pa.table({**rows, "event_time": times})).rows == 2

    (age,) = unit.invoke("Freshness", {"time": unit.now().isoformat()})
    assert age["age_seconds"] >= 0


def test_a_model_is_approved_rolled_out_and_asked(unit: Unit) -> None:
    """Uses registry, Deploy machine, and an audit chain in the owner's bucket, signed with the owner's key."""
    package = models.register(unit.loop, 3.0)
    seen = {each["executionArn"] for each in unit.loop.executions("DeployMachineArn")}
    unit.loop.approve(package, "a person looked at it")
    unit.loop.wait_execution("DeployMachineArn", seen, appear=30, finish=120)
    (call,) = unit.loop.invoke([{"x": 2.0}], "ask")
    assert call.predictions == pytest.approx((6.0,))
    assert unit.loop.audit_problems() == []


def test_the_monitor_decides_and_writes_its_report(unit: Unit) -> None:
    """The report is in the owner's bucket, about a single call."""
    unit.invoke("Decide", {"time": unit.now().isoformat()})
    report = unit.loop.wait_report(0)
    assert report.endpoint == f"{UNIT}-returns"


def test_what_the_monitor_finds_reaches_people(unit: Unit, wait_for: Callable[..., Any]) -> None:
    """A rule of the second stack on the owner's bus reaches the owner's topic, which admits rules."""
    sqs = unit.cloud.client("sqs")
    url = subscribe_queue(sqs, unit.cloud.client("sns"), unit.outputs["Topic"], "people")
    attributes = {"advice": "look", "report_uri": "s3://reports/1"}
    detail = {
        "subject": f"{UNIT}-returns",
        "outcome": NOTIFIED[0].value,
        "reason": "returns moved",
        "attributes": attributes,
    }
    entry = {
        "Source": event_source(UNIT),
        "DetailType": DetailType.MONITOR_REPORTED.value,
        "Detail": json.dumps(detail),
        "EventBusName": unit.outputs["Bus"],
    }
    assert unit.cloud.client("events").put_events(Entries=[entry])["FailedEntryCount"] == 0

    def reported() -> bool:
        # alarms notify the topic too
        found = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
        return any("returns moved" in message["Body"] for message in found)

    assert wait_for(reported)


def test_a_third_stack_prepares_training_sets_of_the_seconds_rows(unit: Unit, tmp_path: Path) -> None:
    """Its function tags the snapshot of a table of another stack, and its reviewer reads that stack's packages."""
    assembly = _third(tmp_path)
    unit.outputs |= deployer.deploy(unit.cloud, assembly)["Third"]
    requested = {"as_of": unit.now().isoformat(), "now": unit.now().isoformat()}
    tag = unit.invoke("Tags", requested)["tag"]
    table = unit.cloud.client("glue").get_table(DatabaseName=f"{UNIT}_features", Name="stock_v1")["Table"]
    bucket, _, key = table["Parameters"]["metadata_location"].removeprefix("s3://").partition("/")
    metadata = json.loads(unit.loop.s3.get_object(Bucket=bucket, Key=key)["Body"].read())
    assert tag in metadata["refs"]
    packages = unit.acting("Reviewer", "sagemaker").list_model_packages(ModelPackageGroupName=f"{UNIT}-returns")
    assert len(packages["ModelPackageSummaryList"]) == 1
    deployer.destroy(unit.cloud, assembly)


def test_the_second_stack_goes_without_the_first(unit: Unit) -> None:
    """No owner's resource is created, changed or deleted, and the second's data in the owner's buckets stay."""
    deployer.destroy(unit.cloud, unit.second)
    events: list[deployer.ResourceEvent] = []
    deployer.deploy(unit.cloud, unit.owner, on_event=events.append)

    assert events == []
    assert unit.resources() == unit.made
    assert unit.loop.sagemaker.list_endpoints()["Endpoints"] == []
    deployer.destroy(unit.cloud, unit.owner)
