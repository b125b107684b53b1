"""A model trained in one account and served by another, on the embedded cloud with IAM enforced for both sides of every call."""

from __future__ import annotations

import json
from contextlib import ExitStack
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_iam as iam
from tests.called_command import call_command
from tests.examples import models
from tests.examples.linked_accounts import LinkedAccounts

from mlops_constructs import (
    Approval,
    BusinessUnit,
    EndpointCapacity,
    Environment,
    Images,
    ModelEndpoint,
    ModelImage,
    ModelRegistry,
    Profile,
)
from mlops_local import cloud as local_cloud
from mlops_local.stacks import deployer
from mlops_runtime.contracts import from_json
from mlops_runtime.contracts.release import ReleaseRecord
from mlops_runtime.promotion.environment_link import LinkRole, inbox_name, link_role_name
from mlops_runtime.promotion.offer_table import Offer, OfferTable
from mlops_runtime.registry.package_approval import RegistryEntry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.cloud

UNIT, MODEL = "outlet", "price"
GROUP = f"{UNIT}-{MODEL}"
BUILD = Environment("build", account="111111111111", region="us-east-1")
STAGING = Environment("staging", account="222222222222", region="us-east-1")


IMAGE = ModelImage.from_ecr(repository_name="mlops-runtime", digest=models.DIGEST)


def readers(stack: cdk.Stack, registry: ModelRegistry) -> dict[str, str]:
    """Define a role that may only read promotions, and one that may only read parameters; return the ARN of each by output."""
    reader = iam.Role(stack, "Reader", assumed_by=iam.AccountRootPrincipal())
    other = iam.Role(stack, "Other", assumed_by=iam.AccountRootPrincipal())
    registry.grant_read_promotions(reader)
    parameters = [
        stack.format_arn(service="ssm", resource="parameter", resource_name=f"mlops{of}") for of in ("", "/*")
    ]
    other.add_to_policy(
        iam.PolicyStatement(actions=["ssm:GetParameter", "ssm:GetParametersByPath"], resources=parameters)
    )
    return {"ReaderRoleArn": reader.role_arn, "OtherRoleArn": other.role_arn}


def synthesize(folder: Path, image: ModelImage = IMAGE, images: Images = Images.OWN) -> Path:
    """Synthesize the releasing stack, and the independent one that receives and serves."""
    app = cdk.App(outdir=str(folder / "assembly"))
    build = cdk.Stack(app, "Build", env=BUILD.cdk)
    unit = BusinessUnit(build, "Unit", name=UNIT, profile=Profile.DEVELOPMENT)
    registry = ModelRegistry(build, "Registry", business_unit=unit, name=MODEL, deploy_to=[STAGING])
    outputs = {
        "ArtifactsBucket": unit.artifacts.bucket_name,
        "ApproverRoleArn": registry.approver_role.role_arn,
        "Key": unit.key.key_arn,
        "Undelivered": registry.node.find_child("Served").mailbox.undelivered.queue_url,  # type: ignore[attr-defined]
        "ReleaseQueue": registry.node.find_child("Release").queue.queue_url,  # type: ignore[attr-defined]
        "EventBus": unit.bus.event_bus_name,
        "AutomationTable": unit.automation_table.table_name,
        "Topic": unit.topic.topic_arn,
        **readers(build, registry),
    }
    for name, value in outputs.items():
        cdk.CfnOutput(build, name, value=value)
    staging = cdk.Stack(app, "Staging", env=STAGING.cdk)
    unit = BusinessUnit(staging, "Unit", name=UNIT, profile=Profile.DEVELOPMENT)
    registry = ModelRegistry.from_environment(
        staging, "Registry", business_unit=unit, name=MODEL, source=BUILD, approval=Approval.automatic(), images=images
    )
    endpoint = ModelEndpoint(
        staging,
        "Endpoint",
        business_unit=unit,
        registry=registry,
        name=MODEL,
        image=image,
        capacity=EndpointCapacity.instances("ml.m5.large", instance_count=1),
    )
    assert registry.inbox is not None
    outputs = {
        "ApproverRoleArn": registry.approver_role.role_arn,
        "EndpointName": endpoint.endpoint_name,
        "RolloutTable": endpoint.rollout.table.table_name,
        "DeployMachineArn": endpoint.rollout.machine.state_machine_arn,
        "ArtifactsBucket": unit.artifacts.bucket_name,
        "AutomationTable": unit.automation_table.table_name,
        **readers(staging, registry),
        "PromoteMachineArn": registry.inbox.machine.state_machine_arn,
        "PromotionsTable": registry.inbox.table.table_name,
        "OffersQueue": registry.inbox.queue.queue_url,
    }
    for name, value in outputs.items():
        cdk.CfnOutput(staging, name, value=value)
    app.synth()
    return folder / "assembly"


