"""Copies are verified against their release, stored once, signed, decided on and recorded."""

import hashlib
import itertools
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError
from tests.released import SOURCE, Released, release

from mlops_runtime.business_unit.automation import Automation
from mlops_runtime.contracts.rollout import Outcome
from mlops_runtime.contracts.unit_entries import FreezeSpec
from mlops_runtime.promotion.release_keeper import ReleaseKeeper
from mlops_runtime.promotion.release_plan import local_package, registration, released_at
from mlops_runtime.rollout.archive_signatures import SignedArchives
from mlops_runtime.rollout.audit_chain import AuditChain
from mlops_runtime.rollout.rollout_table import RolloutTable
from mlops_runtime.rollout.seals import Sealer

ONE = release()
TWO = release(execution="alarm-2")
NOW = "2017-08-01T09:00:00.000Z"


def _keeper(place: Any) -> ReleaseKeeper:
    sealer = Sealer(kms=place.kms, key=place.target.signing_key)
    return ReleaseKeeper(
        s3=place.s3,
        sagemaker=place.sagemaker,
        table=place.table,
        target=place.target,
        archives=SignedArchives(s3=place.s3, bucket="here", sealer=sealer),
        automation=Automation(freeze=FreezeSpec(), table=RolloutTable(place.dynamodb, "promotions", "demand")),
        chain=AuditChain(
            s3=place.s3,
            bucket="audit",
            table=RolloutTable(place.dynamodb, "promotions", "demand-forecast.promotions"),
            heads="heads",
            sealer=sealer,
        ),
    )


def _keys(place: Any) -> list[str]:
    found = place.s3.list_objects_v2(Bucket="here").get("Contents", [])
    return [each["Key"] for each in found if not each["Key"].startswith("incoming/")]


def _registered(place: Any, released: Released) -> str:
    keeper = _keeper(place)
    place.table.offer(released.uri, released.sha256, NOW)
    kept = keeper.keep(place.arrived(released))
    created = place.sagemaker.create_model_package(
        ModelPackageGroupName="demand-forecast",
        ModelApprovalStatus="PendingManualApproval",
        CustomerMetadataProperties=kept["metadata"],
        InferenceSpecification={
            "Containers": [kept["container"]],
            "SupportedContentTypes": kept["content_types"],
            "SupportedResponseMIMETypes": ["application/json"],
        },
    )
    return str(created["ModelPackageArn"])


def test_what_was_released_is_kept_and_signed(place: Any) -> None:
    """By content; a repeat changes nothing; preflight finds the signature by this unit's key."""
    keeper = _keeper(place)
    kept = keeper.keep(place.arrived(ONE))
    assert (kept["verdict"], kept["package"]) == ("KEPT", "")
    assert _keys(place) == [
        f"evaluations/demand-forecast/{ONE.record.binding}/baseline.json",
        f"evaluations/demand-forecast/{ONE.record.binding}/evaluation.json",
        f"gates/demand-forecast/{ONE.record.binding}.json",
        f"models/demand-forecast/{ONE.record.artifact.sha256}/model.sig",
        f"models/demand-forecast/{ONE.record.artifact.sha256}/model.tar.gz",
    ]
    assert keeper.keep(place.arrived(ONE)) == kept
    assert keeper.archives.problems(local_package(ONE.record, target=place.target)) == ()


