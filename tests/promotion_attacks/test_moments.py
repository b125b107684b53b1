"""Interruptions and concurrent offers during a promotion: nothing is half promoted, and each end is reported."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.exceptions import ClientError
from tests.examples.test_two_accounts import (
    BUILD,
    GROUP,
    MODEL,
    UNIT,
    without_source_statement,
    without_target_statement,
)
from tests.promotion_attacks.attacks import sent
from tests.promotion_attacks.besieged import INBOX, OTHER, Besieged, Record

from mlops_runtime.promotion.environment_link import inbox_name, link_role_name
from mlops_runtime.promotion.release_plan import Target, registration
from mlops_runtime.promotion.target_environment import target_of

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.cloud


def _without_key(siege: Besieged) -> Callable[[], object]:
    kms, key = siege.build.client("kms"), siege.accounts.source["Key"]
    kms.disable_key(KeyId=key)
    return lambda: kms.enable_key(KeyId=key)


RIGHTS: dict[str, tuple[Callable[[Besieged], Callable[[], object]], str]] = {
    "the source's key is disabled": (_without_key, " is disabled."),
    "the source's key no longer admits the role": (
        lambda siege: without_source_statement(siege.accounts, "key"),
        "no resource-based policy allows the kms:Decrypt action",
    ),
    "the source's bucket no longer admits the role": (
        lambda siege: without_source_statement(siege.accounts, "bucket"),
        "no resource-based policy allows the s3:GetObject action",
    ),
    "the target's role may no longer read there": (
        lambda siege: without_target_statement(siege.accounts, "promote", "s3:GetObject"),
        "no identity-based policy allows the s3:GetObject action",
    ),
}


@pytest.mark.parametrize("what", RIGHTS)
def test_a_right_that_ends_between_two_copies_ends_the_promotion(siege: Besieged, what: str) -> None:
    """The archive was copied, the rest was not: nothing is stored or registered, and the error has action and side."""
    packages, kept, released = siege.packages(), siege.kept(), siege.forge()
    take, words = RIGHTS[what]
    with siege.held("Copy", "evaluation.json") as reached:
        siege.offer(released)
        reached()
        restore = take(siege)
    try:
        offer = siege.decided(released)
    finally:
        restore()
    assert (offer.state, offer.may_pass, words in offer.reason) == ("REFUSED", True, True), offer
    assert (siege.packages(), siege.kept()) == (packages, kept)


def test_a_target_whose_own_key_is_disabled_takes_nothing(siege: Besieged) -> None:
    """Its inbox stores no event, and a manually started execution reports the key; not even a rejection can be recorded."""
    packages, kept, released = siege.packages(), siege.kept(), siege.forge()
    kms, s3 = siege.staging.client("kms"), siege.staging.client("s3")
    rule = s3.get_bucket_encryption(Bucket=siege.own)["ServerSideEncryptionConfiguration"]["Rules"][0]
    key = rule["ApplyServerSideEncryptionByDefault"]["KMSMasterKeyID"]
    kms.disable_key(KeyId=key)
    try:
        execution = siege.start(siege.offer(released))
        ended = siege.until(lambda: _ended(siege, execution))
        siege.loop.wait_idle("PromoteMachineArn")
    finally:
        kms.enable_key(KeyId=key)
    assert (ended["error"], f"{key} is disabled" in ended["cause"]) == ("REFUSED", True), ended
    assert siege.offers.read(released.sha256) is None
    assert (siege.packages(), siege.kept()) == (packages, kept)


def test_an_object_that_changes_between_two_copies_is_refused(siege: Besieged) -> None:
    """The copies are checked, so the checked objects are the copied ones."""
    packages, released = siege.packages(), siege.forge()
    with siege.held("Copy", "evaluation.json") as reached:
        siege.offer(released)
        reached()
        for key, content in released.objects.items():
            siege.put(key, content + b" ")
    offer = siege.decided(released)
    assert (offer.state, "was changed after its release" in offer.reason) == ("REFUSED", True), offer
    assert siege.packages() == packages


def test_an_approval_that_is_withdrawn_while_copying_is_refused(siege: Besieged) -> None:
    """The source is checked again after the copies, which expire; nothing is stored, signed or registered."""
    packages, kept, released = siege.packages(), siege.kept(), siege.forge()
    with siege.held("Copy", "evaluation.json") as reached:
        siege.offer(released)
        reached()
        siege.decide(str(released.record.package.package_arn), "Rejected", "found a fault")
    offer = siege.decided(released)
    assert (offer.state, offer.may_pass, offer.package) == ("REFUSED", False, ""), offer
    assert "is Rejected (Completed) in the source" in offer.reason
    assert (siege.packages(), siege.kept()) == (packages, kept)


def test_a_release_that_is_withdrawn_while_copying_overtakes_none(siege: Besieged) -> None:
    """An unregistered release is not the newest: the older pending one is promoted once it can be."""
    waits = siege.forge()
    with siege.held("Copy", _run_of(waits)) as reached:
        siege.offer(waits)
        reached()
        restore = RIGHTS["the target's role may no longer read there"][0](siege)
    try:
        assert siege.decided(waits).may_pass
    finally:
        restore()
    withdrawn = siege.forge()
    with siege.held("Copy", _run_of(withdrawn)) as reached:
        siege.offer(withdrawn)
        reached()
        siege.decide(str(withdrawn.record.package.package_arn), "Rejected", "found a fault")
    assert siege.decided(withdrawn).state == "REFUSED"
    again = siege.start(waits)
    siege.until(lambda: _ended(siege, again))
    offer = siege.decided(waits)
    assert offer.state == "APPROVED", offer
    siege.loop.wait_idle("DeployMachineArn")


def test_an_approval_that_is_withdrawn_at_registration_comes_too_late(siege: Besieged) -> None:
    """The source was checked just before; the target's users decide next, by their own rejection."""
    released = siege.forge()
    with siege.held("Register") as reached:
        siege.offer(released)
        reached()
        siege.decide(str(released.record.package.package_arn), "Rejected", "too late")
    offer = siege.decided(released)
    assert offer.state == "APPROVED", offer
    again = siege.start(released)
    ended = siege.until(lambda: _ended(siege, again))
    assert (ended["error"], "is Rejected (Completed) in the source" in ended["cause"]) == ("REFUSED", True)
    siege.loop.wait_idle("DeployMachineArn")


