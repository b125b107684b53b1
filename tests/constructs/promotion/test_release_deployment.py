"""Releases on the embedded cloud with IAM enforced: an approval becomes a record and an event, or a named refusal."""

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_sns_subscriptions as subscriptions
from aws_cdk import aws_sqs as sqs
from tests.passed import EVALUATION

from mlops_constructs import Approval, BusinessUnit, Environment, ModelRegistry, Profile
from mlops_local.stacks import deployer
from mlops_runtime.business_unit.deployed_chain import open_chain, public_key_of
from mlops_runtime.business_unit.deployed_entries import Entries, NotDeployedError
from mlops_runtime.contracts import canonical_json, from_json
from mlops_runtime.contracts.model import GateResult, GateVerdict, ModelPackageSpec
from mlops_runtime.contracts.release import ReleaseRecord
from mlops_runtime.contracts.rollout import AuditRecord, Outcome
from mlops_runtime.registry.model_package import package_request, registered_metadata
from mlops_runtime.registry.package_registry import Approver

if TYPE_CHECKING:
    from mlops_local.cloud import Cloud

pytestmark = pytest.mark.cloud
BUILD = Environment("build", account="111111111111", region="us-east-1")
STAGING = Environment("staging", account="222222222222", region="us-east-1")
GROUP = "offered-forecast"
MANIFEST = json.dumps({"schemaVersion": 2, "layers": [], "made": "for releases"})
IMAGE = f"sha256:{hashlib.sha256(MANIFEST.encode()).hexdigest()}"
_SECONDS = 60


def _assembly(folder: Path) -> Path:
    app = cdk.App(outdir=str(folder / "cdk.out"))
    stack = cdk.Stack(app, "Offered", env=BUILD.cdk)
    unit = BusinessUnit(stack, "Unit", name="offered", profile=Profile.DEVELOPMENT)
    registry = ModelRegistry(stack, "Registry", business_unit=unit, name="forecast", deploy_to=[STAGING])
    # without encryption: the test reads the stored objects
    people, received = sqs.Queue(stack, "People"), sqs.Queue(stack, "Heard")
    unit.topic.add_subscription(subscriptions.SqsSubscription(people, raw_message_delivery=True))
    pattern = events.EventPattern(source=["mlops.offered"], detail_type=["MLOps Model Released"])
    events.Rule(stack, "Hears", event_bus=unit.bus, event_pattern=pattern).add_target(targets.SqsQueue(received))
    release: Any = registry.node.find_child("Release")
    outputs = {
        "People": people.queue_url,
        "Heard": received.queue_url,
        "Machine": release.machine.state_machine_arn,
        "Queue": release.queue.queue_url,
        "Artifacts": unit.artifacts.bucket_name,
        "Audit": unit.audit_bucket.bucket_name,
        "Table": unit.automation_table.table_name,
        "Approver": registry.approver_role.role_arn,
        "RecordRole": release.node.find_child("RecordRole").role_name,
        "MachineRole": release.node.find_child("MachineRole").role_name,
        "Recheck": release.node.find_child("Recheck").rule_name,
    }
    for name, value in outputs.items():
        cdk.CfnOutput(stack, f"{name}Output", value=value)
    taking = cdk.Stack(app, "Taken", env=STAGING.cdk)
    own = BusinessUnit(taking, "Unit", name="offered", profile=Profile.DEVELOPMENT)
    taken = ModelRegistry.from_environment(
        taking, "Registry", business_unit=own, name="forecast", source=BUILD, approval=Approval.automatic()
    )
    rules = (each for each in taken.node.find_all() if isinstance(each, events.Rule) and each.node.id == "Recheck")
    cdk.CfnOutput(taking, "RecheckOutput", value=next(rules).rule_name)
    app.synth()
    return folder / "cdk.out"