def test_an_image_of_the_sources_registry_is_registered_where_it_may_be(place: Any) -> None:
    """With the registry in which the machine found it; a disallowed one rejects the release, and nothing is stored."""
    requested = {**place.arrived(ONE), "image_registry": SOURCE.account}
    refused = _keeper(place).keep(requested)
    assert (refused["verdict"], _keys(place)) == ("REFUSED", [])
    assert "the image must be in the registry of 222222222222" in refused["reason"]
    kept = replace(_keeper(place), target=replace(place.target, shares_images=True)).keep(requested)
    assert kept["container"]["Image"] == ONE.record.package.image


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        (
            {"artifact": b"other"},
            "the artifact, artifacts/models/demand-forecast/alarm-1/model.tar.gz, was changed after its release",
        ),
        ({"evaluation": b"{}"}, "the evaluation, "),
        ({"baseline": b"[]"}, "the baseline, "),
        ({"gate": b"{}"}, "the gate, "),
        ({"artifact": None}, "the copy of the artifact"),
        ({"gate": None}, "the copy of the gate"),
        ({"artifact": b"x", "gate": None}, "was changed after its release"),
    ],
)
def test_other_bytes_are_refused_and_nothing_is_kept(place: Any, changed: dict[str, bytes | None], named: str) -> None:
    """S3's own hash of each copy, before any is at its place."""
    refused = _keeper(place).keep(place.arrived(ONE, **changed))
    assert (refused["verdict"], refused["may_pass"]) == ("REFUSED", False)
    assert named in refused["reason"]
    assert _keys(place) == []
    assert place.table.newest() is None


def test_a_copy_without_a_hash_of_its_whole_is_refused(place: Any) -> None:
    """S3 makes one only where it was asked to."""
    requested = place.arrived(ONE)
    place.s3.put_object(Bucket="here", Key="incoming/demand-forecast/one-1/baseline.json", Body=b"{}")
    refused = _keeper(place).keep(requested)
    assert "baseline.json, is missing or has no full-object SHA-256" in refused["reason"]


def test_a_release_is_the_newest_once_it_is_registered(place: Any) -> None:
    """What is only kept, and may be refused yet, makes no older one stale."""
    assert _keeper(place).keep(place.arrived(ONE))["verdict"] == "KEPT"
    assert place.table.newest() is None
    _decide(place, _registered(place, ONE), ONE)
    assert place.table.newest() == (_released_at(ONE), ONE.sha256)


def test_other_bytes_at_the_place_of_a_digest_are_not_served(place: Any) -> None:
    """They stay, and the release is refused."""
    key = f"models/demand-forecast/{ONE.record.artifact.sha256}/model.tar.gz"
    place.s3.put_object(Bucket="here", Key=key, Body=b"planted", ChecksumAlgorithm="SHA256")
    assert f"s3://here/{key} has SHA-256" in _keeper(place).keep(place.arrived(ONE))["reason"]


def _decide(place: Any, package: str, released: Released) -> dict[str, Any]:
    requested = {
        "package": package,
        "binding": registration(released.record, target=place.target)[1]["container_sha256"],
        "record_sha256": released.sha256,
        "model_sha256": released.record.package.model_sha256,
        "released_at": _released_at(released),
    }
    return _keeper(place).decide({**requested, "now": NOW})


def _released_at(released: Released) -> str:
    return released_at(released.record).isoformat(timespec="microseconds")


def test_the_policy_approves_a_model_that_is_new_here(place: Any) -> None:
    """And one of a later attempt; the same model by another release is left for a person, as it may have been rolled back."""
    package = _registered(place, ONE)
    assert _decide(place, package, ONE) == {
        "may_approve": True,
        "is_approved": False,
        "is_other": False,
        "rest": "",
    }
    assert _decide(place, package, ONE)["may_approve"]
    assert _keeper(place).keep(place.arrived(ONE))["package"] == package

    again = release(execution="alarm-2", released_at="2017-08-01T08:59:30.000Z")
    decided = _decide(place, _registered(place, again), again)
    assert not decided["may_approve"]
    assert "this model was taken before" in decided["rest"]
    assert "a newer release" in _decide(place, package, ONE)["rest"]


def test_a_package_that_is_not_the_release_is_never_approved(place: Any) -> None:
    """Someone registered it under the release's token; it is not kept as what the offer became."""
    place.table.offer(ONE.uri, ONE.sha256, NOW)
    other = _registered(place, release(execution="alarm-2"))
    decided = _decide(place, other, ONE)
    assert (decided["may_approve"], decided["is_approved"], decided["is_other"]) == (False, False, True)
    assert f"{other} was registered with the client token of this release, but is bound by" in decided["rest"]
    assert place.table.read(ONE.sha256).package == ""


