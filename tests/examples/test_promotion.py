"""Releases of another environment on the embedded cloud, with IAM enforced: received, approved, served, or refused by name."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import aws_cdk as cdk
import pytest
from examples.retail.loop import Loop
from tests.examples import models
from tests.released import Released, release

from mlops_constructs import (
    Approval,
    BusinessUnit,
    EndpointCapacity,
    Environment,
    ModelEndpoint,
    ModelImage,
    ModelRegistry,
    Profile,
)
from mlops_local import cloud as local_cloud
from mlops_local.stacks import deployer
from mlops_runtime.contracts.rollout import AuditRecord, Outcome
from mlops_runtime.promotion.environment_link import promotions_chain
from mlops_runtime.promotion.offer_table import OfferTable
from mlops_runtime.promotion.promotion_guard import execution_name
from mlops_runtime.registry.model_package import read_package
from mlops_runtime.rollout.audit_chain import AuditChain
from mlops_runtime.rollout.execution_names import execution_arn
from mlops_runtime.rollout.rollout_table import RolloutTable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.cloud

UNIT, MODEL = "outlet", "price"
GROUP = f"{UNIT}-{MODEL}"
BUILD = Environment("build", account="000000000000", region="eu-west-1")
STAGING = Environment("staging", account="000000000000", region="us-east-1")
SOURCE_BUCKET = "released-by-build"


def synthesize(folder: Path) -> Path:
    """Synthesize a unit that receives releases and serves them."""
    stack = cdk.Stack(app := cdk.App(outdir=str(folder / "assembly")), "Staging", env=STAGING.cdk)
    unit = BusinessUnit(stack, "Unit", name=UNIT, profile=Profile.DEVELOPMENT)
    registry = ModelRegistry.from_environment(
        stack, "Registry", business_unit=unit, name=MODEL, source=BUILD, approval=Approval.automatic()
    )
    endpoint = ModelEndpoint(
        stack,
        "Endpoint",
        business_unit=unit,
        registry=registry,
        name=MODEL,
        image=ModelImage.from_ecr(repository_name="mlops-runtime", digest=models.DIGEST),
        capacity=EndpointCapacity.instances("ml.m5.large", instance_count=1),
    )
    assert registry.inbox is not None
    outputs = {
        "ApproverRoleArn": registry.approver_role.role_arn,
        "EndpointName": endpoint.endpoint_name,
        "RolloutTable": endpoint.rollout.table.table_name,
        "DeployMachineArn": endpoint.rollout.machine.state_machine_arn,
        "ArtifactsBucket": unit.artifacts.bucket_name,
        "AuditBucket": unit.audit_bucket.bucket_name,
        "HeadsBucket": unit.heads_bucket.bucket_name,
        "PromoteMachineArn": registry.inbox.machine.state_machine_arn,
        "PromotionsTable": registry.inbox.table.table_name,
        "OffersQueue": registry.inbox.queue.queue_url,
        "RecheckRule": registry.inbox.recheck_rule_arn,
    }
    for name, value in outputs.items():
        cdk.CfnOutput(stack, name, value=value)
    app.synth()
    return folder / "assembly"


class Staging:
    """The deployed target, and a source whose objects and events the test writes."""

    def __init__(self, cloud: local_cloud.Cloud, folder: Path) -> None:
        self.cloud = cloud
        self.outputs = deployer.deploy(cloud, synthesize(folder))["Staging"]
        self.loop = Loop(client=cloud.client, outputs=self.outputs, unit=UNIT, now=self.now)
        self.loop.wait_idle("DeployMachineArn")
        self.offers = OfferTable(cloud.client("dynamodb"), self.outputs["PromotionsTable"])
        self.loop.s3.create_bucket(Bucket=SOURCE_BUCKET)
        self.number = 0

    def now(self) -> datetime:
        """Return the cloud's time."""
        return datetime.fromisoformat(self.cloud.clock()["now"])

    def release(self, factor: float, **changes: Any) -> Released:
        """Write a release in the source, whose model multiplies by a factor."""
        self.number += 1
        archive, model_sha256 = models.archive(factor)
        found = release(
            archive=archive,
            model_sha256=model_sha256,
            unit=UNIT,
            model=MODEL,
            source=BUILD.linked,
            bucket=SOURCE_BUCKET,
            execution=f"run-{self.number}",
            version=self.number,
            released_at=self.now().astimezone(UTC).isoformat(),
            **changes,
        )
        for key, content in found.objects.items():
            self.loop.s3.put_object(Bucket=SOURCE_BUCKET, Key=key, Body=content)
        self.put_record(found)
        return found

    def put_record(self, released: Released) -> None:
        """Write the record."""
        self.loop.s3.put_object(Bucket=SOURCE_BUCKET, Key=released.key, Body=released.content)

    def offer(self, released: Released, **changes: Any) -> None:
        """Deliver the event of a release to the guard."""
        sent_by = {"source": f"mlops.{UNIT}", "account": BUILD.account, "region": BUILD.region}
        event = released.event(at=self.now().isoformat(), **{**sent_by, **changes})
        self.cloud.client("sqs").send_message(QueueUrl=self.outputs["OffersQueue"], MessageBody=json.dumps(event))

    def recheck(self) -> None:
        """Deliver the schedule's event."""
        event = {
            "id": "tick",
            "source": "aws.events",
            "detail-type": "Scheduled Event",
            "time": self.now().isoformat(),
            "account": "000000000000",
            "region": "us-east-1",
            "resources": [self.outputs["RecheckRule"]],
            "detail": {},
        }
        self.cloud.client("sqs").send_message(QueueUrl=self.outputs["OffersQueue"], MessageBody=json.dumps(event))

    def checked(self, released: Released, wait_for: Callable[..., Any]) -> str:
        """Run the scheduled check, wait for the next execution of an offer to end, and return its status."""
        before = self.offers.read(released.sha256)
        assert before is not None
        self.recheck()
        arn = execution_arn(
            self.outputs["PromoteMachineArn"], execution_name(replace(before, attempts=before.attempts + 1))
        )

        def ended() -> str:
            status = {each["executionArn"]: each["status"] for each in self.loop.executions("PromoteMachineArn")}.get(
                arn
            )
            return "" if status in (None, "RUNNING") else str(status)

        return str(wait_for(ended))

    def ended(self, seen: set[str], *, error: str | None = None) -> dict[str, Any]:
        """Wait for the next execution of the Promote machine to end, and describe it."""
        return self.loop.wait_execution("PromoteMachineArn", seen, appear=20, finish=60, error=error)

    def seen(self) -> set[str]:
        """Return the Promote executions so far."""
        return {each["executionArn"] for each in self.loop.executions("PromoteMachineArn")}

    def chain(self) -> AuditChain:
        """Open the audit chain of promotions."""
        table = RolloutTable(self.cloud.client("dynamodb"), self.outputs["PromotionsTable"], promotions_chain(GROUP))
        return AuditChain(
            s3=self.loop.s3, bucket=self.outputs["AuditBucket"], table=table, heads=self.outputs["HeadsBucket"]
        )

    def audit(self) -> list[AuditRecord]:
        """Return its records."""
        chain = self.chain()
        return chain.newest(chain.table.read(), 1000)

    def packages(self) -> list[dict[str, Any]]:
        """Return the packages of the target's group, newest first."""
        found = self.loop.sagemaker.list_model_packages(ModelPackageGroupName=GROUP, SortOrder="Descending")
        return list(found["ModelPackageSummaryList"])


