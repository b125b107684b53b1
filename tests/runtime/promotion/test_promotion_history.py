"""Offers to a registry and their current state in it, and the releases that it made."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from io import BytesIO
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.config import Config
from botocore.exceptions import ClientError
from tests.released import SOURCE, release
from tests.reported import PRODUCTION, STAGING, state
from urllib3 import HTTPResponse

from mlops_runtime.contracts.unit_entries import UnitEntry
from mlops_runtime.promotion.downstream_table import DownstreamTable
from mlops_runtime.promotion.promotion_history import (
    PromotionHistory,
    PromotionHistoryError,
    StoppedRule,
    read_history,
)
from mlops_runtime.registry.package_approval import ApprovalRule, BusRules, RegistryEntry, RegistryInbox

UNIT = UnitEntry(
    unit="demand",
    automation_table="promotions",
    audit_bucket="audit",
    artifacts_bucket="here",
    bus="bus",
    heads_bucket="heads",
    signing_key="s",
    pause_key="p",
    owner="demand",
    cost_center="demand",
)
INBOX = RegistryInbox(table="promotions", source=SOURCE, source_name="build", max_wait_seconds=21600)
THEIRS = SOURCE.arn("sagemaker", "model-package/demand-forecast/7")


def at(minute: int) -> str:
    """Return a time in an hour."""
    return f"2017-08-01T09:{minute:02d}:00Z"


@pytest.fixture
def read(place: Any) -> Callable[..., PromotionHistory]:
    """Read the history, by default of a registry that takes releases."""

    def history(last: int = 20, now: str = at(59), **changes: Any) -> PromotionHistory:
        entry = RegistryEntry(
            **{"group": "demand-forecast", "unit": "demand", "rule": ApprovalRule(), "inbox": INBOX} | changes
        )
        return read_history(boto3.client, unit=UNIT, registry=entry, last=last, now=datetime.fromisoformat(now))

    return history


@pytest.fixture
def register(place: Any) -> Callable[[], str]:
    """Register a release, as the Promote machine does."""
    found = release()

    def package() -> str:
        metadata = {**found.request["CustomerMetadataProperties"], "source_package": THEIRS}
        request = {**found.request, "CustomerMetadataProperties": metadata}
        return str(place.sagemaker.create_model_package(**request)["ModelPackageArn"])

    return package


def offer(place: Any, number: int, state: str | None = None, **more: Any) -> str:
    """Store an offer and its outcome."""
    sha256 = f"{number:064d}"
    place.table.offer(f"s3://theirs/releases/demand-forecast/{sha256}.json", sha256, at(number))
    if state is not None:
        decided = {"reason": state.lower(), "package": "", "may_pass": False, "at": at(number + 10), **more}
        place.table.decide(sha256, state=state, **decided)
    return sha256


def test_offers_are_listed_newest_first(
    place: Any, read: Callable[..., PromotionHistory], register: Callable[[], str]
) -> None:
    """With state, versions of both sides, times, and whether it will be retried."""
    offer(place, 1, "REFUSED", reason="the image is missing", may_pass=True, source_package=THEIRS)
    offer(place, 2, "REFUSED", reason="stale")
    offer(place, 3, "REGISTERED", package=register())
    offer(place, 4)

    found = read()

    assert [(each.state, each.is_asked_again) for each in found.offers] == [
        ("OFFERED", True),
        ("WAITING", False),
        ("REFUSED", False),
        ("REFUSED", True),
    ]
    waiting, refused = found.offers[1], found.offers[3]
    assert (waiting.source_version, waiting.version) == ("demand-forecast/7", "demand-forecast/1")
    assert (waiting.model_sha256, waiting.offered_at, waiting.changed_at) == ("b" * 64, at(3), at(13))
    assert (refused.source_version, refused.version, refused.reason) == (
        "demand-forecast/7",
        None,
        "the image is missing",
    )
    assert (found.offers[2].source_version, found.inbox, found.releases) == (None, INBOX, ())
    assert [each.record_sha256 for each in read(last=1).offers] == [f"{4:064d}"]


@pytest.mark.parametrize(
    ("status", "state"), [("Approved", "APPROVED"), ("Rejected", "REJECTED"), ("PendingManualApproval", "WAITING")]
)
def test_a_registered_version_has_the_state_that_its_registry_says(
    place: Any, read: Callable[..., PromotionHistory], register: Callable[[], str], status: str, state: str
) -> None:
    """A person may have decided after the machine's last write."""
    package = register()
    offer(place, 1, "REGISTERED", package=package)
    place.sagemaker.update_model_package(ModelPackageArn=package, ModelApprovalStatus=status)

    assert [each.state for each in read().offers] == [state]


def test_a_version_that_is_gone_is_said_to_be(place: Any, read: Callable[..., PromotionHistory]) -> None:
    """Its offer stays with its stored facts."""
    gone = place.target.here.arn("sagemaker", "model-package/demand-forecast/99")
    offer(place, 1, "APPROVED", package=gone, source_package=THEIRS)

    (found,) = read().offers

    assert (found.state, found.version, found.source_version) == ("DELETED", "demand-forecast/99", "demand-forecast/7")