class Accounts:
    """Both deployed accounts."""

    def __init__(self, cloud: local_cloud.Cloud, assembly: Path, digest: str = models.DIGEST) -> None:
        self.cloud, self.digest = cloud, digest
        self.linked = LinkedAccounts(cloud, unit=UNIT, model=MODEL)
        self.linked.outputs |= deployer.deploy(cloud, assembly)
        self.source, self.target = self.linked.outputs["Build"], self.linked.outputs["Staging"]
        self.build, self.staging = cloud.at(BUILD.account, BUILD.region), cloud.at(STAGING.account, STAGING.region)
        self.loop = self.linked.loop(STAGING)
        self.offers = OfferTable(self.staging.client("dynamodb"), self.target["PromotionsTable"])
        self._people = self.linked.hear(BUILD)

    @property
    def number(self) -> int:
        """Number of approved models."""
        return self.linked.number

    def now(self) -> datetime:
        """Return the cloud's time."""
        return self.linked.now()

    def approve(self, factor: float) -> str:
        """Register a model in the build account, approve it there, and return its package."""
        return self.linked.approve(BUILD, factor, image=self.digest)

    def released(self, package: str) -> ReleaseRecord | None:
        """Wait for the release of a package and return it."""
        return self.linked.released(BUILD, package)

    def offer(self, record: ReleaseRecord) -> Offer | None:
        """Return the outcome of a release in the target; None until it is decided."""
        return self.linked.offer(STAGING, record)

    def reported_state(self) -> str | None:
        """Return the hash of the model that staging serves, as known in build."""
        states = self.linked.downstream(BUILD).read().states
        return next((each.serves.model_sha256 for each in states if each.serves is not None), None)

    def letters_alarm(self, queue: str) -> dict[str, Any]:
        """Return build's alarm on one of its dead-letter queues."""
        name = queue.rpartition("/")[2]
        pages = self.build.client("cloudwatch").get_paginator("describe_alarms").paginate()
        alarms = [each for page in pages for each in page["MetricAlarms"]]
        (found,) = (each for each in alarms if {"Name": "QueueName", "Value": name} in each.get("Dimensions", []))
        return dict(found)

    def received_events(self, alarm: str) -> list[str]:
        """Return the alarm's states in notifications to build since the last call."""
        sqs, found = self.build.client("sqs"), list[dict[str, Any]]()
        while messages := sqs.receive_message(QueueUrl=self._people, MaxNumberOfMessages=10).get("Messages"):
            for each in messages:
                found.append(json.loads(json.loads(each["Body"])["Message"]))
                sqs.delete_message(QueueUrl=self._people, ReceiptHandle=each["ReceiptHandle"])
        return [each["NewStateValue"] for each in found if each.get("AlarmName") == alarm]


@pytest.fixture(scope="module")
def accounts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Accounts]:
    """Deploy both; the tests of this file depend on their order."""
    folder = tmp_path_factory.mktemp("accounts")
    cloud = local_cloud.up(folder / "cloud", clock_scale=60.0, account_count=3)
    try:
        yield Accounts(cloud, synthesize(folder))
    finally:
        cloud.down(forget=True)


def released(accounts: Accounts, factor: float, wait_for: Callable[..., Any]) -> ReleaseRecord:
    """Approve a model in build, and return its release."""
    package = accounts.approve(factor)
    record: ReleaseRecord = wait_for(lambda: accounts.released(package))
    return record


@pytest.fixture(scope="module")
def taken(accounts: Accounts, wait_for: Callable[..., Any]) -> tuple[str, ReleaseRecord, Offer]:
    """The first model that build approves: its package there, its release, and the outcome."""
    record = released(accounts, 3.0, wait_for)
    return str(record.package.package_arn), record, wait_for(lambda: accounts.offer(record))