def test_the_policy_rests_with_the_unit(place: Any) -> None:
    """Copying goes on; approving does not."""
    package = _registered(place, ONE)
    pause = {"is_paused": True, "by": "ann", "at": NOW, "reason": "peak", "format": "mlops.pause/1"}
    place.dynamodb.put_item(
        TableName="promotions", Item={"endpoint": {"S": "demand"}, "pause": {"S": json.dumps(pause)}}
    )
    decided = _decide(place, package, ONE)
    assert (decided["may_approve"], "paused since" in decided["rest"]) == (False, True)


def test_what_people_decided_stays(place: Any) -> None:
    """A later attempt finds the package approved, or rejected."""
    package = _registered(place, ONE)
    for status, is_approved in (("Approved", True), ("Rejected", False)):
        metadata = registration(ONE.record, target=place.target)[1]  # moto forgets what an update does not repeat
        place.sagemaker.update_model_package(
            ModelPackageArn=package, ModelApprovalStatus=status, CustomerMetadataProperties=metadata
        )
        decided = _decide(place, package, ONE)
        assert (decided["may_approve"], decided["is_approved"]) == (False, is_approved)


def _record(place: Any, outcome: str, reason: str, execution: str, **more: Any) -> dict[str, Any]:
    requested = {
        "outcome": outcome,
        "reason": reason,
        "execution": execution,
        "now": NOW,
        "package": "",
        "binding": "",
        "facts": {},
    }
    return _keeper(place).record({**requested, "record_sha256": ONE.sha256, "record_uri": ONE.uri, **more})


@contextmanager
def _failing(place: Any, operation: str, code: str, message: str) -> Iterator[None]:
    """Let an operation of SageMaker fail."""

    def fail(**_: Any) -> None:
        raise ClientError({"Error": {"Code": code, "Message": message}}, operation)

    events = place.sagemaker.meta.events
    events.register(f"before-call.sagemaker.{operation}", fail)
    try:
        yield
    finally:
        events.unregister(f"before-call.sagemaker.{operation}", fail)


def test_an_outcome_is_recorded_where_packages_may_not_be_read(place: Any) -> None:
    """Without the package of an earlier attempt, which the next one names."""
    package = _registered(place, ONE)
    with _failing(place, "ListModelPackages", "AccessDeniedException", "no"):
        recorded = _record(place, "REFUSED", "no image", "a")
    assert (recorded["package"], recorded["reason"]) == ("", "no image")
    assert _keeper(place).chain.record_of("a") is not None
    assert _record(place, "REFUSED", "no image", "b")["package"] == package


def test_each_outcome_is_in_the_chain_once(place: Any) -> None:
    """With the source's record; what is refused again for the same reason is no news."""
    place.table.offer(ONE.uri, ONE.sha256, NOW)
    assert _record(place, "REFUSED", "no image", "a", may_pass=True)["is_news"]
    assert not _record(place, "REFUSED", "no image", "b", may_pass=True)["is_news"]
    facts = {"source_record": "a" * 64, "model_sha256": "b" * 64, "source_package": "theirs"}
    more = {"package": "ours", "binding": "c" * 64, "facts": facts}
    reported = {"is_news": True, "reason": "as build approved it", "package": "ours"}
    assert _record(place, "APPROVED", "as build approved it", "c", **more) == reported
    _record(place, "APPROVED", "as build approved it", "c", **more)

    chain = _keeper(place).chain
    refused, registered = chain.newest(chain.table.read(), 10)
    assert (refused.outcome, refused.execution, refused.requested_by) == (
        Outcome.REFUSED,
        "a",
        "build, 111111111111 eu-west-1",
    )
    assert (registered.outcome, registered.candidate_package) == (Outcome.REGISTERED, "ours")
    assert (registered.source_record, registered.container_sha256) == ("a" * 64, "c" * 64)
    assert chain.problems() == []
    assert place.table.read(ONE.sha256).state == "APPROVED"


