"""Appending to the chain: crashes between side effects, retries, other writers, and the live pointer."""

import threading
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError
from rollout_world import ENDPOINT, EXECUTION, NOW, PACKAGE, World

from mlops_runtime.contracts import from_json, to_dict
from mlops_runtime.contracts.rollout import AuditRecord, LivePointer, Outcome, TakenBack
from mlops_runtime.rollout.audit import Claim
from mlops_runtime.rollout.record import AuditChain, AuditError, record
from mlops_runtime.rollout.seals import Sealer
from mlops_runtime.rollout.taken_back import taken_back


def _claim(world: World, config: str, package: str, outcome: str = "PROMOTED", **changes: Any) -> Claim:
    plan = {
        "config_name": config,
        "previous_config": "demand-forecast-00000001",
        "candidate_package": package,
        "live": to_dict(world.pointer(config, package)),
    }
    claim = Claim(outcome=Outcome(outcome), reason="evidence", execution=EXECUTION, at=NOW, plan=plan)
    return replace(claim, **changes)


def _live(world: World) -> LivePointer | None:
    live = world.table.read().live
    return None if live is None else from_json(LivePointer, live)


@pytest.fixture
def promoted(world: World) -> tuple[World, Claim]:
    """A world in which execution ``one`` holds the lock and its config serves."""
    package = world.package()
    world.version("demand-forecast-00000002", package)
    world.serve("demand-forecast-00000002")
    world.lock()
    return world, _claim(world, "demand-forecast-00000002", package)


def _record(world: World, claim: Claim) -> dict[str, Any]:
    return record(claim, sagemaker=world.sagemaker, chain=world.chain)


def test_promotion_is_recorded_and_becomes_live(promoted: tuple[World, Claim]) -> None:
    """One object, a head that names it, a pointer at what serves."""
    world, claim = promoted
    answer = _record(world, claim)
    assert answer == {"sequence": 1, "serving_config": "demand-forecast-00000002", "outcome": "PROMOTED"}
    assert world.problems() == []
    assert next(iter(world.objects())).startswith("audit/demand-forecast/00000001-")
    live = _live(world)
    assert live is not None
    assert (live.config, live.since) == ("demand-forecast-00000002", "2017-08-01T09:00:00Z")
    assert taken_back(world.table.read()) == ()


def test_a_retry_records_once(promoted: tuple[World, Claim]) -> None:
    """The same execution gets the same answer, also at another time."""
    world, claim = promoted
    assert _record(world, claim) == _record(world, replace(claim, at=NOW.replace(hour=11)))
    assert len(world.objects()) == 1


class _CrashError(Exception):
    pass


class _DyingChain(AuditChain):
    """Dies instead of writing the objects."""

    def write(self, record: object, seal: object) -> None:
        del record, seal
        raise _CrashError


def test_a_crash_between_row_and_object_is_repaired_by_the_retry(promoted: tuple[World, Claim]) -> None:
    """The row says what to write; the retry writes it and adds nothing."""
    world, claim = promoted
    dying = _DyingChain(s3=world.s3, bucket="audit", table=world.table, heads="heads", sealer=world.kms.sealer)
    with pytest.raises(_CrashError):
        record(claim, sagemaker=world.sagemaker, chain=dying)
    assert world.objects() == {}
    assert world.problems() == [
        "sequence 1 is missing",
        f"sequence 1 does not have the hash {world.table.read().audit_head[:16]} that follows from the head",
        f"the row's head {world.table.read().audit_head[:16]} at sequence 1 has no seal",
    ]
    assert _record(world, claim)["sequence"] == 1
    assert world.problems() == []
    assert len(world.objects()) == 1


def test_a_crash_is_repaired_by_the_next_writer(promoted: tuple[World, Claim]) -> None:
    """Who never comes back leaves no hole."""
    world, claim = promoted
    dying = _DyingChain(s3=world.s3, bucket="audit", table=world.table, heads="heads", sealer=world.kms.sealer)
    with pytest.raises(_CrashError):
        record(claim, sagemaker=world.sagemaker, chain=dying)
    rejection = Claim(outcome=Outcome.REJECTED, reason="lost", execution="retrain", at=NOW)
    assert _record(world, rejection)["sequence"] == 2
    assert world.problems() == []


