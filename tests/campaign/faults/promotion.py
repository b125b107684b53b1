"""Two deployed accounts for the cells of the Release and the Promote machine, and the invariant after each.

Each cell approves a model in the source under the fault. Then an hour passes in which only the schedules of both sides run.
"""

import hashlib
import json
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import aws_cdk as cdk
from tests.campaign.faults.cells import Cell, promotion_cells
from tests.campaign.faults.control import put_faults
from tests.released import Released, release

from mlops_constructs import Approval, BusinessUnit, Environment, ModelRegistry, Profile
from mlops_constructs._state_machine import tasks
from mlops_local.cloud import Cloud
from mlops_local.stacks import deployer
from mlops_runtime.business_unit.deployed_chain import open_chain, public_key_of
from mlops_runtime.business_unit.deployed_entries import Entries
from mlops_runtime.contracts.rollout import AuditRecord, Outcome
from mlops_runtime.promotion.environment_link import promotions_chain, release_chain
from mlops_runtime.promotion.offer_table import Offer, OfferTable
from mlops_runtime.registry.model_package import read_package
from mlops_runtime.registry.package_registry import Approver

UNIT, MODEL = "outlet", "price"
GROUP = f"{UNIT}-{MODEL}"
BUILD = Environment("build", account="111111111111", region="us-east-1")
STAGING = Environment("staging", account="222222222222", region="us-east-1")
HOUR = timedelta(minutes=61)


def synthesize(folder: Path) -> Path:
    """Synthesize a registry that releases approved packages, and one that accepts them by policy; without an endpoint."""
    app = cdk.App(outdir=str(folder / "assembly"))
    build = cdk.Stack(app, "Build", env=BUILD.cdk)
    unit = BusinessUnit(build, "Unit", name=UNIT, profile=Profile.DEVELOPMENT)
    registry = ModelRegistry(build, "Registry", business_unit=unit, name=MODEL, deploy_to=[STAGING])
    releasing: Any = registry.node.find_child("Release")
    outputs = {
        "ArtifactsBucket": unit.artifacts.bucket_name,
        "ApproverRoleArn": registry.approver_role.role_arn,
        "Bus": unit.bus.event_bus_name,
        "Machine": releasing.machine.state_machine_arn,
        "Queue": releasing.queue.queue_url,
    }
    for name, value in outputs.items():
        cdk.CfnOutput(build, name, value=value)
    staging = cdk.Stack(app, "Staging", env=STAGING.cdk)
    unit = BusinessUnit(staging, "Unit", name=UNIT, profile=Profile.DEVELOPMENT)
    registry = ModelRegistry.from_environment(
        staging, "Registry", business_unit=unit, name=MODEL, source=BUILD, approval=Approval.automatic()
    )
    assert registry.inbox is not None
    outputs = {
        "ArtifactsBucket": unit.artifacts.bucket_name,
        "AutomationTable": unit.automation_table.table_name,
        "Bus": unit.bus.event_bus_name,
        "Machine": registry.inbox.machine.state_machine_arn,
        "Queue": registry.inbox.queue.queue_url,
        "PromotionsTable": registry.inbox.table.table_name,
    }
    for name, value in outputs.items():
        cdk.CfnOutput(staging, name, value=value)
    app.synth()
    return folder / "assembly"