def test_what_build_approves_staging_serves(
    accounts: Accounts, taken: tuple[str, ReleaseRecord, Offer], wait_for: Callable[..., Any]
) -> None:
    """Released by build; copied, registered with local URIs and key, approved by policy and deployed by staging."""
    package, record, offer = taken
    assert (offer.state, "approved there by" in offer.reason) == ("APPROVED", True), offer
    described = accounts.loop.sagemaker.describe_model_package(ModelPackageName=offer.package)
    assert f":{STAGING.account}:" in offer.package
    assert described["CustomerMetadataProperties"]["source_package"] == package
    assert described["CustomerMetadataProperties"]["source_record"] == record.audit_hash
    live = wait_for(accounts.loop.live)
    assert live.model_package_arn == offer.package
    assert accounts.loop.invoke([{"x": 2.0}], "ask")[0].predictions[0] == pytest.approx(6.0)


def _mlops(accounts: Accounts, environment: Environment, *arguments: str) -> Any:
    """Return the command's output for an account, as JSON."""
    command = (*arguments, "--json", "--profile", f"mlops-{environment.account}")
    ended = call_command(*command, MLOPS_LOCAL_HOME=str(accounts.cloud.home))
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def _as_role(accounts: Accounts, environment: Environment, role: str, *arguments: str) -> Any:
    """Run the command with the credentials of a role of an environment's stack."""
    place = accounts.cloud.at(environment.account, environment.region)
    arn = accounts.linked.output(environment, role)
    keys = place.client("sts").assume_role(RoleArn=arn, RoleSessionName="ben")["Credentials"]
    names = {"ACCESS_KEY_ID": "AccessKeyId", "SECRET_ACCESS_KEY": "SecretAccessKey", "SESSION_TOKEN": "SessionToken"}
    own = {f"AWS_{name}": keys[key] for name, key in names.items()}
    return call_command(*arguments, **{**place.environment(), **own})


@pytest.mark.parametrize(
    ("environment", "right"), [(BUILD, "s3:ListBucket"), (STAGING, "dynamodb:Scan")], ids=["build", "staging"]
)
def test_a_role_reads_promotions_with_their_grant_alone(
    accounts: Accounts, taken: tuple[str, ReleaseRecord, Offer], environment: Environment, right: str
) -> None:
    """With and without the group's name, the whole answer, rules included; without it one line names the missing right."""
    del taken
    whole = _mlops(accounts, environment, "promotions", GROUP)
    assert "rules_unread" not in whole
    assert whole["offers"] or whole["releases"]
    assert "undelivered" in whole
    names = [each["name"] for each in whole.pop("targets")]
    for arguments in ((), (GROUP,)):
        ended = _as_role(accounts, environment, "ReaderRoleArn", "promotions", *arguments, "--json")
        assert ended.returncode == 0, ended.stderr
        found = json.loads(ended.stdout)
        # hourly reports of what targets serve arrive in between
        assert [each["name"] for each in found.pop("targets")] == names
        assert found == whole
    ended = _as_role(accounts, environment, "OtherRoleArn", "promotions", GROUP)
    (line,) = ended.stderr.strip().splitlines()
    assert (ended.returncode, f"is not authorized to perform: {right} on resource: " in line) == (1, True), line


def test_both_sides_show_the_promotion_and_its_chains_are_verified(
    accounts: Accounts, taken: tuple[str, ReleaseRecord, Offer], wait_for: Callable[..., Any]
) -> None:
    """Lists build's releases and staging's outcomes, and verifies that build's chain has the records that staging's names."""
    package, _, offer = taken
    in_build = _mlops(accounts, BUILD, "promotions")
    in_staging = _mlops(accounts, STAGING, "promotions", GROUP)
    version = package.rpartition(":model-package/")[2]
    (released,) = (each for each in in_build["releases"] if each["version"] == version)
    (arrived,) = (each for each in in_staging["offers"] if each["source_version"] == version)
    assert (released["chain"], in_build["offers"]) == (f"{GROUP}.releases", [])
    assert len(_mlops(accounts, STAGING, "promotions", GROUP, "--last", "1")["offers"]) == 1
    assert (arrived["state"], arrived["record_sha256"]) == ("APPROVED", offer.record_sha256)
    assert arrived["version"] == offer.package.rpartition(":model-package/")[2]
    assert in_staging["inbox"]["source"]["account"] == BUILD.account
    chain = f"{GROUP}.promotions"
    source = ("--follow", "--source-profile", f"mlops-{BUILD.account}")
    whole = wait_for(lambda: _mlops(accounts, STAGING, "audit", "verify", chain, *source))
    (build,) = whole["sources"]
    assert (whole["is_whole"], build["chain"], build["unread"]) == (True, f"{GROUP}.releases", None)
    assert whole["records"] >= 1


