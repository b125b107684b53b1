"""Deployed accounts of a promotion chain: a model is registered and approved in one and offered to the others."""

from datetime import datetime
from typing import Any

from examples.retail.loop import Loop
from tests.examples import models
from tests.released import release
from tests.topic_queue import subscribe_queue

from mlops_constructs import Environment
from mlops_local.cloud import Cloud
from mlops_runtime.contracts import from_json
from mlops_runtime.contracts.release import ReleaseRecord
from mlops_runtime.promotion.downstream_table import DownstreamTable
from mlops_runtime.promotion.offer_table import Offer, OfferTable
from mlops_runtime.registry.package_registry import Approver


class LinkedAccounts:
    """Deployed stacks, each named as its environment.

    Args:
        cloud: The embedded cloud.
        unit: The unit of all stacks.
        model: The model of their registries.
    """

    def __init__(self, cloud: Cloud, *, unit: str, model: str) -> None:
        self.cloud, self.unit, self.model, self.group = cloud, unit, model, f"{unit}-{model}"
        self.outputs: dict[str, dict[str, str]] = {}
        self.number = 0

    def now(self) -> datetime:
        """Return the cloud's time."""
        return datetime.fromisoformat(self.cloud.clock()["now"])

    def client(self, environment: Environment, service: str) -> Any:
        """Return a client of one account and Region."""
        return self.cloud.at(environment.account, environment.region).client(service)

    def output(self, environment: Environment, name: str) -> str:
        """Return an output of the stack of an environment."""
        return self.outputs[environment.name.capitalize()][name]

    def loop(self, environment: Environment) -> Loop:
        """Return the loop of a serving stack once it is idle."""
        client = self.cloud.at(environment.account, environment.region).client
        loop = Loop(client=client, outputs=self.outputs[environment.name.capitalize()], unit=self.unit, now=self.now)
        loop.wait_idle("DeployMachineArn")
        return loop

    def approve(self, environment: Environment, factor: float, *, image: str = models.DIGEST) -> str:
        """Register a model as after a passed gate, approve it as a person does, and return its package.

        Args:
            environment: The training environment.
            factor: The model's factor.
            image: Digest of its image.
        """
        self.number += 1
        archive, model_sha256 = models.archive(factor)
        found = release(
            archive=archive,
            model_sha256=model_sha256,
            unit=self.unit,
            model=self.model,
            source=environment.linked,
            bucket=self.output(environment, "ArtifactsBucket"),
            execution=f"run-{self.number}",
            is_signed=False,
            image=image,
        )
        s3, sagemaker = self.client(environment, "s3"), self.client(environment, "sagemaker")
        for key, content in found.objects.items():
            s3.put_object(Bucket=found.bucket, Key=key, Body=content, ChecksumAlgorithm="SHA256")
        arn = str(sagemaker.create_model_package(**found.request)["ModelPackageArn"])
        approver = Approver.in_role(
            sts=self.client(environment, "sts"),
            sagemaker=sagemaker,
            role=self.output(environment, "ApproverRoleArn"),
            caller=f"arn:aws:iam::{environment.account}:user/ann",
        )
        approver.approve(sagemaker.describe_model_package(ModelPackageName=arn), reason="better everywhere")
        return arn

    def released(self, environment: Environment, package: str) -> ReleaseRecord | None:
        """Wait for the release of an environment's package and return it."""
        s3, bucket = self.client(environment, "s3"), self.output(environment, "ArtifactsBucket")
        for each in s3.list_objects_v2(Bucket=bucket, Prefix=f"releases/{self.group}/").get("Contents", []):
            record = from_json(ReleaseRecord, s3.get_object(Bucket=bucket, Key=each["Key"])["Body"].read())
            if record.package.package_arn == package:
                return record
        return None

    def offers(self, environment: Environment) -> list[Offer]:
        """Return all offers to an environment."""
        table = self.output(environment, "PromotionsTable")
        return list(OfferTable(self.client(environment, "dynamodb"), table).offers())

    def offer(self, environment: Environment, record: ReleaseRecord) -> Offer | None:
        """Return the outcome of a release in a target environment; None until it is decided."""
        found = [each for each in self.offers(environment) if each.record_uri.endswith(f"/{record.binding}.json")]
        return next((each for each in found if each.state != "OFFERED"), None)

    def downstream(self, source: Environment) -> DownstreamTable:
        """Return an account's view of the models that its targets serve."""
        return DownstreamTable(self.client(source, "dynamodb"), self.output(source, "AutomationTable"), self.group)

    def hear(self, environment: Environment) -> str:
        """Subscribe a new queue to the unit's topic of an account, and return its URL."""
        sqs, sns = self.client(environment, "sqs"), self.client(environment, "sns")
        return subscribe_queue(sqs, sns, self.output(environment, "Topic"), "people")


def served(loop: Loop, package: str) -> bool:
    """Return whether a package is live and its rollout has ended."""
    live = loop.live()
    return live is not None and live.model_package_arn == package and loop.lock_owner() is None