@pytest.fixture(scope="module")
def staging(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Staging]:
    """Deploy the target; the tests of this file depend on their order."""
    folder = tmp_path_factory.mktemp("promotion")
    cloud = local_cloud.up(folder / "cloud", clock_scale=60.0)
    try:
        yield Staging(cloud, folder)
    finally:
        cloud.down(forget=True)


def test_a_release_arrives_and_serves(staging: Staging) -> None:
    """Copied, registered with local URIs, approved by policy, and rolled out by the Deploy machine."""
    seen, rollouts = staging.seen(), {each["executionArn"] for each in staging.loop.executions("DeployMachineArn")}
    released = staging.release(3.0)
    staging.offer(released)
    staging.ended(seen)

    (package,) = staging.packages()
    described = staging.loop.sagemaker.describe_model_package(ModelPackageName=package["ModelPackageArn"])
    metadata = described["CustomerMetadataProperties"]
    assert described["ModelApprovalStatus"] == "Approved"
    assert metadata["source_binding"] == released.record.binding
    offer = staging.offers.read(released.sha256)
    assert offer is not None
    assert (offer.state, offer.package) == ("APPROVED", package["ModelPackageArn"])
    staging.loop.wait_execution("DeployMachineArn", rollouts, appear=60, finish=120)
    live = staging.loop.live()
    assert live is not None
    assert (
        live.artifact_uri
        == f"s3://{staging.outputs['ArtifactsBucket']}/models/{GROUP}/{released.record.artifact.sha256}/model.tar.gz"
    )
    assert staging.loop.invoke([{"x": 2.0}], "ask")[0].predictions[0] == pytest.approx(6.0)


def _refused(staging: Staging, released: Released) -> str:
    """Offer a release that must be refused; assert that nothing was promoted and return the reason."""
    seen, before = staging.seen(), staging.packages()
    staging.offer(released)
    ended = staging.ended(seen, error="REFUSED")
    offer = staging.offers.read(released.sha256)
    assert offer is not None
    assert (offer.state, staging.packages()) == ("REFUSED", before)
    assert offer.reason == ended["cause"]
    return offer.reason


