"""An endpoint of another stack's registry on the embedded cloud, with IAM enforced: the owner's stack is deployed once."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import aws_cdk as cdk
import pytest
from examples.pages.second_stack import Regional
from examples.retail.loop import Loop
from tests.examples import models
from tests.examples.test_retraining import SCRIPT, UNIT, Sample

from mlops_constructs import (
    BusinessUnit,
    EndpointCapacity,
    EvaluationPlan,
    ModelEndpoint,
    ModelImage,
    ModelRegistry,
    Profile,
    RetrainingPipeline,
    TrainingJob,
    TrainingSetSource,
)
from mlops_constructs.compliance.harness import check
from mlops_local import cloud as local_cloud
from mlops_local.stacks import deployer
from mlops_runtime.contracts.rollout import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.cloud

IMAGE = ModelImage.from_ecr(repository_name="mlops-runtime", digest=models.DIGEST)


def _owner(folder: Path) -> Path:
    """Synthesize the unit with a registry, an endpoint, and a pipeline with another name than both."""
    (folder / "code").mkdir()
    (folder / "code" / "train.py").write_text(SCRIPT)
    stack = cdk.Stack(app := cdk.App(outdir=str(folder / "owner")), "Sample")
    unit = BusinessUnit(stack, "Unit", name=UNIT, profile=Profile.DEVELOPMENT)
    registry = ModelRegistry(stack, "Registry", business_unit=unit, name="forecast")
    capacity = EndpointCapacity.instances("ml.m5.large", instance_count=2)
    endpoint = ModelEndpoint(
        stack, "Endpoint", business_unit=unit, registry=registry, name="forecast", image=IMAGE, capacity=capacity
    )
    pipeline = RetrainingPipeline(
        stack,
        "Retraining",
        business_unit=unit,
        registry=registry,
        endpoint=endpoint,
        name="weekly",
        training_set=TrainingSetSource.s3(bucket=unit.artifacts, prefix="exports/sales", label="units"),
        training=TrainingJob(
            image=IMAGE,
            source=folder / "code",
            script="train.py",
            instance_type="ml.m5.large",
            max_runtime=cdk.Duration.hours(1),
        ),
        evaluation=EvaluationPlan(label="units", block="store", baselines=("last_week",)),
    )
    outputs = {
        "EndpointName": endpoint.endpoint_name,
        "RolloutTable": endpoint.rollout.table.table_name,
        "DeployMachineArn": endpoint.rollout.machine.state_machine_arn,
        "RetrainMachineArn": pipeline.machine.state_machine_arn,
        "ArtifactsBucket": unit.artifacts.bucket_name,
        "AuditBucket": unit.audit_bucket.bucket_name,
        "ApproverRoleArn": registry.approver_role.role_arn,
        "EventBus": unit.bus.event_bus_name,
    }
    for name, value in outputs.items():
        cdk.CfnOutput(stack, name, value=value)
    app.synth()
    return folder / "owner"


def _regional(folder: Path) -> Path:
    app = cdk.App(outdir=str(folder))
    stack = Regional(app, "Regional", name=UNIT, profile=Profile.DEVELOPMENT, image=IMAGE)
    rollout = stack.endpoint.rollout
    outputs = {
        "EndpointName": stack.endpoint.endpoint_name,
        "RolloutTable": rollout.table.table_name,
        "DeployMachineArn": rollout.machine.state_machine_arn,
    }
    for name, value in outputs.items():
        cdk.CfnOutput(stack, f"{name}Output", value=value).override_logical_id(name)
    app.synth()
    return folder


class Served(Sample):
    """The owner's stack, its loop, and the loop of the other stack's endpoint."""

    def __init__(self, cloud: local_cloud.Cloud, folder: Path) -> None:
        super().__init__(cloud, _owner(folder))
        # requests name the pipeline
        weekly = self.outputs | {"EndpointName": f"{UNIT}-weekly"}
        self.weekly = Loop(client=cloud.client, outputs=weekly, unit=UNIT, now=self.now)
        self.assembly = _regional(folder / "regional")
        outputs = deployer.deploy(cloud, self.assembly)["Regional"]
        self.regional = Loop(client=cloud.client, outputs=self.outputs | outputs, unit=UNIT, now=self.now)
        self.regional.wait_idle("DeployMachineArn")

    def train(self, price: float) -> str:
        """Train a model of this weight and return its pending package."""
        self.lay_down(price=price, promoted=10.0)
        seen = {each["executionArn"] for each in self.loop.executions("RetrainMachineArn")}
        self.weekly.request_retraining("a person asked", f"price-{price}")
        ended = self.loop.wait_execution("RetrainMachineArn", seen, appear=30, finish=120)
        output = json.loads(ended["output"])
        assert output["outcome"] == "REGISTERED", output
        return str(self.loop.newest_package()["ModelPackageArn"])

    def approve(self, package: str) -> None:
        """Approve a package as a person does, and wait for the rollouts of both endpoints."""
        loops = (self.loop, self.regional)
        seen = [{each["executionArn"] for each in loop.executions("DeployMachineArn")} for loop in loops]
        self.loop.approve(package, "a person looked at it")
        with ExitStack() as calls:
            for number, loop in enumerate(loops):
                if loop.live() is not None:
                    rows = [{"price": 10.0, "promoted": 0.0}]
                    calls.enter_context(loop.traffic(rows, f"calls-{number}"))
            for loop, known in zip(loops, seen, strict=True):
                loop.wait_execution("DeployMachineArn", known, appear=30, finish=120)

    def serving(self) -> list[float]:
        """Return each endpoint's prediction for a price of 10 without promotion, to one digit."""
        rows = [{"price": 10.0, "promoted": 0.0}]
        return [round(loop.invoke(rows, "ask")[0].predictions[0], 1) for loop in (self.loop, self.regional)]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Deploy the owner's stack, then the other one; the tests of this file depend on their order."""
    folder = tmp_path_factory.mktemp("regional")
    cloud = local_cloud.up(folder / "cloud", clock_scale=120.0)
    try:
        yield Served(cloud, folder)
    finally:
        cloud.down()