class Side:
    """One account: its clients, machine, queue and chain."""

    def __init__(self, cloud: Cloud, environment: Environment, outputs: dict[str, str], chain: str) -> None:
        place = cloud.at(environment.account, environment.region)
        self.client: Callable[[str], Any] = place.client
        self.account, self.outputs = environment.account, outputs
        self.s3, self.sagemaker = self.client("s3"), self.client("sagemaker")
        self._machines, self._queues = self.client("stepfunctions"), self.client("sqs")
        entry = Entries(ssm=self.client("ssm")).chain(chain)
        self._chain, self._key = open_chain(self.client, entry), public_key_of(self.client, entry)

    def tasks(self) -> dict[str, tuple[str, str]]:
        """Return the integration of each task of the machine, and the arguments that identify its calls among both accounts."""
        machine = self._machines.describe_state_machine(stateMachineArn=self.outputs["Machine"])
        found = {}
        for name, state in tasks(json.loads(machine["definition"])):
            call = str(state["Resource"]).partition(":::")[2].removeprefix("aws-sdk:")
            owner = {"events": self.outputs["Bus"], "lambda": self.account, "sns": self.account}
            found[name] = (call, owner.get(call.partition(":")[0], ""))
        return found

    def executions(self) -> dict[str, str]:
        """Return the status of every execution by ARN."""
        pages = self._machines.get_paginator("list_executions").paginate(stateMachineArn=self.outputs["Machine"])
        return {each["executionArn"]: each["status"] for page in pages for each in page["executions"]}

    def is_idle(self) -> bool:
        """Whether nothing runs and the queue is empty."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        waiting = self._queues.get_queue_attributes(QueueUrl=self.outputs["Queue"], AttributeNames=names)["Attributes"]
        return not any(int(waiting[name]) for name in names) and "RUNNING" not in self.executions().values()

    def digest(self, key: str) -> str | None:
        """Return the SHA-256 of an object of the artifacts bucket; None if it is missing."""
        try:
            answer = self.s3.get_object(Bucket=self.outputs["ArtifactsBucket"], Key=key)
        except self.s3.exceptions.NoSuchKey:
            return None
        return hashlib.sha256(answer["Body"].read()).hexdigest()

    def audit(self) -> list[AuditRecord]:
        """Return the records of the chain."""
        return self._chain.newest(self._chain.table.read(), 1000)

    def audit_problems(self) -> list[str]:
        """Return the problems of the chain against its row, heads and key."""
        return self._chain.problems(self._key.is_signed)


class PromotionFaults:
    """Both accounts, and the faults of their cloud.

    Args:
        cloud: The embedded cloud, with three accounts.
        folder: Folder of the assembly.
    """

    # conditions under which a task is entered; the other tasks have none
    WAYS: ClassVar = {
        ("release", "AnnounceRefusal"): "unproven",
        ("release", "TellPeople"): "unproven",
        ("promote", "TellPeople"): "paused",
        ("promote", "TellRefusal"): "imageless",
    }

    def __init__(self, cloud: Cloud, folder: Path) -> None:
        outputs = deployer.deploy(cloud, synthesize(folder))
        self.cloud, self.number = cloud, 0
        self.build = Side(cloud, BUILD, outputs["Build"], release_chain(GROUP))
        self.staging = Side(cloud, STAGING, outputs["Staging"], promotions_chain(GROUP))
        self.sides = {"release": self.build, "promote": self.staging}
        self.offers = OfferTable(self.staging.client("dynamodb"), self.staging.outputs["PromotionsTable"])
        self.staging.client("ecr").create_repository(repositoryName="mlops-runtime")
        self.image = self._push("the first")
        released = self._approve("", self.image)
        self._rest()
        problems = [*self._problems(released), *self._problems_at_the_end("", released)]
        assert problems == [], problems

    def cells(self) -> list[Cell]:
        """Return every cell of both machines."""
        found = {}
        for machine, side in self.sides.items():
            found |= {(machine, name): of for name, of in side.tasks().items()}
        return promotion_cells(found)

    def run(self, cell: Cell) -> dict[str, Any]:
        """Approve a model under the cell's fault, then let the schedules run; return the problems and the met faults."""
        started, way = time.monotonic(), self.WAYS.get((cell.mode, cell.state), "")
        self._pause(is_paused=way == "paused")
        image = self._digest_of(f"image {self.number}") if way == "imageless" else self.image
        put_faults(self.cloud, cell.fault())
        released = self._approve(way, image)
        self._rest()
        met = put_faults(self.cloud)
        offer = self._offer(released)
        problems = self._problems(released)
        if way == "imageless":
            self._push(f"image {self.number - 1}")
        if way == "unproven":
            self._lay_down(released)
        for _ in range(3):  # a release and its promotion may need an hour each
            if not self._problems_at_the_end(way, released):
                break
            self.cloud.clock_jump(by=HOUR)
            self._rest()
        problems += [f"at the end: {each}" for each in self._problems(released)]
        problems += [f"at the end: {each}" for each in self._problems_at_the_end(way, released)]
        self._pause(is_paused=False)
        return cell.as_dict() | {
            "problems": problems,
            "met": met[0]["met"] if met else 0,
            "outcome": "not offered" if offer is None else offer.state,
            "seconds": round(time.monotonic() - started, 1),
        }

    def _problems(self, released: Released) -> list[str]:
        """The target has the whole release or none, the source announced only recorded releases, and both chains are valid."""
        packages, problems = self._packages(released), []
        if len(packages) > 1:
            problems.append(f"{len(packages)} packages of one release")
        record, keys = released.record, self._kept(released)
        for name, (key, sha256) in keys.items():
            digest = self.staging.digest(key)
            if digest not in (None, sha256):
                problems.append(f"{key} has other bytes than the {name} of the release")
            if packages and digest is None:
                problems.append(f"a package without its {name}")
        for described in packages:
            spec = read_package(described).spec
            if (spec.artifact_sha256, spec.source_package) != (
                record.package.artifact_sha256,
                released.description["ModelPackageArn"],
            ):
                problems.append(f"{described['ModelPackageArn']} is not what was released")
        is_written = self.build.digest(released.key) is not None
        recorded = [each for each in self.build.audit() if self._is_release(each, released)]
        if len(recorded) > 1 or (is_written and not recorded):
            problems.append(f"{len(recorded)} audit records of a release that is {'' if is_written else 'not '}written")
        for name, side in (("source", self.build), ("target", self.staging)):
            problems += [f"chain of the {name}: {each}" for each in side.audit_problems()]
        return problems

    def _problems_at_the_end(self, way: str, released: Released) -> list[str]:
        """The release arrived once: one package, approved unless automation is paused, recorded on both sides."""
        packages, offer = self._packages(released), self._offer(released)
        if not packages or offer is None:
            return ["the release never arrived"]
        status, state = ("PendingManualApproval", "REGISTERED") if way == "paused" else ("Approved", "APPROVED")
        found = [(each["ModelPackageArn"], each["ModelApprovalStatus"]) for each in packages]
        problems = [] if found == [(offer.package, status)] else [f"packages are {found}, offered was {offer.package}"]
        problems += [] if offer.state == state else [f"the offer is {offer.state}: {offer.reason}"]
        recorded = [
            each
            for each in self.staging.audit()
            if each.outcome is Outcome.REGISTERED and each.candidate_package == packages[0]["ModelPackageArn"]
        ]
        problems += [] if len(recorded) == 1 else [f"{len(recorded)} audit records of the promotion"]
        return problems

    def _approve(self, way: str, image: str) -> Released:
        """Register a model as a gate does, and approve it as a person does."""
        self.number += 1
        content = f"archive {self.number}".encode()
        released = release(
            archive=content,
            model_sha256=hashlib.sha256(b"model of " + content).hexdigest(),
            unit=UNIT,
            model=MODEL,
            source=BUILD.linked,
            bucket=self.build.outputs["ArtifactsBucket"],
            execution=f"run-{self.number}",
            version=self.number,
            image=image,
            is_signed=False,
        )
        self._lay_down(released, is_proven=way != "unproven")
        sagemaker = self.build.sagemaker
        arn = sagemaker.create_model_package(**released.request)["ModelPackageArn"]
        assert arn == released.description["ModelPackageArn"]
        approver = Approver.in_role(
            sts=self.build.client("sts"),
            sagemaker=sagemaker,
            role=self.build.outputs["ApproverRoleArn"],
            caller=f"arn:aws:iam::{BUILD.account}:user/ann",
        )
        seen = self.build.executions()
        approver.approve(sagemaker.describe_model_package(ModelPackageName=arn), reason="better everywhere")
        self._until(lambda: self.build.executions().keys() - seen.keys(), "no release of what was approved began")
        return released

    def _lay_down(self, released: Released, *, is_proven: bool = True) -> None:
        """Write the objects of a package; unproven ones lack S3's checksum."""
        proof = {"ChecksumAlgorithm": "SHA256" if is_proven else "CRC32"}
        for key, content in released.objects.items():
            self.build.s3.put_object(Bucket=released.bucket, Key=key, Body=content, **proof)

    def _packages(self, released: Released) -> list[dict[str, Any]]:
        """Return the target's packages of a release, as its registry describes them."""
        sagemaker, found = self.staging.sagemaker, []
        listed = sagemaker.list_model_packages(ModelPackageGroupName=GROUP, SortOrder="Descending", MaxResults=5)
        for each in listed["ModelPackageSummaryList"]:
            described = sagemaker.describe_model_package(ModelPackageName=each["ModelPackageArn"])
            if described["CustomerMetadataProperties"]["source_binding"] == released.record.binding:
                found.append(described)
        return found

    def _offer(self, released: Released) -> Offer | None:
        """Return the result of a release in the target; None if no event of it arrived."""
        return next((each for each in self.offers.offers() if each.record_uri == released.uri), None)

    @staticmethod
    def _kept(released: Released) -> dict[str, tuple[str, str]]:
        """Return where the target stores each object, and its hash."""
        record = released.record
        assert record.gate is not None
        folder = f"evaluations/{GROUP}/{record.binding}"
        return {
            "artifact": (f"models/{GROUP}/{record.artifact.sha256}/model.tar.gz", record.artifact.sha256),
            "evaluation": (f"{folder}/evaluation.json", record.evaluation.sha256),
            "baseline": (f"{folder}/baseline.json", record.baseline.sha256),
            "gate": (f"gates/{GROUP}/{record.binding}.json", record.gate.sha256),
        }

    @staticmethod
    def _is_release(record: AuditRecord, released: Released) -> bool:
        return record.outcome is Outcome.RELEASED and record.container_sha256 == released.record.binding

    def _push(self, content: str) -> str:
        """Push an image to the target's registry, and return its digest."""
        digest, manifest = self._digest_of(content), self._manifest(content)
        names = {"repositoryName": "mlops-runtime", "imageTag": digest[-8:], "imageDigest": digest}
        self.staging.client("ecr").put_image(imageManifest=manifest, **names)
        return digest

    def _digest_of(self, content: str) -> str:
        return f"sha256:{hashlib.sha256(self._manifest(content).encode()).hexdigest()}"

    @staticmethod
    def _manifest(content: str) -> str:
        return json.dumps({"schemaVersion": 2, "layers": [], "made": content})

    def _pause(self, *, is_paused: bool) -> None:
        """Pause or resume the target in its row."""
        now = datetime.fromisoformat(self.cloud.clock()["now"]).isoformat()
        state = {"is_paused": is_paused, "by": "ann", "at": now, "reason": "stocktaking"}
        self.staging.client("dynamodb").update_item(
            TableName=self.staging.outputs["AutomationTable"],
            Key={"endpoint": {"S": UNIT}},
            UpdateExpression="SET pause = :pause",
            ExpressionAttributeValues={":pause": {"S": json.dumps(state)}},
        )

    def _rest(self) -> None:
        """Wait until nothing runs or waits on either side, three times in a row, because events take time in between."""
        seen, deadline = 0, time.monotonic() + 120
        while seen < 3:
            assert time.monotonic() < deadline, "an execution or a message did not end"
            seen = seen + 1 if self.build.is_idle() and self.staging.is_idle() else 0
            time.sleep(0.1)

    @staticmethod
    def _until(look: Callable[[], Any], otherwise: str) -> None:
        deadline = time.monotonic() + 60
        while not look():
            assert time.monotonic() < deadline, otherwise
            time.sleep(0.05)