def test_a_release_without_its_image_waits_for_it(staging: Staging, wait_for: Callable[..., Any]) -> None:
    """The refusal has digest, account, Region and fix; once the image exists the schedule continues, with one notification."""
    ecr = staging.cloud.client("ecr")
    manifest = json.dumps({"schemaVersion": 2, "layers": [], "made": "for the test"})
    digest = f"sha256:{hashlib.sha256(manifest.encode()).hexdigest()}"
    released = staging.release(6.0, image=digest)
    reason = _refused(staging, released)
    for part in (digest, "registry of 000000000000 in us-east-1", "copy it there by digest"):
        assert part in reason
    offer = staging.offers.read(released.sha256)
    assert offer is not None
    assert offer.is_open
    assert staging.checked(released, wait_for) == "FAILED"
    assert len([each for each in staging.audit() if each.outcome is Outcome.REFUSED and digest in each.reason]) == 1

    with suppress(ecr.exceptions.RepositoryAlreadyExistsException):
        ecr.create_repository(repositoryName="mlops-runtime")
    pushed = ecr.put_image(repositoryName="mlops-runtime", imageManifest=manifest, imageTag="later", imageDigest=digest)
    assert pushed["image"]["imageId"]["imageDigest"] == digest
    assert staging.checked(released, wait_for) == "SUCCEEDED"
    offer = staging.offers.read(released.sha256)
    assert offer is not None
    assert offer.state == "APPROVED"


def test_a_model_that_was_here_before_is_left_for_a_person(staging: Staging) -> None:
    """It may have been rolled back; a person may approve it, as the second approver."""
    seen, rollouts = staging.seen(), {each["executionArn"] for each in staging.loop.executions("DeployMachineArn")}
    released = staging.release(3.0)
    staging.offer(released)
    staging.ended(seen)
    offer = staging.offers.read(released.sha256)
    assert offer is not None
    assert offer.state == "REGISTERED"
    assert "this model was taken before" in offer.reason
    described = staging.loop.sagemaker.describe_model_package(ModelPackageName=offer.package)
    assert described["ModelApprovalStatus"] == "PendingManualApproval"
    staging.loop.approve(offer.package, "it is the right one after all")
    staging.loop.wait_execution("DeployMachineArn", rollouts, appear=60, finish=120, package=offer.package)
    live = staging.loop.live()
    assert live is not None
    assert live.model_package_arn == offer.package


@pytest.mark.parametrize(
    "state",
    [
        "Read",
        "Plan",
        "FindImage",
        "CopyEach",
        "Keep",
        "AskAgain",
        "Register",
        "Decide",
        "Approve",
        "Record",
        "Announce",
    ],
)
def test_an_execution_that_dies_is_gone_on_with(staging: Staging, state: str, wait_for: Callable[..., Any]) -> None:
    """Stopped between any two states, the group has the whole release or none, and after the next check all of it, once."""
    seen, before = staging.seen(), len(staging.packages())
    staging.offer(released := staging.release(20.0 + staging.number))
    machines = staging.cloud.client("stepfunctions")
    (arn,) = wait_for(lambda: staging.seen() - seen)

    def entered() -> bool:
        history = machines.get_execution_history(executionArn=arn, maxResults=1000)["events"]
        return any(each.get("stateEnteredEventDetails", {}).get("name") == state for each in history)

    wait_for(entered)
    with suppress(machines.exceptions.ClientError):  # in the last states it ended by itself
        machines.stop_execution(executionArn=arn, error="Stopped", cause="a test")
    assert wait_for(lambda: machines.describe_execution(executionArn=arn)["status"] != "RUNNING")
    held = staging.packages()[: len(staging.packages()) - before]
    assert len(held) <= 1
    for each in held:
        described = staging.loop.sagemaker.describe_model_package(ModelPackageName=each["ModelPackageArn"])
        assert read_package(described).spec.source_binding == released.record.binding
    offer = staging.offers.read(released.sha256)
    assert offer is not None
    if offer.is_open:
        staging.recheck()

    def is_approved() -> bool:  # by the next execution, or by the function that the stopped one had invoked
        found = staging.offers.read(released.sha256)
        return found is not None and found.state == "APPROVED"

    assert wait_for(is_approved)
    assert len(staging.packages()) == before + 1
    offer = staging.offers.read(released.sha256)
    assert offer is not None
    assert (offer.state, offer.package) == ("APPROVED", staging.packages()[0]["ModelPackageArn"])


def test_the_chain_of_promotions_is_whole(staging: Staging) -> None:
    """It contains every outcome, signed, with the source's record for registrations."""
    records = staging.audit()
    registered = [each for each in records if each.outcome is Outcome.REGISTERED]
    assert {each.source_record for each in registered} == {"a" * 64}
    assert {each.outcome for each in records} == {Outcome.REGISTERED, Outcome.REFUSED}
    assert staging.chain().problems() == []