@dataclass
class Offered:
    """The deployed stack, and packages to release."""

    cloud: "Cloud"
    outputs: dict[str, str]
    number: int = 0
    events: list[dict[str, Any]] = field(default_factory=list)

    def client(self, service: str) -> Any:
        """Return a client of the build account's root user."""
        return self.cloud.at(BUILD.account, BUILD.region).client(service)

    def staging(self, service: str) -> Any:
        """Return a client of the other account's root user."""
        return self.cloud.at(STAGING.account, STAGING.region).client(service)

    def arrived(self, package: ModelPackageSpec) -> list[dict[str, Any]]:
        """Return the packages of the other account with the same archive."""
        client = self.staging("sagemaker")
        found = client.list_model_packages(ModelPackageGroupName=GROUP)["ModelPackageSummaryList"]
        described = [client.describe_model_package(ModelPackageName=each["ModelPackageArn"]) for each in found]
        return [d for d in described if d["CustomerMetadataProperties"]["artifact_sha256"] == package.artifact_sha256]

    def register(self) -> ModelPackageSpec:
        """Write the files of a retraining and register its package."""
        self.number += 1
        name, bucket = f"run-{self.number}", self.outputs["Artifacts"]
        prefix = f"s3://{bucket}/evaluations/{GROUP}/{name}"
        contents = {part: f"{part} of {name}".encode() for part in ("archive", "baseline")}
        digests = {part: hashlib.sha256(content).hexdigest() for part, content in contents.items()}
        evaluation = replace(
            EVALUATION,
            artifact_sha256=digests["archive"],
            # unique, as a model known before is left to a person
            model_sha256=hashlib.sha256(name.encode()).hexdigest(),
            baseline_uri=f"{prefix}/baseline.json",
            baseline_sha256=digests["baseline"],
        )
        contents["evaluation"] = canonical_json(evaluation)
        digests["evaluation"] = hashlib.sha256(contents["evaluation"]).hexdigest()
        spec = ModelPackageSpec(
            group=GROUP,
            image=f"{BUILD.account}.dkr.ecr.us-east-1.amazonaws.com/mlops-runtime@{IMAGE}",
            artifact_uri=f"s3://{bucket}/models/{GROUP}/{name}/model.tar.gz",
            artifact_sha256=digests["archive"],
            model_sha256=evaluation.model_sha256,
            training_set_id=evaluation.training_set_id,
            execution=f"arn:aws:states:us-east-1:{BUILD.account}:execution:Retrain:{name}",
            baseline_uri=f"{prefix}/baseline.json",
            baseline_sha256=digests["baseline"],
            evaluation_uri=f"{prefix}/evaluation.json",
        )
        gate = GateResult(
            verdict=GateVerdict.PASSED,
            checks=(),
            evaluation_uri=spec.evaluation_uri,
            evaluation_sha256=digests["evaluation"],
            reason="better",
        )
        self.put(spec.artifact_uri, contents["archive"], ChecksumAlgorithm="SHA256")
        self.put(spec.evaluation_uri, contents["evaluation"])
        self.put(spec.baseline_uri, contents["baseline"])
        self.put(f"s3://{bucket}/gates/{GROUP}/{name}.json", canonical_json(gate))
        request: dict[str, Any] = package_request(spec)
        metadata = request["CustomerMetadataProperties"] | {"evaluation_sha256": digests["evaluation"]}
        container = request["InferenceSpecification"]["Containers"][0]
        request["CustomerMetadataProperties"] = registered_metadata(container, metadata)
        arn = self.client("sagemaker").create_model_package(**request)["ModelPackageArn"]
        return replace(spec, package_arn=arn)

    def put(self, uri: str, content: bytes, **arguments: Any) -> None:
        """Write an object."""
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        self.client("s3").put_object(Bucket=bucket, Key=key, Body=content, **arguments)

    def approve(self, package: ModelPackageSpec) -> None:
        """Approve a package as a person does."""
        sagemaker = self.client("sagemaker")
        caller = f"arn:aws:iam::{BUILD.account}:user/ann"
        role = self.outputs["Approver"]
        approver = Approver.in_role(sts=self.client("sts"), sagemaker=sagemaker, role=role, caller=caller)
        described = sagemaker.describe_model_package(ModelPackageName=package.package_arn)
        approver.approve(described, reason="better everywhere")

    def executions(self, package: ModelPackageSpec) -> list[dict[str, Any]]:
        """Return the completed executions about a package, oldest first."""
        machine, client = self.outputs["Machine"], self.client("stepfunctions")
        arns = [e["executionArn"] for e in client.list_executions(stateMachineArn=machine)["executions"]]
        described = [client.describe_execution(executionArn=arn) for arn in arns]
        about = [each for each in described if json.loads(each["input"])["package_arn"] == package.package_arn]
        assert all(each["status"] != "TIMED_OUT" for each in about)
        return sorted((e for e in about if e["status"] != "RUNNING"), key=lambda e: str(e["startDate"]))

    def started(self, package: ModelPackageSpec) -> list[str]:
        """Return the ARNs of all executions about a package."""
        machine, client = self.outputs["Machine"], self.client("stepfunctions")
        arns = [e["executionArn"] for e in client.list_executions(stateMachineArn=machine)["executions"]]
        inputs = {arn: json.loads(client.describe_execution(executionArn=arn)["input"]) for arn in arns}
        return [arn for arn, given in inputs.items() if given["package_arn"] == package.package_arn]

    def failures(self, execution: str) -> list[dict[str, Any]]:
        """Return the failed tasks of an execution."""
        found = self.client("stepfunctions").get_execution_history(executionArn=execution)["events"]
        return [each for each in found if each["type"] in ("TaskFailed", "LambdaFunctionFailed")]

    def deny(self, role: str, action: str) -> Callable[[], None]:
        """Deny a role an action on released objects; return a function that removes the denial."""
        iam, name = self.client("iam"), self.outputs[role]
        objects = f"arn:aws:s3:::{self.outputs['Artifacts']}/*" if action.startswith("s3:") else "*"
        statement = {"Effect": "Deny", "Action": action, "Resource": objects}
        document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        iam.put_role_policy(RoleName=name, PolicyName="Denied", PolicyDocument=document)
        return lambda: iam.delete_role_policy(RoleName=name, PolicyName="Denied")

    def until(self, holds: Callable[[], Any]) -> Any:
        """Wait for a condition and return its value."""
        pause = threading.Event()
        for _ in range(_SECONDS * 5):
            if found := holds():
                return found
            pause.wait(0.2)
        raise AssertionError(f"it did not hold in {_SECONDS} s")

    def recheck(self) -> None:
        """Run the schedule's check again."""
        self.cloud.clock_jump(by=timedelta(minutes=61))

    def objects(self, bucket: str, prefix: str) -> dict[str, bytes]:
        """Return the objects below a prefix."""
        s3 = self.client("s3")
        found = s3.list_objects_v2(Bucket=self.outputs[bucket], Prefix=prefix).get("Contents", [])
        return {
            each["Key"]: s3.get_object(Bucket=self.outputs[bucket], Key=each["Key"])["Body"].read() for each in found
        }

    def record(self, package: ModelPackageSpec) -> ReleaseRecord | None:
        """Return the release of a package."""
        records = [from_json(ReleaseRecord, content) for content in self.objects("Artifacts", "releases/").values()]
        return next((each for each in records if each.package == package), None)

    def audit(self, package: ModelPackageSpec) -> list[AuditRecord]:
        """Return the audit records about a package, oldest first."""
        found = self.objects("Audit", f"audit/{GROUP}.releases/")
        records = [from_json(AuditRecord, found[key]) for key in sorted(found) if not key.endswith(".seal.json")]
        return [record for record in records if record.candidate_package == package.package_arn]

    def messages(self, queue: str) -> list[str]:
        """Return the messages of a queue since the last call."""
        sqs_client, url, found = self.client("sqs"), self.outputs[queue], []
        while batch := sqs_client.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            for message in batch:
                found.append(message["Body"])
                sqs_client.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return found

    def received_events(self, package: ModelPackageSpec, outcome: str) -> list[dict[str, Any]]:
        """Return the details of all events with an outcome about a package."""
        self.events += [json.loads(body)["detail"] for body in self.messages("Heard")]
        record = self.record(package)
        binding = "none" if record is None else record.binding
        return [
            each
            for each in self.events
            if each["outcome"] == outcome
            and (
                each["attributes"].get("package") == package.package_arn
                or binding in each["attributes"].get("record_uri", "")
            )
        ]

    def pause(self, is_paused: bool) -> None:
        """Pause or resume the unit through its row."""
        state = {"is_paused": is_paused, "by": "ann", "at": "2017-08-01T09:00:00Z", "reason": "incident"}
        self.client("dynamodb").update_item(
            TableName=self.outputs["Table"],
            Key={"endpoint": {"S": "offered"}},
            UpdateExpression="SET pause = :pause",
            ExpressionAttributeValues={":pause": {"S": json.dumps(state)}},
        )


