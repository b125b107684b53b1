"""The record of an outcome: what it says, retries, and the live pointer that moves with it."""

import hashlib
from dataclasses import MISSING, fields, replace
from typing import Any

import pytest
from tests.runtime.rollout.world import ENDPOINT, EXECUTION, NOW, PACKAGE, World, record_in

from mlops_runtime.contracts import ContractError, canonical_json, from_json, to_dict
from mlops_runtime.contracts.rollout import (
    AuditRecord,
    LivePointer,
    LockRow,
    Outcome,
    RolloutVerdict,
    TakenBack,
    taken_back,
)
from mlops_runtime.registry.model_package import package_request, read_package
from mlops_runtime.rollout.audit_chain import last_record
from mlops_runtime.rollout.live_fleet import Serving, Version
from mlops_runtime.rollout.outcome_record import Claim, claim_from, next_live, next_record, record

PLAN = {"config_name": "new", "previous_config": "old", "requested_by": "anna", "candidate_package": "p2"}


PACKAGED = read_package(
    package_request(PACKAGE, approval="Approved") | {"ModelPackageArn": "p", "ModelPackageGroupName": ENDPOINT}
)


def _serving(config: str, status: str = "InService") -> Serving:
    version = Version(config=config, variants=(), model=config, package="p")
    return Serving(status=status, config=config, version=version)


def _claim(outcome: str, **changes: Any) -> Claim:
    return replace(Claim(outcome=Outcome(outcome), reason="why", execution=EXECUTION, at=NOW, plan=PLAN), **changes)


def test_a_promotion_is_believed_only_when_it_serves() -> None:
    """The record has SageMaker's state; a silent rollback is recorded as such."""
    row = LockRow(endpoint=ENDPOINT)
    promoted = next_record(row, _claim("PROMOTED"), _serving("new"), PACKAGED)
    assert (promoted.outcome, promoted.serving_config, promoted.requested_by) == (Outcome.PROMOTED, "new", "anna")
    silent = next_record(row, _claim("PROMOTED"), _serving("old"), PACKAGED)
    assert (silent.outcome, silent.serving_config) == (Outcome.ROLLED_BACK, "old")
    assert silent.reason == "meant to promote new, but the endpoint has old, InService; why"
    unfinished = next_record(row, _claim("PROMOTED"), _serving("new", "Updating"), PACKAGED)
    assert unfinished.outcome is Outcome.FAILED
    gone = next_record(row, _claim("PROMOTED"), None, None)
    assert (gone.outcome, gone.serving_config) == (Outcome.FAILED, None)


def test_a_promotion_says_which_container_passed_what() -> None:
    """Rollbacks depend on the record; a container that did not serve has passed nothing."""
    live = to_dict(_pointer("new", container_sha256=PACKAGED.container_sha256))
    plan = PLAN | {"live": live, "golden_sha256": "7" * 64}
    row = LockRow(endpoint=ENDPOINT)
    promoted = next_record(row, _claim("PROMOTED", plan=plan), _serving("new"), PACKAGED)
    assert (promoted.container_sha256, promoted.golden_sha256) == (PACKAGED.container_sha256, "7" * 64)
    back = next_record(row, _claim("ROLLED_BACK", plan=plan), _serving("old"), PACKAGED)
    assert (back.container_sha256, back.golden_sha256) == (PACKAGED.container_sha256, None)


def test_a_package_that_was_changed_under_way_is_no_promotion() -> None:
    """The model was not created from the planned package, and the record has the reason."""
    plan = PLAN | {"live": to_dict(_pointer("new", container_sha256="d" * 64))}
    for package, found in ((PACKAGED, f"has {PACKAGED.container_sha256}"), (None, "can no longer be deployed")):
        record = next_record(LockRow(endpoint=ENDPOINT), _claim("PROMOTED", plan=plan), _serving("new"), package)
        assert record.outcome is Outcome.FAILED
        assert f"its package, planned as {'d' * 64}, {found}" in record.reason


def test_a_rollback_that_did_not_happen_is_a_failure() -> None:
    """The new config still serves."""
    record = next_record(LockRow(endpoint=ENDPOINT), _claim("ROLLED_BACK"), _serving("new"), PACKAGED)
    assert record.outcome is Outcome.FAILED
    assert "new still serves" in record.reason


def test_a_record_follows_the_head() -> None:
    """Sequence and previous hash come from the row."""
    row = LockRow(endpoint=ENDPOINT, audit_head="f" * 64, audit_sequence=41)
    record = next_record(row, _claim("REFUSED", plan={}, request={"requested_by": "bob"}), None, None)
    assert (record.sequence, record.previous, record.requested_by) == (42, "f" * 64, "bob")