def test_a_retry_after_other_writers_still_finds_its_record(promoted: tuple[World, Claim]) -> None:
    """A rejection between two attempts does not make a second record."""
    world, claim = promoted
    first = _record(world, claim)
    _record(world, Claim(outcome=Outcome.REJECTED, reason="lost", execution="retrain", at=NOW))
    assert _record(world, claim) == first
    assert len(world.objects()) == 2


def test_writers_at_once_make_one_chain(promoted: tuple[World, Claim]) -> None:
    """Six rejections and a promotion, from threads: seven records, no fork."""
    world, claim = promoted
    claims = [claim] + [
        Claim(outcome=Outcome.REJECTED, reason="lost", execution=f"retrain-{i}", at=NOW) for i in range(6)
    ]
    threads = [threading.Thread(target=_record, args=(world, each)) for each in claims]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert world.problems() == []
    assert world.table.read().audit_sequence == len(world.objects()) == 7


def test_a_rejection_leaves_the_live_pointer(promoted: tuple[World, Claim]) -> None:
    """It says what serves and which candidate lost; nothing else changes."""
    world, claim = promoted
    _record(world, claim)
    before = world.table.read().live
    rejection = Claim(
        outcome=Outcome.REJECTED,
        reason="does not beat the mean",
        execution="retrain",
        at=NOW,
        candidate={"model_sha256": "e" * 64, "training_set_id": "t"},
    )
    answer = _record(world, rejection)
    assert answer == {"sequence": 2, "serving_config": "demand-forecast-00000002", "outcome": "REJECTED"}
    assert world.table.read().live == before
    newest = world.chain.newest(world.table.read(), 1)[0]
    assert (newest.model_sha256, newest.training_set_id) == ("e" * 64, "t")
    assert newest.serving_package is not None


def test_a_rejection_is_recorded_once_whatever_serves_meanwhile(promoted: tuple[World, Claim]) -> None:
    """A promotion between two attempts of the Retrain machine does not reject the candidate twice."""
    world, claim = promoted
    rejection = Claim(outcome=Outcome.REJECTED, reason="lost", execution="retrain", at=NOW)
    first = _record(world, rejection)
    world.version("demand-forecast-00000003", world.package())
    world.serve("demand-forecast-00000003")
    _record(world, claim)
    assert _record(world, rejection) == first
    assert len(world.objects()) == 2


def test_a_rejection_moves_no_pointer_even_under_the_lock(promoted: tuple[World, Claim]) -> None:
    """It is about a candidate that never served."""
    world, claim = promoted
    _record(world, replace(claim, outcome=Outcome.REJECTED))
    assert _live(world) is None


def test_who_lost_the_lock_records_but_points_at_nothing(promoted: tuple[World, Claim]) -> None:
    """The pointer belongs to the holder of the lock, who will read again what serves."""
    world, claim = promoted
    other = replace(claim, execution="late")
    assert _record(world, other)["sequence"] == 1
    assert _live(world) is None


def test_a_silent_rollback_is_recorded_as_one(promoted: tuple[World, Claim]) -> None:
    """SageMaker went back to the old config without a word; the old pointer stays."""
    world, claim = promoted
    old = world.package()
    world.version("demand-forecast-00000001", old)
    world.serve("demand-forecast-00000001")
    world.point(world.pointer("demand-forecast-00000001", old))
    world.dynamodb.update_item(
        TableName="rollout",
        Key={"endpoint": {"S": ENDPOINT}},
        UpdateExpression="SET locked_at = :at",
        ExpressionAttributeValues={":at": {"S": "2017-08-01T08:31:00Z"}},
    )
    assert _record(world, claim)["outcome"] == "ROLLED_BACK"
    live = _live(world)
    assert live is not None
    assert live.config == "demand-forecast-00000001"
    assert taken_back(world.table.read()) == (TakenBack(since="2017-08-01T08:31:00Z", until="2017-08-01T09:00:00Z"),)


def test_an_unknown_config_gets_a_pointer_from_its_package(promoted: tuple[World, Claim]) -> None:
    """Monitors compare with what really serves; the empty spec hash makes the next spec apply."""
    world, claim = promoted
    package = world.package()
    world.version("demand-forecast-by-hand", package)
    world.serve("demand-forecast-by-hand")
    assert _record(world, replace(claim, outcome=Outcome.FAILED))["serving_config"] == "demand-forecast-by-hand"
    live = _live(world)
    assert live is not None
    assert (live.config, live.model_package_arn, live.spec_sha256) == ("demand-forecast-by-hand", package, "")
    assert (live.baseline_uri, live.baseline_sha256) == (PACKAGE.baseline_uri, PACKAGE.baseline_sha256)