def test_an_approval_that_was_withdrawn_is_asked_for(
    accounts: Accounts, taken: tuple[str, ReleaseRecord, Offer], wait_for: Callable[..., Any]
) -> None:
    """The source's registry decides, not the record of an earlier release."""
    package, _, offer = taken
    assert offer.state == "APPROVED", offer
    accounts.build.client("sagemaker").update_model_package(ModelPackageArn=package, ModelApprovalStatus="Rejected")
    machines, machine = accounts.staging.client("stepfunctions"), accounts.target["PromoteMachineArn"]
    requested = json.dumps({"record_uri": offer.record_uri, "record_sha256": offer.record_sha256})
    arn = machines.start_execution(stateMachineArn=machine, input=requested)["executionArn"]
    wait_for(lambda: machines.describe_execution(executionArn=arn)["status"] != "RUNNING")
    ended = machines.describe_execution(executionArn=arn)
    assert (ended["error"], f"{package} is Rejected (Completed) in the source" in ended["cause"]) == ("REFUSED", True)


def without_source_statement(accounts: Accounts, what: str) -> Callable[[], object]:
    """Remove a statement of the source, and return a function that restores it."""
    if what == "group":
        sagemaker = accounts.build.client("sagemaker")
        policy = sagemaker.get_model_package_group_policy(ModelPackageGroupName=GROUP)["ResourcePolicy"]
        sagemaker.delete_model_package_group_policy(ModelPackageGroupName=GROUP)
        return lambda: sagemaker.put_model_package_group_policy(ModelPackageGroupName=GROUP, ResourcePolicy=policy)
    if what == "bucket":
        s3, bucket = accounts.build.client("s3"), accounts.source["ArtifactsBucket"]
        policy = s3.get_bucket_policy(Bucket=bucket)["Policy"]
        s3.put_bucket_policy(Bucket=bucket, Policy=_of_build_alone(policy))
        return lambda: s3.put_bucket_policy(Bucket=bucket, Policy=policy)
    kms, key = accounts.build.client("kms"), accounts.source["Key"]
    policy = kms.get_key_policy(KeyId=key, PolicyName="default")["Policy"]
    kms.put_key_policy(KeyId=key, PolicyName="default", Policy=_of_build_alone(policy))
    return lambda: kms.put_key_policy(KeyId=key, PolicyName="default", Policy=policy)


def without_target_statement(accounts: Accounts, purpose: LinkRole, action: str) -> Callable[[], object]:
    """Remove a statement about the source from a role of the target, and return a function that restores it."""
    iam = accounts.staging.client("iam")
    role = link_role_name(purpose, unit=UNIT, model=MODEL, environment=STAGING.linked)
    for attached in iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]:
        arn = attached["PolicyArn"]
        version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
        document = iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]
        kept = [
            each
            for each in document["Statement"]
            if action not in each["Action"] or BUILD.account not in json.dumps(each)
        ]
        if len(kept) == len(document["Statement"]) - 1:
            # a policy needs a statement: one about another bus
            kept = kept or [{**each, "Resource": f"{each['Resource']}-other"} for each in document["Statement"]]
            put = partial(iam.create_policy_version, PolicyArn=arn, SetAsDefault=True)
            put(PolicyDocument=json.dumps({**document, "Statement": kept}))
            return lambda: put(PolicyDocument=json.dumps(document))
    raise AssertionError(f"{role} has not one statement of {action} about {BUILD.account}")


