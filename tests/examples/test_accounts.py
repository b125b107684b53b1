"""A whole unit in each of three accounts and two Regions of one embedded cloud: deployed by one app, served where it belongs."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import aws_cdk as cdk
import pytest
from examples.retail.loop import Loop
from tests.examples import models

from mlops_constructs import BusinessUnit, EndpointCapacity, ModelEndpoint, ModelImage, ModelRegistry, Profile
from mlops_local import cloud as local_cloud
from mlops_local.stacks import deployer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.cloud

ENVIRONMENTS = {
    "Build": ("000000000000", "us-east-1"),
    "Staging": ("111111111111", "eu-west-1"),
    "Production": ("222222222222", "us-east-1"),
}


class Serving(cdk.Stack):
    """The same unit with the same model, in its own account."""

    def __init__(self, scope: cdk.App, id: str) -> None:
        account, region = ENVIRONMENTS[id]
        super().__init__(scope, id, env=cdk.Environment(account=account, region=region))
        unit = BusinessUnit(self, "Unit", name="pilot", profile=Profile.DEVELOPMENT)
        registry = ModelRegistry(self, "Registry", business_unit=unit, name="first")
        endpoint = ModelEndpoint(
            self,
            "Endpoint",
            business_unit=unit,
            registry=registry,
            name="first",
            image=ModelImage.from_ecr(repository_name="mlops-runtime", digest=models.DIGEST),
            capacity=EndpointCapacity.instances("ml.m5.large", instance_count=2),
        )
        for name, value in {
            "ApproverRoleArn": registry.approver_role.role_arn,
            "EndpointName": endpoint.endpoint_name,
            "RolloutTable": endpoint.rollout.table.table_name,
            "DeployMachineArn": endpoint.rollout.machine.state_machine_arn,
            "ArtifactsBucket": unit.artifacts.bucket_name,
            "AuditBucket": unit.audit_bucket.bucket_name,
        }.items():
            cdk.CfnOutput(self, name, value=value)


@pytest.fixture(scope="module")
def loops(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Loop]]:
    """Deploy all three in a cloud of their own."""
    folder: Path = tmp_path_factory.mktemp("three")
    app = cdk.App(outdir=str(folder / "assembly"))
    for name in ENVIRONMENTS:
        Serving(app, name)
    app.synth()
    cloud = local_cloud.up(folder / "cloud", clock_scale=120.0, account_count=3)

    def loop(name: str, outputs: dict[str, str]) -> Loop:
        client = cloud.at(*ENVIRONMENTS[name]).client
        return Loop(
            client=client, outputs=outputs, unit="pilot", now=lambda: datetime.fromisoformat(cloud.clock()["now"])
        )

    try:
        outputs = deployer.deploy(cloud, folder / "assembly")
        found = {name: loop(name, outputs[name]) for name in ENVIRONMENTS}
        for each in found.values():
            each.wait_idle("DeployMachineArn")
        yield found
    finally:
        cloud.down(forget=True)


@pytest.mark.parametrize("name", ["Staging", "Production"])
def test_a_model_is_approved_and_served_in_its_own_account(loops: dict[str, Loop], name: str) -> None:
    """Nothing of it is in another one, and metrics and audit records are there too."""
    loop, others = loops[name], [other for each, other in loops.items() if each != name]
    served_before = [other.live() for other in others]
    account, region = ENVIRONMENTS[name]
    registry = f"{account}.dkr.ecr.{region}.amazonaws.com"
    package = models.register(loop, 3.0, image=f"{registry}/mlops-runtime@{models.DIGEST}")
    assert package.startswith(f"arn:aws:sagemaker:{region}:{account}:model-package/")
    seen = {execution["executionArn"] for execution in loop.executions("DeployMachineArn")}
    loop.approve(package, "a person looked at it")
    loop.wait_execution("DeployMachineArn", seen, appear=30, finish=120)
    assert loop.invoke([{"x": 2.0}], "ask")[0].predictions[0] == pytest.approx(6.0)
    assert [other.live() for other in others] == served_before
    assert loop.audit_problems() == []