def test_an_endpoint_that_is_gone_has_no_pointer(promoted: tuple[World, Claim]) -> None:
    """The pointer is removed with what it pointed at."""
    world, claim = promoted
    _record(world, claim)
    world.sagemaker.delete_endpoint(EndpointName=ENDPOINT)
    answer = _record(world, replace(claim, outcome=Outcome.FAILED))
    assert answer == {"sequence": 2, "serving_config": None, "outcome": "FAILED"}
    assert _live(world) is None


def test_a_recovery_tells_of_what_it_recovers(promoted: tuple[World, Claim]) -> None:
    """One record for the execution that died and for the one that saw to it: which, and what it was about."""
    world, claim = promoted
    died = {
        "execution": "arn:aws:states:us-east-1:123456789012:execution:Deploy:approval-2-x",
        "status": "ABORTED",
        "started": "2017-08-01T08:00:00Z",
        "reason": "approval",
        "requested_by": "ann",
        "model_package_arn": "arn:aws:sagemaker:us-east-1:123456789012:model-package/demand-forecast/2",
    }
    recovered = replace(claim, outcome=Outcome.UNCHANGED, plan={}, request={"died": died, "requested_by": "end of it"})
    _record(world, recovered)
    written = from_json(AuditRecord, next(iter(world.objects().values())))
    assert (written.recovers, written.candidate_package) == (died["execution"], died["model_package_arn"])
    assert written.reason == (
        f"recovers approval-2-x, which was ABORTED: approval of {died['model_package_arn']}, asked for by ann; evidence"
    )


def test_what_had_told_of_itself_before_it_died_is_not_told_again(promoted: tuple[World, Claim]) -> None:
    """It died between its record and the release of its lock."""
    world, claim = promoted
    _record(world, claim)
    died = {
        "execution": EXECUTION,
        "status": "ABORTED",
        "started": "2017-08-01T08:00:00Z",
        "reason": "approval",
        "requested_by": "ann",
    }
    world.lock("recovery")
    after = Claim(
        outcome=Outcome.UNCHANGED, reason="serves already", execution="recovery", at=NOW, request={"died": died}
    )
    _record(world, after)
    last = from_json(AuditRecord, max(world.objects().items())[1])
    assert (last.execution, last.recovers, last.reason) == ("recovery", None, "serves already")


def test_another_content_in_the_place_of_a_record_is_an_older_version(promoted: tuple[World, Claim]) -> None:
    """An object under a record's key that is not the record stops nobody; the row says what belongs there."""
    world, claim = promoted
    _record(world, claim)
    key, content = next(iter(world.objects().items()))
    world.s3.put_object(Bucket="audit", Key=key, Body=b"{}")
    assert _record(world, replace(claim, execution="next"))["sequence"] == 2
    assert world.objects()[key] == content
    assert world.problems() == []


def test_fails_without_a_key(promoted: tuple[World, Claim]) -> None:
    """A chain that was opened for reading writes nothing."""
    world, claim = promoted
    reader = AuditChain(s3=world.s3, bucket="audit", table=world.table, heads="heads")
    with pytest.raises(AuditError, match="no key to sign with"):
        record(claim, sagemaker=world.sagemaker, chain=reader)
    assert world.objects() == {}


def test_a_key_that_does_not_sign_stops_the_record(promoted: tuple[World, Claim]) -> None:
    """Nothing moves without a signature: the machine tries again."""
    world, claim = promoted

    class Disabled:
        def sign(self, **_: object) -> object:
            raise ClientError({"Error": {"Code": "DisabledException", "Message": "the key is disabled"}}, "Sign")

    chain = replace(world.chain, sealer=Sealer(kms=Disabled(), key="k"))  # type: ignore[arg-type]  # a client that only fails
    with pytest.raises(ClientError, match="disabled"):
        record(claim, sagemaker=world.sagemaker, chain=chain)
    assert world.table.read().audit_sequence == 0