def _without_sender(accounts: Accounts) -> Callable[[], object]:
    """Remove the sender role's permission to put events, and return a function that restores it."""
    iam, role = (
        accounts.build.client("iam"),
        link_role_name("send", unit=UNIT, model=MODEL, environment=BUILD.linked),
    )
    (attached,) = iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]
    iam.detach_role_policy(RoleName=role, PolicyArn=attached["PolicyArn"])
    return lambda: iam.attach_role_policy(RoleName=role, PolicyArn=attached["PolicyArn"])


def _without_inbox_policy(accounts: Accounts) -> Callable[[], object]:
    """Remove the policy of the inbox, and return a function that restores it."""
    events, bus = accounts.staging.client("events"), inbox_name(unit=UNIT, model=MODEL)
    policy = events.describe_event_bus(Name=bus)["Policy"]
    events.remove_permission(EventBusName=bus, RemoveAllPermissions=True)
    return lambda: events.put_permission(EventBusName=bus, Policy=policy)


def test_an_event_that_is_lost_is_a_dead_letter_of_the_source(accounts: Accounts, wait_for: Callable[..., Any]) -> None:
    """People are notified, not the target; the schedule offers the release again, and it arrives once both are restored."""
    sqs, dead = accounts.build.client("sqs"), accounts.source["Undelivered"]
    alarm = accounts.letters_alarm(dead)
    assert alarm["StateValue"] == "OK"

    def lost(record: ReleaseRecord) -> None:
        (letter,) = wait_for(lambda: sqs.receive_message(QueueUrl=dead, VisibilityTimeout=0).get("Messages"))
        event = json.loads(letter["Body"])
        assert event["detail-type"] == "MLOps Model Released"
        assert event["detail"]["attributes"]["record_uri"].endswith(f"/{record.binding}.json")
        assert accounts.offer(record) is None
        assert _mlops(accounts, BUILD, "promotions")["undelivered"] >= 1

    with ExitStack() as inbox:
        with ExitStack() as sender:
            sender.callback(_without_sender(accounts))
            record = released(accounts, 50.0, wait_for)
            lost(record)
            accounts.cloud.clock_jump(by=timedelta(minutes=20))
            wait_for(lambda: accounts.letters_alarm(dead)["StateValue"] == "ALARM")
            assert wait_for(lambda: accounts.received_events(alarm["AlarmName"])) == ["ALARM"]
            inbox.callback(_without_inbox_policy(accounts))
        sqs.purge_queue(QueueUrl=dead)
        accounts.cloud.clock_jump(by=timedelta(minutes=61))
        lost(record)
    sqs.purge_queue(QueueUrl=dead)
    accounts.cloud.clock_jump(by=timedelta(minutes=61))
    offer = wait_for(lambda: accounts.offer(record))
    assert offer.state == "APPROVED", offer
    assert accounts.letters_alarm(dead)["StateValue"] == "OK"


def test_an_approval_that_a_guard_is_not_given_is_an_alarm(accounts: Accounts, wait_for: Callable[..., Any]) -> None:
    """Its queue no longer admits the rule: a dead letter of the unit with the same alarm; the schedule recovers it."""
    sqs, queue = accounts.build.client("sqs"), accounts.source["ReleaseQueue"]
    names = ["Policy", "RedrivePolicy"]
    attributes = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=names)["Attributes"]
    arn = json.loads(attributes["RedrivePolicy"])["deadLetterTargetArn"]
    dead = sqs.get_queue_url(QueueName=arn.rpartition(":")[2])["QueueUrl"]
    alarm = accounts.letters_alarm(dead)
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": ""})
    try:
        package = accounts.approve(90.0)
        wait_for(lambda: sqs.receive_message(QueueUrl=dead, VisibilityTimeout=0).get("Messages"))
        accounts.cloud.clock_jump(by=timedelta(minutes=20))
        wait_for(lambda: accounts.letters_alarm(dead)["StateValue"] == "ALARM")
        assert wait_for(lambda: accounts.received_events(alarm["AlarmName"])) == ["ALARM"]
    finally:
        sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": attributes["Policy"]})
        sqs.purge_queue(QueueUrl=dead)
    accounts.cloud.clock_jump(by=timedelta(minutes=61))
    record = wait_for(lambda: accounts.released(package))
    assert wait_for(lambda: accounts.offer(record)).state == "APPROVED"
    assert accounts.letters_alarm(dead)["StateValue"] == "OK"