def test_live_is_unknown_where_nothing_serves_or_nothing_is_known() -> None:
    """A missing endpoint, a failed one, and a config without a package have no pointer."""
    row = LockRow(endpoint=ENDPOINT)
    for serving in (None, _serving("x", "Failed"), _serving("by-hand")):
        assert next_live(row, _claim("FAILED"), serving, None) is None


def _pointer(config: str, **changes: Any) -> LivePointer:
    texts = {f.name: "x" for f in fields(LivePointer) if f.default is MISSING}
    return LivePointer(**(texts | {"endpoint": ENDPOINT, "config": config} | changes))


def test_a_probation_begins_with_the_record() -> None:
    """The plan's seconds count from the record's time; without a probation the pointer's own stays."""
    row, plan = LockRow(endpoint=ENDPOINT), PLAN | {"live": to_dict(_pointer("new")), "probation": 3600}
    live = next_live(row, _claim("PROMOTED", plan=plan), _serving("new"), None)
    assert live is not None
    assert (live.since, live.probation_until) == ("2017-08-01T09:00:00Z", "2017-08-01T10:00:00Z")
    on_probation = PLAN | {"live": to_dict(_pointer("new", probation_until="2017-08-02T09:00:00Z")), "probation": 0}
    kept = next_live(row, _claim("PROMOTED", plan=on_probation), _serving("new"), None)
    assert kept is not None
    assert kept.probation_until == "2017-08-02T09:00:00Z"


def test_a_slot_that_could_not_be_left_does_not_become_what_is_live() -> None:
    """Its traffic belongs to the recorded version, to which the next execution returns it; without a record it is what serves."""
    plan = PLAN | {"live": to_dict(_pointer("new")), "eks": {"slot": "green"}}
    row = LockRow(endpoint=ENDPOINT, live=canonical_json(_pointer("old")).decode())
    for outcome, config in (("FAILED", "old"), ("PROMOTED", "new")):
        live = next_live(row, _claim(outcome, plan=plan), _serving("new"), None)
        assert live is not None
        assert live.config == config
    first = next_live(LockRow(endpoint=ENDPOINT), _claim("FAILED", plan=plan), _serving("new"), None)
    assert first is not None
    assert first.config == "new"


def test_a_version_that_nobody_recorded_goes_back_to_the_one_that_was() -> None:
    """An execution died between its update and its record; the former live version is the rollback target."""
    known = _pointer("old", previous="older", kept=("oldest",))
    row = LockRow(endpoint=ENDPOINT, live=canonical_json(known).decode())
    live = next_live(row, _claim("UNCHANGED", plan={}), _serving("unknown"), PACKAGED)
    assert live is not None
    assert (live.config, live.previous, live.kept) == ("unknown", "old", ("older", "oldest"))
    assert (live.artifact_sha256, live.container_sha256) == (PACKAGE.artifact_sha256, PACKAGED.container_sha256)


@pytest.mark.parametrize(
    ("event", "message"),
    [
        ({"outcome": "PROMOTED", "now": "2017-08-01T09:00:00Z"}, "execution must be a string"),
        ({"outcome": "GREAT", "now": "2017-08-01T09:00:00Z", "execution": "e"}, "outcome must be one of PROMOTED"),
        ({"outcome": "FAILED", "now": "2017-08-01T09:00:00Z", "execution": "e", "plan": []}, "plan must be an object"),
    ],
)
def test_fails_when_a_claim_is_malformed(event: dict[str, Any], message: str) -> None:
    """The error has the expected shape."""
    with pytest.raises(ContractError, match=message):
        claim_from(event)


def test_null_parts_of_a_claim_are_empty() -> None:
    """A machine passes null for a missing plan."""
    event = {"outcome": "FAILED", "now": "2017-08-01T09:00:00Z", "execution": "e", "plan": None, "request": None}
    assert claim_from(event) == Claim(outcome=Outcome.FAILED, reason="", execution="e", at=NOW)


def _live(world: World) -> LivePointer | None:
    live = world.table.read().live
    return None if live is None else from_json(LivePointer, live)


def test_promotion_is_recorded_and_becomes_live(promoted: tuple[World, Claim]) -> None:
    """One object, a head that names it, and a pointer to the serving version."""
    world, claim = promoted
    answer = record_in(world, claim)
    assert answer == {"sequence": 1, "serving_config": "demand-forecast-00000002", "outcome": "PROMOTED"}
    assert world.problems() == []
    assert next(iter(world.objects())).startswith("audit/demand-forecast/00000001-")
    live = _live(world)
    assert live is not None
    assert (live.config, live.since) == ("demand-forecast-00000002", "2017-08-01T09:00:00Z")
    assert taken_back(world.table.read()) == ()