def test_a_package_of_an_attempt_that_died_is_named_once_its_release_is_withdrawn(siege: Besieged) -> None:
    """It waits in the group: offer, message and event name it as one to reject."""
    released = siege.forge()
    machines = siege.staging.client("stepfunctions")
    with siege.held("Approve") as reached:
        siege.offer(released)
        reached()
        running = siege.loop.executions("PromoteMachineArn")[0]
        machines.stop_execution(executionArn=running["executionArn"], error="Stopped", cause="a test")
    siege.loop.wait_idle("PromoteMachineArn")
    offer = siege.offers.read(released.sha256)
    assert offer is not None
    assert (offer.state, siege.packages()[offer.package]) == ("OFFERED", "PendingManualApproval"), offer
    siege.decide(str(released.record.package.package_arn), "Rejected", "found a fault")
    again = siege.start(released)
    ended = siege.until(lambda: _ended(siege, again))
    refused = siege.decided(released)
    words = f"reject {offer.package}, which an earlier attempt registered: "
    assert (refused.state, refused.package, refused.reason.startswith(words)) == ("REFUSED", offer.package, True)
    assert ended["cause"] == refused.reason
    siege.loop.sagemaker.update_model_package(ModelPackageArn=offer.package, ModelApprovalStatus="Rejected")