def test_releases_are_read_from_their_records(place: Any, read: Callable[..., PromotionHistory]) -> None:
    """Newest first, with the position of each in its chain."""
    old = release(version=7, released_at="2017-08-01T08:00:00.000Z")
    new = release(version=8, archive=b"other", released_at="2017-08-01T09:00:00.000Z")
    for each in (old, new):
        place.s3.put_object(Bucket="here", Key=each.key, Body=each.content)

    found = read(inbox=None, releases="demand-forecast.releases")

    assert [each.version for each in found.releases] == ["demand-forecast/8", "demand-forecast/7"]
    assert (found.releases[0].chain, found.releases[0].sequence) == ("demand-forecast", 3)
    assert (found.releases[0].approved_by.endswith("/ann"), found.releases[0].approval) == (True, new.record.approval)
    assert (found.inbox, found.offers) == (None, ())


def test_rules_by_which_nothing_comes_are_named(place: Any, read: Callable[..., PromotionHistory]) -> None:
    """A registry without rules has none."""
    found = read(rules=(BusRules(names=("gone",)),))

    assert found.stopped == (StoppedRule(name="gone", state="DELETED"),)
    assert found.rules_unread is None
    assert read().stopped == ()


@pytest.mark.parametrize(("code", "is_reported"), [("AccessDeniedException", True), ("ThrottlingException", False)])
def test_rules_that_may_not_be_read_hide_nothing_else(place: Any, code: str, is_reported: bool) -> None:
    """The reason is shown next to the offers; another error is raised."""
    offer(place, 1, "REFUSED")
    entry = RegistryEntry(
        group="demand-forecast", unit="demand", rule=ApprovalRule(), inbox=INBOX, rules=(BusRules(names=("offers",)),)
    )

    def answer(request: Any, **_: Any) -> AWSResponse:
        body = json.dumps({"__type": code, "message": "not authorized"}).encode()
        return AWSResponse(request.url, 400, {}, HTTPResponse(BytesIO(body), preload_content=False))

    def client(service: str) -> Any:
        found = boto3.client(service, config=Config(retries={"total_max_attempts": 1}))  # type: ignore[call-overload]
        found.meta.events.register_first("before-send.events.DescribeRule", answer)
        return found

    def read() -> PromotionHistory:
        return read_history(client, unit=UNIT, registry=entry, last=20, now=datetime.fromisoformat(at(59)))

    if not is_reported:
        with pytest.raises(ClientError, match=code):
            read()
        return
    found = read()
    assert [each.state for each in found.offers] == ["REFUSED"]
    assert (found.stopped, found.rules_unread) == (
        (),
        f"AWS refused DescribeRule ({code}): not authorized; docs/operations.md lists the permissions of each command",
    )


def test_what_targets_serve_is_shown_from_the_nearest_on(place: Any, read: Callable[..., PromotionHistory]) -> None:
    """With environments behind them; unlisted targets are left out, silent ones named."""
    shop = replace(STAGING, name="shop", account="444444444444")
    states = [
        state(PRODUCTION, via="staging"),
        state(name="staging", via="staging"),
        state(name="gone", via="gone", account="555555555555"),
    ]
    assert DownstreamTable(place.dynamodb, "promotions", "demand-forecast").move(None, states, None)

    found = read(inbox=None, targets=(STAGING, shop))

    assert [each.name for each in found.targets] == ["staging", "production"]
    assert found.silent == ("shop",)
    assert read().targets == ()


def test_what_is_no_record_is_named(place: Any, read: Callable[..., PromotionHistory]) -> None:
    """It is not left out."""
    place.s3.put_object(Bucket="here", Key="releases/demand-forecast/one.json", Body=b"{}")

    with pytest.raises(PromotionHistoryError, match=r"s3://here/releases/demand-forecast/one\.json is not the record"):
        read(inbox=None, releases="demand-forecast.releases")


def test_an_offer_that_waits_too_long_is_overdue(place: Any, read: Callable[..., PromotionHistory]) -> None:
    """Not after a final rejection; the registry configures the limit."""
    offer(place, 1, "FAILED")
    offer(place, 2, "REFUSED")

    later = "2017-08-01T15:30:00Z"
    assert [each.is_overdue for each in read().offers] == [False, False]
    assert [each.is_overdue for each in read(now=later).offers] == [False, True]
    patient = replace(INBOX, max_wait_seconds=7 * 3600)
    assert [each.is_overdue for each in read(now=later, inbox=patient).offers] == [False, False]


def test_announcements_that_reached_no_inbox_are_counted(place: Any, read: Callable[..., PromotionHistory]) -> None:
    """For a registry that releases; also for the one being read."""
    sqs = boto3.client("sqs")
    queue = sqs.create_queue(QueueName="undelivered")["QueueUrl"]
    for number in range(2):
        sqs.send_message(QueueUrl=queue, MessageBody=str(number))
    sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=1)

    assert (read().undelivered, read(undelivered=queue).undelivered) == (None, 2)