@pytest.fixture(scope="module")
def offered(cloud: "Cloud", tmp_path_factory: pytest.TempPathFactory) -> Iterator[Offered]:
    """Deploy it once and destroy it afterwards: its schedule would slow down clock jumps of other tests."""
    found = deployer.deploy(cloud, _assembly(tmp_path_factory.mktemp("offered")))
    made = Offered(cloud, {name.removesuffix("Output"): value for name, value in found["Offered"].items()})
    yield made
    made.client("events").disable_rule(Name=made.outputs["Recheck"])
    made.staging("events").disable_rule(Name=found["Taken"]["RecheckOutput"])


def test_an_approval_is_released_recorded_and_announced_once(offered: Offered) -> None:
    """Roles have minimal permissions; a second delivery of the event changes nothing."""
    package = offered.register()
    offered.approve(package)
    (execution,) = offered.until(lambda: offered.executions(package))

    assert (execution["status"], json.loads(execution["output"])["outcome"]) == ("SUCCEEDED", "RELEASED")
    record = offered.record(package)
    assert record is not None
    (audited,) = offered.audit(package)
    assert (audited.outcome, audited.sequence) == (Outcome.RELEASED, record.audit_sequence)
    assert record.approved_by.endswith("/ann")
    (event,) = offered.until(lambda: offered.received_events(package, "RELEASED"))
    key = f"releases/{GROUP}/{record.binding}.json"
    content = offered.objects("Artifacts", key)[key]
    assert event["id"] == event["attributes"]["record_sha256"] == hashlib.sha256(content).hexdigest()

    offered.recheck()
    again = offered.until(lambda: len(offered.executions(package)) == 2 and offered.executions(package)[1])
    assert again["status"] == "SUCCEEDED"
    assert offered.objects("Artifacts", key)[key] == content
    assert offered.audit(package) == [audited]
    assert {each["id"] for each in offered.until(lambda: offered.received_events(package, "RELEASED"))} == {event["id"]}