def test_a_release_whose_package_a_person_deletes_is_refused(siege: Besieged) -> None:
    """The execution ended before its approval; the next one registers no second package, and none follows."""
    released = siege.forge()
    machines = siege.staging.client("stepfunctions")
    with siege.held("Approve") as reached:
        siege.offer(released)
        reached()
        running = siege.loop.executions("PromoteMachineArn")[0]
        machines.stop_execution(executionArn=running["executionArn"], error="Stopped", cause="a test")
    siege.loop.wait_idle("PromoteMachineArn")
    offer = siege.offers.read(released.sha256)
    assert offer is not None
    siege.loop.sagemaker.delete_model_package(ModelPackageName=offer.package)
    packages = siege.packages()
    again = siege.start(released)
    ended = siege.until(lambda: _ended(siege, again))
    refused = siege.decided(released)
    words = f"{offer.package}, which an earlier attempt registered, was deleted: "
    assert (refused.state, refused.is_open, refused.reason.startswith(words)) == ("REFUSED", False, True)
    assert (ended["cause"], siege.packages()) == (refused.reason, packages)


def test_a_package_whose_attempt_died_before_its_offer_knew_it_is_named_once_its_release_is_withdrawn(
    siege: Besieged,
) -> None:
    """The execution ended between ``Register`` and ``Decide``; the next one finds the package by its binding."""
    packages, released = siege.packages(), siege.forge()
    machines = siege.staging.client("stepfunctions")
    with siege.held("Decide") as reached:
        siege.offer(released)
        reached()
        running = siege.loop.executions("PromoteMachineArn")[0]
        machines.stop_execution(executionArn=running["executionArn"], error="Stopped", cause="a test")
    siege.loop.wait_idle("PromoteMachineArn")
    ((package, status),) = siege.packages().items() - packages.items()
    offer = siege.offers.read(released.sha256)
    assert offer is not None
    assert (offer.state, offer.package, status) == ("OFFERED", "", "PendingManualApproval"), offer
    siege.decide(str(released.record.package.package_arn), "Rejected", "found a fault")
    again = siege.start(released)
    ended = siege.until(lambda: _ended(siege, again))
    refused = siege.decided(released)
    words = f"reject {package}, which an earlier attempt registered: "
    assert (refused.state, refused.package, refused.reason.startswith(words)) == ("REFUSED", package, True)
    assert ended["cause"] == refused.reason
    siege.loop.sagemaker.update_model_package(ModelPackageArn=package, ModelApprovalStatus="Rejected")


def test_a_release_that_is_offered_at_once_and_by_hand_is_promoted_once(siege: Besieged) -> None:
    """By two concurrent events, and by an execution of another name with the same record."""
    packages, released = siege.packages(), siege.forge()
    siege.offer(released)
    siege.announce(released)
    by_hand = siege.start(released)
    siege.until(lambda: _ended(siege, by_hand))
    offer = siege.decided(released)
    siege.announce(released)
    siege.quiet()
    added = siege.packages().items() - packages.items()
    assert added == {(offer.package, "Approved")}
    siege.loop.wait_idle("DeployMachineArn")


def test_an_older_release_that_is_overtaken_while_it_copies_is_stale(siege: Besieged) -> None:
    """Of two concurrent releases the newer one is promoted, whichever started first."""
    old, new = siege.forge(), siege.forge()
    with siege.held("Copy", _run_of(old)) as reached:
        siege.offer(old)
        reached()
        siege.offer(new)
        siege.until(lambda: (siege.offers.read(new.sha256) or old) is not old and _state(siege, new) == "APPROVED")
    offer = siege.decided(old)
    words = f"stale: it was released at {old.record.released_at}, and a release of "
    assert (offer.state, offer.reason.startswith(words)) == ("REFUSED", True), offer
    siege.loop.wait_idle("DeployMachineArn")