def test_the_minutes_of_a_verdict_are_kept_with_its_record(promoted: tuple[World, Claim]) -> None:
    """The record has their location and hash; `verify` finds changed and missing ones."""
    world, claim = promoted
    content = b'{"compared": []}'
    verdict = RolloutVerdict(
        action="enough",
        calls=600,
        evidence=0.4,
        minutes=3,
        sentence="after 3 minutes: 0 of 600 answers failed",
        minutes_uri="s3://artifacts/verdicts/demand-forecast/c.json",
        minutes_sha256=hashlib.sha256(content).hexdigest(),
    )
    world.s3.put_object(Bucket="artifacts", Key="verdicts/demand-forecast/c.json", Body=content)
    record_in(world, replace(claim, verdict=verdict))
    key = f"minutes/demand-forecast/00000001-{verdict.minutes_sha256[:16]}.json"
    last = last_record(world.table.read())
    assert last is not None
    assert last.verdict == replace(verdict, minutes_uri=f"s3://audit/{key}")
    assert world.chain.minutes() == {key: content}
    assert world.problems() == []
    world.s3.put_object(Bucket="audit", Key=key, Body=b"{}")
    assert world.problems() == [f"{key} was changed after the verdict of record 1 was computed"]
    world.s3.delete_object(Bucket="audit", Key=key)
    assert world.problems() == [f"{key} is missing"]


def test_a_record_is_written_though_its_minutes_cannot_be_kept(promoted: tuple[World, Claim]) -> None:
    """A later comparison has overwritten them: the record has the hash of the function's original."""
    world, claim = promoted
    verdict = RolloutVerdict(
        action="enough", calls=1, evidence=1.0, minutes=1, sentence="s", minutes_uri="s3://artifacts/x", minutes_sha256="0" * 64
    )  # fmt: skip
    record_in(world, replace(claim, verdict=verdict))
    last = last_record(world.table.read())
    assert last is not None
    assert last.verdict == verdict
    assert world.problems() == []


def test_a_retry_records_once(promoted: tuple[World, Claim]) -> None:
    """The same execution gets the same result, also at another time."""
    world, claim = promoted
    assert record_in(world, claim) == record_in(world, replace(claim, at=NOW.replace(hour=11)))
    assert len(world.objects()) == 1


def test_a_retry_after_other_writers_still_finds_its_record(promoted: tuple[World, Claim]) -> None:
    """A rejection between two attempts does not cause a second record."""
    world, claim = promoted
    first = record_in(world, claim)
    record_in(world, Claim(outcome=Outcome.REJECTED, reason="lost", execution="retrain", at=NOW))
    assert record_in(world, claim) == first
    assert len(world.objects()) == 2


def test_a_rejection_leaves_the_live_pointer(promoted: tuple[World, Claim]) -> None:
    """It names the serving version and the rejected candidate; nothing else changes."""
    world, claim = promoted
    record_in(world, claim)
    before = world.table.read().live
    rejection = Claim(
        outcome=Outcome.REJECTED,
        reason="does not beat the mean",
        execution="retrain",
        at=NOW,
        candidate={"model_sha256": "e" * 64, "training_set_id": "t"},
    )
    answer = record_in(world, rejection)
    assert answer == {"sequence": 2, "serving_config": "demand-forecast-00000002", "outcome": "REJECTED"}
    assert world.table.read().live == before
    newest = world.chain.newest(world.table.read(), 1)[0]
    assert (newest.model_sha256, newest.training_set_id) == ("e" * 64, "t")
    assert newest.serving_package is not None


def test_a_rejection_is_recorded_where_nothing_serves(promoted: tuple[World, Claim]) -> None:
    """With a champion in another account, SageMaker is not called and the pointer stays."""
    world, claim = promoted
    record_in(world, claim)
    before = world.table.read().live
    rejection = Claim(outcome=Outcome.REJECTED, reason="lost", execution="retrain", at=NOW)
    sagemaker: Any = None
    answer = record(rejection, sagemaker=sagemaker, chain=world.chain, has_endpoint=False)

    assert answer == {"sequence": 2, "serving_config": None, "outcome": "REJECTED"}
    assert world.table.read().live == before