@pytest.mark.parametrize("profile", list(Profile))
def test_nothing_of_the_endpoints_stack_is_left_to_ask(profile: Profile, tmp_path: Path) -> None:
    """All packs report nothing unacknowledged."""
    app = cdk.App(context={"aws:cdk:enable-path-metadata": True}, outdir=str(tmp_path / "cdk.out"))
    Regional(app, "Regional", name=UNIT, profile=profile, image=IMAGE)
    assert [(stack.stack, stack.findings) for stack in check(app).stacks] == [("Regional", ())]


def test_a_trained_model_is_approved_once_and_served_by_both(served: Served) -> None:
    """Uses the rule in the owner's parameter, and models of a pipeline with another name."""
    served.approve(served.train(1.8))
    assert served.serving() == [18.0, 18.0]


def test_the_next_model_takes_over_by_a_canary_on_both(served: Served) -> None:
    """Each endpoint has its own audit chain in the unit's bucket."""
    served.approve(served.train(2.0))
    assert served.serving() == [20.0, 20.0]
    for loop in (served.loop, served.regional):
        assert loop.audit_problems() == []
        assert [record.outcome for record in loop.audit() if record.outcome is Outcome.PROMOTED] == [
            Outcome.PROMOTED
        ] * 2


def test_the_other_stacks_endpoint_goes_back_alone(served: Served) -> None:
    """The owner's endpoint keeps serving."""
    known = {each["executionArn"] for each in served.regional.executions("DeployMachineArn")}
    served.cloud.client("stepfunctions").start_execution(
        stateMachineArn=served.regional.outputs["DeployMachineArn"],
        input=json.dumps({"reason": "rollback", "requested_by": "ann", "requested_at": served.now().isoformat()}),
    )
    served.regional.wait_execution("DeployMachineArn", known, appear=30, finish=120)
    assert served.serving() == [20.0, 18.0]


def test_a_package_of_another_folder_is_refused_by_name(served: Served) -> None:
    """Preflight of the other stack's endpoint names the folders that its role reads."""
    package = models.register(served.loop, 3.0, folder="models/elsewhere")
    known = {each["executionArn"] for each in served.regional.executions("DeployMachineArn")}
    served.loop.approve(package, "a person looked away")
    ended = served.regional.wait_execution("DeployMachineArn", known, appear=30, finish=120, error="REFUSED")
    bucket = served.outputs["ArtifactsBucket"]
    allowed = " or ".join(f"s3://{bucket}/models/{UNIT}-{name}/" for name in ("regional", "weekly"))
    assert f"the artefact must be below {allowed}" in ended["cause"]


def test_the_owner_cannot_go_first(served: Served) -> None:
    """CloudFormation rejects it before any deletion; both stacks are deleted in the other order."""
    with pytest.raises(deployer.DeployError, match=r"mlops-unit-sample .*Regional"):
        deployer.destroy(served.cloud, served.assembly.parent / "owner")
    deployer.destroy(served.cloud, served.assembly)
    deployer.destroy(served.cloud, served.assembly.parent / "owner")
    assert served.loop.sagemaker.list_endpoints()["Endpoints"] == []