def test_a_pause_that_begins_while_copying_leaves_the_release_to_people(siege: Besieged) -> None:
    """It is registered and pending; nothing is approved by policy."""
    packages, released = siege.packages(), siege.forge()
    try:
        with siege.held("Copy", "evaluation.json") as reached:
            siege.offer(released)
            reached()
            _pause(siege, is_paused=True)
        offer = siege.decided(released)
    finally:
        _pause(siege, is_paused=False)
    assert (offer.state, "not approved automatically: paused since" in offer.reason) == ("REGISTERED", True), offer
    assert siege.packages().items() - packages.items() == {(offer.package, "PendingManualApproval")}


def test_a_model_that_is_rolled_back_while_it_comes_again_is_left_to_people(siege: Besieged) -> None:
    """Its second release was in progress; a model rolled back by a person does not return automatically."""
    before = siege.loop.live()
    assert before is not None
    factor = 500.0 + siege.number
    first = siege.offer(siege.forge(factor=factor))
    arrived = siege.decided(first).package
    siege.until(lambda: (siege.loop.live() or before).model_package_arn == arrived)
    siege.loop.wait_idle("DeployMachineArn")
    again = siege.forge(factor=factor)
    with siege.held("Copy", "evaluation.json") as reached:
        siege.offer(again)
        reached()
        requested = {"reason": "rollback", "requested_by": "ann", "requested_at": siege.accounts.now().isoformat()}
        machine = siege.accounts.target["DeployMachineArn"]
        siege.staging.client("stepfunctions").start_execution(
            stateMachineArn=machine, input=json.dumps(requested | {"model_package_arn": before.model_package_arn})
        )
        siege.until(lambda: (siege.loop.live() or before).model_package_arn == before.model_package_arn)
        siege.loop.wait_idle("DeployMachineArn")
    offer = siege.decided(again)
    assert (offer.state, "this model was taken before" in offer.reason) == ("REGISTERED", True), offer
    live = siege.loop.live()
    assert live is not None
    assert live.model_package_arn == before.model_package_arn


def test_a_package_that_someone_registered_under_the_releases_token_is_not_approved(siege: Besieged) -> None:
    """The registry returns it to the machine, but it is not the released package."""
    released, evil = siege.forge(), siege.forge()
    container, metadata = registration(evil.record, target=_target(siege))
    key = f"models/{GROUP}/{evil.record.artifact.sha256}/model.tar.gz"
    siege.loop.s3.put_object(Bucket=siege.own, Key=key, Body=next(iter(evil.objects.values())))
    theirs = siege.loop.sagemaker.create_model_package(
        ModelPackageGroupName=GROUP,
        ModelApprovalStatus="PendingManualApproval",
        ClientToken=released.sha256[:36],
        CustomerMetadataProperties=metadata,
        InferenceSpecification={
            "Containers": [container],
            "SupportedContentTypes": list(evil.record.package.content_types),
            "SupportedResponseMIMETypes": ["application/json", "text/csv"],
        },
    )["ModelPackageArn"]
    siege.offer(released)
    offer = siege.decided(released)
    words = f"{theirs} was registered with the client token of this release, but is bound by"
    assert (offer.state, offer.package, words in offer.reason) == ("REFUSED", "", True), offer
    assert siege.packages()[theirs] == "PendingManualApproval"


@pytest.mark.parametrize("name", ["artifact", "evaluation", "gate"])
def test_bytes_that_were_planted_where_a_release_is_kept_are_not_served(siege: Besieged, name: str) -> None:
    """Keys are content hashes; an existing object with other content rejects the release."""
    packages, released = siege.packages(), siege.forge()
    record = released.record
    keys = {
        "artifact": f"models/{GROUP}/{record.artifact.sha256}/model.tar.gz",
        "evaluation": f"evaluations/{GROUP}/{record.binding}/evaluation.json",
        "gate": f"gates/{GROUP}/{record.binding}.json",
    }
    siege.loop.s3.put_object(Bucket=siege.own, Key=keys[name], Body=b"planted", ChecksumAlgorithm="SHA256")
    siege.offer(released)
    offer = siege.decided(released)
    assert (offer.state, f"{keys[name]} has SHA-256" in offer.reason) == ("REFUSED", True), offer
    assert siege.packages() == packages