def test_a_package_that_an_earlier_attempt_registered_stays_known(place: Any) -> None:
    """It is pending: while the release may pass it is named, and once it is refused for good as one to reject."""
    package = _registered(place, ONE)
    _decide(place, package, ONE)  # and the attempt died
    assert _record(place, "REFUSED", "no image", "b", may_pass=True)["reason"] == "no image"
    assert place.table.read(ONE.sha256).package == package
    words = f"reject {package}, which an earlier attempt registered: withdrawn"
    assert _record(place, "REFUSED", "withdrawn", "c") == {"is_news": True, "reason": words, "package": package}
    assert not _record(place, "REFUSED", "withdrawn", "d")["is_news"]
    offer = place.table.read(ONE.sha256)
    assert (offer.state, offer.reason, offer.package) == ("REFUSED", words, package)
    chain = _keeper(place).chain
    assert [(each.reason, each.candidate_package) for each in chain.newest(chain.table.read(), 1)] == [(words, package)]


def test_a_release_whose_package_a_person_deleted_is_refused_for_good(place: Any) -> None:
    """Nobody has a package to reject, and no attempt follows; until then the package stays known."""
    package = _registered(place, ONE)
    _decide(place, package, ONE)  # and the attempt died
    end = "which an earlier attempt registered, was deleted: this release is not taken, but newer ones are"
    words = f"{package}, {end}"

    with _failing(place, "DescribeModelPackage", "ValidationException", f"ModelPackage {package} does not exist."):
        assert _record(place, "FAILED", "timeout", "a")["package"] == package
        refused = _keeper(place).keep(place.arrived(ONE))
        recorded = _record(place, "REFUSED", words, "b")

    assert refused == {"verdict": "REFUSED", "reason": words, "may_pass": False}
    assert recorded == {"is_news": True, "reason": words, "package": package}
    assert place.table.read(ONE.sha256).is_open is False


def test_a_package_that_cannot_be_read_is_one_to_reject(place: Any) -> None:
    """It may still be there."""
    package = _registered(place, ONE)
    _decide(place, package, ONE)
    with _failing(place, "DescribeModelPackage", "AccessDeniedException", "no"):
        recorded = _record(place, "REFUSED", "withdrawn", "a")
    words = f"reject {package}, which an earlier attempt registered: withdrawn"
    assert (recorded["package"], recorded["reason"]) == (package, words)


def test_a_package_of_an_attempt_that_died_before_the_offer_knew_it_is_found(place: Any) -> None:
    """By its binding: the next attempt goes on with it, and a refusal names it, also one before anything was copied again."""
    package = _registered(place, ONE)  # and the attempt died
    place.table.offer(TWO.uri, TWO.sha256, NOW)
    assert _keeper(place).keep(place.arrived(TWO))["package"] == ""
    assert _keeper(place).keep(place.arrived(ONE))["package"] == package
    assert place.table.read(ONE.sha256).package == ""
    assert _record(place, "REFUSED", "no image", "b", may_pass=True)["package"] == package
    assert place.table.read(ONE.sha256).package == package


def test_a_refusal_asks_to_reject_a_package_that_no_offer_knew(place: Any) -> None:
    """The source withdrew the release before the next attempt copied anything."""
    package = _registered(place, ONE)
    words = f"reject {package}, which an earlier attempt registered: withdrawn"
    assert _record(place, "REFUSED", "withdrawn", "b") == {"is_news": True, "reason": words, "package": package}
    assert place.table.read(ONE.sha256).package == package


def test_the_package_of_a_failed_registration_is_found_by_its_own_binding_only(place: Any) -> None:
    """Registering may fail after it was done; another binding of an earlier attempt is not this package."""
    package = _registered(place, ONE)
    binding = registration(ONE.record, target=place.target)[1]["container_sha256"]
    assert _record(place, "FAILED", "timeout", "a", binding="c" * 64)["package"] == ""
    assert _record(place, "FAILED", "timeout", "b", binding=binding)["package"] == package