def test_a_rejection_is_recorded_once_whatever_serves_meanwhile(promoted: tuple[World, Claim]) -> None:
    """A promotion between two attempts of the Retrain machine does not cause a second rejection."""
    world, claim = promoted
    rejection = Claim(outcome=Outcome.REJECTED, reason="lost", execution="retrain", at=NOW)
    first = record_in(world, rejection)
    world.version("demand-forecast-00000003", world.package())
    world.serve("demand-forecast-00000003")
    record_in(world, claim)
    assert record_in(world, rejection) == first
    assert len(world.objects()) == 2


def test_a_rejection_moves_no_pointer_even_under_the_lock(promoted: tuple[World, Claim]) -> None:
    """The candidate never served."""
    world, claim = promoted
    record_in(world, replace(claim, outcome=Outcome.REJECTED))
    assert _live(world) is None


def test_who_lost_the_lock_records_but_points_at_nothing(promoted: tuple[World, Claim]) -> None:
    """The pointer belongs to the lock's holder, who reads the serving version again."""
    world, claim = promoted
    other = replace(claim, execution="late")
    assert record_in(world, other)["sequence"] == 1
    assert _live(world) is None


def test_a_silent_rollback_is_recorded_as_one(promoted: tuple[World, Claim]) -> None:
    """SageMaker rolled back to the old config without an error; the old pointer stays."""
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
    assert record_in(world, claim)["outcome"] == "ROLLED_BACK"
    live = _live(world)
    assert live is not None
    assert live.config == "demand-forecast-00000001"
    assert taken_back(world.table.read()) == (TakenBack(since="2017-08-01T08:31:00Z", until="2017-08-01T09:00:00Z"),)


def test_an_unknown_config_gets_a_pointer_from_its_package(promoted: tuple[World, Claim]) -> None:
    """Monitors compare with the serving version; the empty spec hash makes the next spec apply."""
    world, claim = promoted
    package = world.package()
    world.version("demand-forecast-by-hand", package)
    world.serve("demand-forecast-by-hand")
    assert record_in(world, replace(claim, outcome=Outcome.FAILED))["serving_config"] == "demand-forecast-by-hand"
    live = _live(world)
    assert live is not None
    assert (live.config, live.model_package_arn, live.spec_sha256) == ("demand-forecast-by-hand", package, "")
    assert (live.baseline_uri, live.baseline_sha256) == (PACKAGE.baseline_uri, PACKAGE.baseline_sha256)


def test_an_endpoint_that_is_gone_has_no_pointer(promoted: tuple[World, Claim]) -> None:
    """The pointer is removed together with the endpoint."""
    world, claim = promoted
    record_in(world, claim)
    world.sagemaker.delete_endpoint(EndpointName=ENDPOINT)
    answer = record_in(world, replace(claim, outcome=Outcome.FAILED))
    assert answer == {"sequence": 2, "serving_config": None, "outcome": "FAILED"}
    assert _live(world) is None


def test_a_recovery_tells_of_what_it_recovers(promoted: tuple[World, Claim]) -> None:
    """One record covers the dead execution and the recovery: both names and the request."""
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
    record_in(world, recovered)
    written = from_json(AuditRecord, next(iter(world.objects().values())))
    assert (written.recovers, written.candidate_package) == (died["execution"], died["model_package_arn"])
    assert written.reason == (
        f"recovers approval-2-x, which ended ABORTED: approval of {died['model_package_arn']}, requested by ann; evidence"
    )


def test_what_had_told_of_itself_before_it_died_is_not_told_again(promoted: tuple[World, Claim]) -> None:
    """It died between its record and the release of its lock."""
    world, claim = promoted
    record_in(world, claim)
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
    record_in(world, after)
    last = from_json(AuditRecord, max(world.objects().items())[1])
    assert (last.execution, last.recovers, last.reason) == ("recovery", None, "serves already")


def test_a_record_says_what_loads_a_model(world: World) -> None:
    """A promotion takes it from its package, a rejection from the gate; records of ONNX models omit it."""
    spec = replace(PACKAGE, flavor="handler", trust="code")
    package = read_package(world.sagemaker.describe_model_package(ModelPackageName=world.package(spec=spec)))
    live = {"config_name": "c-2", "live": {"container_sha256": package.container_sha256}}
    row = LockRow(endpoint=ENDPOINT)
    found = next_record(row, replace(_claim("PROMOTED"), plan=live), _serving("c-2"), package)
    assert (found.outcome, found.flavor, found.trust) == (Outcome.PROMOTED, "handler", "code")
    rejected = replace(_claim("REJECTED"), candidate={"flavor": "pickle", "trust": "pickle"})
    assert next_record(row, rejected, _serving("c-1"), package).trust == "pickle"
    assert "trust" not in to_dict(next_record(row, _claim("ROLLED_BACK"), _serving("c-1"), package))