def test_a_second_source_reaches_no_inbox(siege: Besieged) -> None:
    """Another account with a role of the sender's name, the source's own root, and the target's: none of their events arrives."""
    seen = {each["executionArn"] for each in siege.loop.executions("PromoteMachineArn")}
    iam, name = (
        siege.cloud.at(OTHER, BUILD.region).client("iam"),
        link_role_name("send", unit=UNIT, model=MODEL, environment=BUILD.linked),
    )
    trust = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": f"arn:aws:iam::{OTHER}:root"}}
    role = iam.create_role(
        RoleName=name, AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    )["Role"]["Arn"]
    puts = {"Effect": "Allow", "Action": "events:PutEvents", "Resource": "*"}
    iam.put_role_policy(
        RoleName=name, PolicyName="p", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [puts]})
    )
    found = siege.cloud.at(OTHER, BUILD.region).client("sts").assume_role(RoleArn=role, RoleSessionName="sender")
    session = boto3.client(
        "events",
        endpoint_url=siege.cloud.endpoint_url,
        region_name=BUILD.region,
        aws_access_key_id=found["Credentials"]["AccessKeyId"],
        aws_secret_access_key=found["Credentials"]["SecretAccessKey"],
        aws_session_token=found["Credentials"]["SessionToken"],
    )
    clients = [siege.build.client("events"), siege.cloud.at(OTHER, BUILD.region).client("events"), session]
    for client in clients:
        words = _error_text(siege, sent() | {"EventBusName": INBOX}, client)
        assert "no resource-based policy allows the events:PutEvents action" in words
    assert (
        siege.send(siege.staging.client("events"), sent() | {"EventBusName": inbox_name(unit=UNIT, model=MODEL)}) == ""
    )
    siege.quiet()
    assert {each["executionArn"] for each in siege.loop.executions("PromoteMachineArn")} == seen


def test_a_record_of_something_else_is_not_an_offer(siege: Besieged) -> None:
    """The machine itself accepts records of its group only, whoever starts it."""
    released = siege.claim()
    other = Record(content=released.content, bucket=siege.bucket, key=released.key.replace(GROUP, f"{UNIT}-margin"))
    execution = siege.start(other)
    ended = siege.until(lambda: _ended(siege, execution))
    assert (ended["error"], "is not a release record of outlet-price" in ended["cause"]) == ("NO_OFFER", True)


def _error_text(siege: Besieged, entry: dict[str, Any], client: Any) -> str:
    """Return EventBridge's error for an event."""
    try:
        return siege.send(client, entry)
    except ClientError as error:
        return str(error)


def _target(siege: Besieged) -> Target:
    """Return the target in the guard's environment variables."""
    functions = siege.staging.client("lambda").list_functions()["Functions"]
    variables = [each.get("Environment", {}).get("Variables", {}) for each in functions]
    return target_of({**next(each for each in variables if "PROMOTION" in each), "AWS_REGION": BUILD.region})


def _ended(siege: Besieged, execution: str) -> dict[str, Any] | None:
    found = dict(siege.staging.client("stepfunctions").describe_execution(executionArn=execution))
    return None if found["status"] == "RUNNING" else found


def _state(siege: Besieged, released: Any) -> str:
    offer = siege.offers.read(released.sha256)
    return "" if offer is None else offer.state


def _run_of(released: Any) -> str:
    return str(released.record.artifact.uri.rpartition("/")[0].rpartition("/")[2]) + "/evaluation.json"


def _pause(siege: Besieged, *, is_paused: bool) -> None:
    state = {"is_paused": is_paused, "by": "ann", "at": siege.accounts.now().isoformat(), "reason": "stocktaking"}
    siege.staging.client("dynamodb").update_item(
        TableName=siege.accounts.target["AutomationTable"],
        Key={"endpoint": {"S": UNIT}},
        UpdateExpression="SET pause = :pause",
        ExpressionAttributeValues={":pause": {"S": json.dumps(state)}},
    )