def test_a_release_that_was_promoted_is_not_one_to_reject(place: Any) -> None:
    """An execution by hand is refused because a newer release was taken since."""
    package = _registered(place, ONE)
    _decide(place, package, ONE)
    _record(place, "APPROVED", "as build approved it", "a", package=package)
    assert _record(place, "REFUSED", "stale", "b")["reason"] == "stale"
    assert (place.table.read(ONE.sha256).state, place.table.read(ONE.sha256).package) == ("APPROVED", package)


class _DiedError(BaseException):
    """The function's process is gone. Not an ``Exception``, which code may catch."""


def _die_at(patch: pytest.MonkeyPatch, number: int, *, is_done: bool) -> None:
    """Let the process die at its n-th call of AWS, before the call's work or after it."""
    made, calls = BaseClient._make_api_call, itertools.count(1)

    def call(client: Any, operation: str, arguments: Any) -> Any:
        is_last = next(calls) == number
        if is_last and not is_done:
            raise _DiedError
        answer = made(client, operation, arguments)
        if is_last:
            raise _DiedError
        return answer

    patch.setattr(BaseClient, "_make_api_call", call)


@pytest.mark.campaign
@pytest.mark.parametrize("is_done", [False, True])
@pytest.mark.parametrize(("step", "calls"), [("decide", 16), ("record", 8)])
def test_an_attempt_that_dies_at_any_call_is_completed_by_the_next(
    place: Any, monkeypatch: pytest.MonkeyPatch, step: str, calls: int, is_done: bool
) -> None:
    """A crash before or after any call: the release is then stored, signed and recorded exactly once."""
    for number in itertools.count(1):
        name = f"{step}-{number}-{is_done}"
        released = release(
            archive=name.encode(),
            model_sha256=hashlib.sha256(name.encode()).hexdigest(),
            execution=name,
            released_at=f"2017-08-01T08:{number // 60:02}:{number % 60:02}.000Z",
        )
        if not _dies(place, monkeypatch, released, step=step, number=number, is_done=is_done):
            break  # it has fewer calls
        package = _attempt(place, released, "two")
        offer = place.table.read(released.sha256)
        assert (offer.state, offer.package) == ("APPROVED", package), name
        chain = _keeper(place).chain
        mine = [each for each in chain.newest(chain.table.read(), 5) if each.candidate_package == package]
        assert [each.outcome for each in mine] == [Outcome.REGISTERED], name
        kept = [key for key in _keys(place) if released.record.artifact.sha256 in key or released.record.binding in key]
        assert len(kept) == 5, (name, kept)  # four objects and a signature
    assert _keeper(place).chain.problems() == []
    assert number > calls


def _dies(
    place: Any, monkeypatch: pytest.MonkeyPatch, released: Released, *, step: str, number: int, is_done: bool
) -> bool:
    """Let one step of a first attempt fail; return whether it did."""
    place.table.offer(released.uri, released.sha256, NOW)
    with suppress(_DiedError), monkeypatch.context() as patch:
        _attempt(place, released, "one", before=lambda at: at == step and _die_at(patch, number, is_done=is_done))
        return False
    return True


def _attempt(place: Any, released: Released, execution: str, before: Any = lambda _: None) -> str:
    """Run the machine's steps like an execution; return the package."""
    keeper, requested = _keeper(place), place.arrived(released)
    before("keep")
    kept = keeper.keep(requested)
    assert kept["verdict"] == "KEPT", kept
    package = kept["package"] or _registered(place, released)
    model = {"model_sha256": released.record.package.model_sha256, "released_at": kept["released_at"]}
    about = {
        "record_uri": released.uri,
        "record_sha256": released.sha256,
        "package": package,
        "binding": kept["binding"],
    }
    before("decide")
    assert keeper.decide({**about, **model, "now": NOW})["may_approve"]
    before("record")
    keeper.record(
        {
            **about,
            "outcome": "APPROVED",
            "reason": "as build approved it",
            "execution": f"{released.record.execution}:{released.sha256[:8]}-{execution}",
            "now": NOW,
            "facts": {"model_sha256": model["model_sha256"]},
        }
    )
    return str(package)