def _without_inbox(accounts: Accounts) -> Callable[[], object]:
    """Remove staging's statement from build's inbox policy, and return a function that restores it."""
    events, name = accounts.build.client("events"), inbox_name(unit=UNIT, model=MODEL)
    policy = events.describe_event_bus(Name=name)["Policy"]
    (statement,) = json.loads(policy)["Statement"]
    events.remove_permission(EventBusName=name, StatementId=statement["Sid"])
    return lambda: events.put_permission(EventBusName=name, Policy=policy)


def _of_build_alone(policy: str) -> str:
    document = json.loads(policy)
    kept = [each for each in document["Statement"] if f":{STAGING.account}:root" not in json.dumps(each["Principal"])]
    assert len(kept) < len(document["Statement"])
    return json.dumps({**document, "Statement": kept})


def _alarm_state(accounts: Accounts, name: str = "InboxOverdue") -> str:
    """Return the state of an alarm of the target, by default that on overdue releases."""
    alarms = accounts.staging.client("cloudwatch").describe_alarms()["MetricAlarms"]
    (found,) = (each for each in alarms if name in each["AlarmName"])
    return str(found["StateValue"])


def test_a_release_that_waits_too_long_is_an_alarm_of_the_target(
    accounts: Accounts, wait_for: Callable[..., Any]
) -> None:
    """Offered but not received for six hours, despite retries; received once the cause is fixed."""
    restore = without_source_statement(accounts, "bucket")
    try:
        record = released(accounts, 25.0, wait_for)
        assert wait_for(lambda: accounts.offer(record)).may_pass
        assert not _mlops(accounts, STAGING, "promotions", GROUP, "--last", "1")["offers"][0]["is_overdue"]
        accounts.cloud.clock_jump(by=timedelta(hours=7))
        assert wait_for(lambda: (offer := accounts.offer(record)) is not None and offer.attempts > 1)
        accounts.cloud.clock_jump(by=timedelta(minutes=61))  # the metric's hour ends
        assert wait_for(lambda: _alarm_state(accounts) == "ALARM")
        overdue = _mlops(accounts, STAGING, "promotions", GROUP, "--last", "1")["offers"][0]
        assert (overdue["state"], overdue["is_overdue"]) == ("REFUSED", True)
    finally:
        restore()
    accounts.cloud.clock_jump(by=timedelta(minutes=61))

    assert wait_for(lambda: (offer := accounts.offer(record)) is not None and offer.state == "APPROVED")


# each is removed before the previous one is restored, so the release is never complete; no two in a row share a policy
LACKING: dict[tuple[str, str], Callable[[Accounts], Callable[[], object]]] = {
    ("sagemaker:DescribeModelPackage", "resource"): partial(without_source_statement, what="group"),
    ("s3:GetObject", "identity"): partial(without_target_statement, purpose="promote", action="s3:GetObject"),
    ("s3:GetObject", "resource"): partial(without_source_statement, what="bucket"),
    ("kms:Decrypt", "identity"): partial(without_target_statement, purpose="promote", action="kms:Decrypt"),
    ("kms:Decrypt", "resource"): partial(without_source_statement, what="key"),
    ("sagemaker:DescribeModelPackage", "identity"): partial(
        without_target_statement, purpose="recheck", action="sagemaker:DescribeModelPackage"
    ),
}


def test_a_statement_that_one_side_lacks_is_named_and_the_release_taken_later(
    accounts: Accounts, wait_for: Callable[..., Any]
) -> None:
    """Reports action and side before anything is registered; the scheduled check receives it once both sides allow all."""

    def refused(record: ReleaseRecord, *words: str) -> Offer | None:
        offer = accounts.offer(record)
        return offer if offer is not None and all(each in offer.reason for each in words) else None

    record: ReleaseRecord | None = None
    with ExitStack() as lacking:
        for (action, side), take in LACKING.items():
            restore = take(accounts)
            lacking.close()
            lacking.callback(restore)
            if record is None:
                record = released(accounts, 10.0, wait_for)
            else:
                accounts.cloud.clock_jump(by=timedelta(minutes=61))
            look = partial(refused, record, action, f"no {side}-based policy allows")
            offer = wait_for(look)
            assert (offer.state, offer.may_pass, offer.package) == ("REFUSED", True, ""), offer
    accounts.cloud.clock_jump(by=timedelta(minutes=61))
    assert wait_for(lambda: (offer := accounts.offer(record)) is not None and offer.state == "APPROVED")