def test_what_is_approved_here_arrives_approved_in_the_other_account(offered: Offered) -> None:
    """IAM evaluates both sides of every call: release, event, copies under the other account's key, registration by policy."""
    ecr = offered.staging("ecr")
    with suppress(ecr.exceptions.RepositoryAlreadyExistsException):
        ecr.create_repository(repositoryName="mlops-runtime")
    ecr.put_image(repositoryName="mlops-runtime", imageManifest=MANIFEST, imageTag="offered", imageDigest=IMAGE)
    package = offered.register()
    offered.approve(package)

    def approved() -> list[dict[str, Any]]:
        return [each for each in offered.arrived(package) if each["ModelApprovalStatus"] == "Approved"]

    (arrived,) = offered.until(approved)
    record = offered.record(package)
    assert record is not None
    assert arrived["CustomerMetadataProperties"]["source_binding"] == record.binding
    uri = arrived["InferenceSpecification"]["Containers"][0]["ModelDataUrl"]
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    assert bucket != offered.outputs["Artifacts"]
    copied = offered.staging("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
    assert hashlib.sha256(copied).hexdigest() == package.artifact_sha256


def test_the_chain_of_releases_is_found_and_verified_by_its_name(offered: Offered) -> None:
    """Runs `mlops audit verify` with the key that signs records of endpoints."""
    entry = Entries(ssm=offered.client("ssm")).chain(f"{GROUP}.releases")
    chain, key = open_chain(offered.client, entry), public_key_of(offered.client, entry)

    assert chain.table.read().audit_sequence > 0
    assert chain.problems(key.is_signed) == []
    with pytest.raises(NotDeployedError, match="no registry of group 'offered-returns' is deployed"):
        Entries(ssm=offered.client("ssm")).chain("offered-returns.releases")


def test_a_pause_holds_a_release_until_it_ends(offered: Offered) -> None:
    """The schedule checks again, so the event is not lost."""
    package = offered.register()
    offered.pause(True)
    try:
        offered.approve(package)
        offered.recheck()
        offered.until(lambda: _is_empty(offered, "Queue"))
        assert (offered.executions(package), offered.record(package)) == ([], None)
    finally:
        offered.pause(False)
    offered.recheck()

    offered.until(lambda: offered.record(package))


def test_an_archive_that_was_changed_after_its_approval_is_refused(offered: Offered) -> None:
    """Reports every problem once, however often the schedule checks."""
    package = offered.register()
    offered.pause(True)
    try:
        offered.approve(package)
        offered.put(package.artifact_uri, b"other", ChecksumAlgorithm="SHA256")
        offered.put(package.baseline_uri, b"other")
        offered.until(lambda: _is_empty(offered, "Queue"))
    finally:
        offered.pause(False)
    offered.messages("People")
    offered.recheck()
    offered.until(lambda: offered.executions(package))
    offered.recheck()
    refused = offered.until(lambda: len(offered.executions(package)) == 2 and offered.executions(package))

    assert [each["error"] for each in refused] == ["REFUSED", "REFUSED"]
    for uri in (package.artifact_uri, package.baseline_uri):
        assert f"{uri} has SHA-256" in refused[0]["cause"]
    assert offered.record(package) is None
    assert [record.outcome for record in offered.audit(package)] == [Outcome.REFUSED]
    assert len(offered.until(lambda: offered.received_events(package, "REFUSED"))) == 1
    (message,) = [body for body in offered.messages("People") if "is not released" in body]
    assert message == refused[0]["cause"]


def test_an_approval_in_another_role_does_not_count(offered: Offered) -> None:
    """Applies the registry's rule instead of trusting the approval status."""
    package = offered.register()
    offered.client("sagemaker").update_model_package(
        ModelPackageArn=package.package_arn,
        ModelApprovalStatus="Approved",
        ApprovalDescription="better [binding " + "0" * 64 + "]",
    )
    (execution,) = offered.until(lambda: offered.executions(package))

    assert execution["error"] == "REFUSED"
    assert f"only {offered.outputs['Approver']} may" in execution["cause"]
    assert offered.record(package) is None


@pytest.mark.parametrize(
    ("role", "action", "left"),
    [
        ("RecordRole", "kms:Sign", (0, False)),
        ("RecordRole", "s3:PutObject", (1, False)),
        ("MachineRole", "events:PutEvents", (1, True)),
    ],
)
def test_an_execution_that_is_stopped_is_completed_by_the_next(
    offered: Offered, role: str, action: str, left: tuple[int, bool]
) -> None:
    """Stopped before or after the audit record or the release, the next execution completes one whole release."""
    package, client = offered.register(), offered.client("stepfunctions")
    denied = offered.deny(role, action)
    try:
        offered.approve(package)
        (arn,) = offered.until(lambda: offered.started(package))
        offered.until(lambda: offered.failures(arn))
        client.stop_execution(executionArn=arn)
        assert (len(offered.audit(package)), offered.record(package) is not None) == left
        assert offered.received_events(package, "RELEASED") == []
    finally:
        denied()
    offered.recheck()
    ended = offered.until(lambda: len(offered.executions(package)) == 2 and offered.executions(package))

    assert [each["status"] for each in ended] == ["ABORTED", "SUCCEEDED"]
    record = offered.record(package)
    assert record is not None
    (audited,) = offered.audit(package)
    assert (audited.outcome, record.audit_sequence) == (Outcome.RELEASED, audited.sequence)
    (event,) = offered.until(lambda: offered.received_events(package, "RELEASED"))
    assert event["attributes"]["record_uri"].endswith(f"{record.binding}.json")


def _is_empty(offered: Offered, queue: str) -> bool:
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    answer = offered.client("sqs").get_queue_attributes(QueueUrl=offered.outputs[queue], AttributeNames=names)
    return all(int(answer["Attributes"][name]) == 0 for name in names)