def _rule(accounts: Accounts, environment: Environment, words: str) -> tuple[Any, dict[str, str]]:
    """Return EventBridge's client, and the only rule of the registry's entry whose description starts with a text."""
    place = accounts.cloud.at(environment.account, environment.region)
    events = place.client("events")
    parameter = place.client("ssm").get_parameter(Name=f"/mlops/{UNIT}/registry/{GROUP}")["Parameter"]["Value"]
    entry = from_json(RegistryEntry, parameter)
    for bus, name in ((each.bus, name) for each in entry.rules or () for name in each.names):
        found = {"Name": name, **({} if bus is None else {"EventBusName": bus})}
        if events.describe_rule(**found)["Description"].startswith(words):
            return events, found
    raise AssertionError(f"no rule of {environment.name} says {words}")


def test_a_rule_that_is_disabled_is_named_and_an_alarm_fires(accounts: Accounts, wait_for: Callable[..., Any]) -> None:
    """The target has no offer, so none is overdue; once its rule is enabled, the next check brings the release."""

    def stopped(environment: Environment) -> set[tuple[str, str | None]]:
        found = _mlops(accounts, environment, "promotions")["stopped"]
        assert {each["state"] for each in found} <= {"DISABLED"}
        return {(each["name"], each.get("bus")) for each in found}

    def disable(environment: Environment, words: str) -> tuple[str, str | None]:
        events, rule = _rule(accounts, environment, words)
        events.disable_rule(**rule)
        disabled.callback(events.enable_rule, **rule)
        return rule["Name"], rule.get("EventBusName")

    assert stopped(STAGING) == stopped(BUILD) == set()
    accounts.cloud.clock_jump(by=timedelta(minutes=61))
    assert wait_for(lambda: _alarm_state(accounts, "ServedStoppedRules") == "OK")
    with ExitStack() as disabled:
        offers = disable(STAGING, f"Releases of {GROUP} that build offers")
        record = released(accounts, 110.0, wait_for)
        accounts.cloud.clock_jump(by=timedelta(hours=8))
        assert stopped(STAGING) == {offers}
        assert (_alarm_state(accounts), accounts.offer(record)) == ("OK", None)
        assert wait_for(lambda: _alarm_state(accounts, "ServedStoppedRules") == "ALARM")
        reported, schedule = (
            disable(BUILD, f"Releases of {GROUP}, for staging"),
            disable(BUILD, f"Rechecks releases of {GROUP}"),
        )
        received = disable(BUILD, f"Reports and requests of targets about {GROUP}")
        assert stopped(BUILD) == {reported, schedule, received}
    accounts.cloud.clock_jump(by=timedelta(minutes=61))
    assert wait_for(lambda: accounts.offer(record)).state == "APPROVED"


def test_a_report_that_one_side_denies_comes_with_the_next_check(
    accounts: Accounts, wait_for: Callable[..., Any]
) -> None:
    """The log names action and side; build's view is updated once both allow it again."""
    known, log = wait_for(accounts.reported_state), accounts.cloud.log_path

    def denied(side: str, after: int) -> bool:
        lost = f"because no {side}-based policy allows the events:PutEvents action"
        return lost in log.read_bytes()[after:].decode()

    with ExitStack() as sender:
        with ExitStack() as inbox:
            inbox.callback(_without_inbox(accounts))
            before = log.stat().st_size
            record = released(accounts, 70.0, wait_for)
            wanted = record.package.model_sha256
            wait_for(lambda: (live := accounts.loop.live()) is not None and live.model_sha256 == wanted, seconds=120.0)
            wait_for(lambda: denied("resource", before))
            sender.callback(without_target_statement(accounts, purpose="send", action="events:PutEvents"))
        before = log.stat().st_size
        accounts.cloud.clock_jump(by=timedelta(minutes=61))
        wait_for(lambda: denied("identity", before))
        assert accounts.reported_state() == known != wanted
    accounts.cloud.clock_jump(by=timedelta(minutes=61))
    assert wait_for(lambda: accounts.reported_state() == wanted)
