"""Releases of a package: one record and one object, despite repeats and crashes; and all rejections."""

import hashlib
import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.runtime.rollout.world import NOW, PACKAGE

from mlops_runtime.business_unit.pause import set_pause
from mlops_runtime.contracts import canonical_json, content_hash
from mlops_runtime.contracts.model import GateVerdict
from mlops_runtime.contracts.rollout import Outcome
from mlops_runtime.contracts.unit_entries import FreezeSpec, FreezeWindow
from mlops_runtime.registry.package_approval import ApprovalRule
from mlops_runtime.rollout.audit_chain import AuditChain
from mlops_runtime.rollout.rollout_table import RolloutTable

ARCHIVE = PACKAGE.artifact_uri.removeprefix("s3://artifacts/")
EVALUATION = "evaluations/demand-forecast/one/evaluation.json"
BASELINE = "evaluations/demand-forecast/one/baseline.json"
GATE = "gates/demand-forecast/one.json"


def test_an_approved_package_is_released_with_every_object_proven(releasing: Any) -> None:
    """The object names the audit record, and both name the approver."""
    package = releasing.package()
    released = releasing.release(package)
    (record,), (audited,) = releasing.records(), releasing.audit()

    assert (released.outcome, released.is_new) == ("RELEASED", True)
    assert released.record_uri == f"s3://artifacts/releases/demand-forecast/{record.binding}.json"
    content = releasing.world.contents("artifacts")[released.record_uri.removeprefix("s3://artifacts/")]
    assert hashlib.sha256(content).hexdigest() == released.record_sha256
    assert [each.uri.removeprefix("s3://artifacts/") for each in record.objects] == [
        ARCHIVE,
        EVALUATION,
        BASELINE,
        GATE,
    ]
    for each in record.objects:
        stored = releasing.world.contents("artifacts")[each.uri.removeprefix("s3://artifacts/")]
        assert (each.size, each.sha256) == (len(stored), hashlib.sha256(stored).hexdigest())
    assert (record.package.package_arn, record.account, record.region) == (package, "123456789012", "us-east-1")
    assert (audited.outcome, audited.candidate_package, audited.container_sha256) == (
        Outcome.RELEASED,
        package,
        record.binding,
    )
    assert (record.audit_chain, record.audit_sequence, record.audit_hash) == (
        audited.endpoint,
        audited.sequence,
        content_hash(audited),
    )
    assert record.approved_by.endswith("/Approver/ann")
    assert releasing.world.problems() == []


def test_a_repeat_changes_nothing_and_answers_the_same(releasing: Any) -> None:
    """In another execution, an hour later."""
    package = releasing.package()
    first = releasing.release(package)
    before = releasing.world.contents("artifacts")
    releasing.now += timedelta(hours=1)

    assert releasing.release(package, execution="arn:aws:states:us-east-1:123456789012:execution:Release:two") == first
    assert releasing.world.contents("artifacts") == before
    assert len(releasing.audit()) == 1


class _Dies:
    """A client with one call to an operation that never returns."""

    def __init__(self, client: Any, operation: str, key: str) -> None:
        self._client, self._operation, self._key, self.died = client, operation, key, False

    def __getattr__(self, name: str) -> Any:
        if name != self._operation or self.died:
            return getattr(self._client, name)

        def call(**arguments: Any) -> Any:
            if not arguments.get("Key", "").startswith(self._key):
                return getattr(self._client, name)(**arguments)
            self.died = True
            raise KeyboardInterrupt

        return call


@pytest.mark.parametrize("key", ["audit/", "releases/"])
def test_an_attempt_that_dies_is_completed_by_the_next(releasing: Any, key: str) -> None:
    """Between the chain's row and object, and between chain and release: one record each, of the first attempt."""
    package, chain = releasing.package(), releasing.world.chain
    dying = replace(chain, s3=_Dies(chain.s3, "put_object", key))

    with pytest.raises(KeyboardInterrupt):
        releasing.release(package, chain=dying)
    assert releasing.records() == []
    releasing.now += timedelta(hours=1)
    assert releasing.release(package, execution="arn:aws:states:us-east-1:123456789012:execution:Release:two").outcome

    (record,), (audited,) = releasing.records(), releasing.audit()
    assert record.audit_hash == content_hash(audited)
    assert record.released_at == audited.at == "2017-08-01T09:00:00Z"
    assert releasing.world.problems() == []


def _changed(releasing: Any, key: str) -> None:
    arguments = {"ChecksumAlgorithm": "SHA256"} if key == ARCHIVE else {}
    releasing.put(key, b"{}", **arguments)


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (ARCHIVE, "the archive s3://artifacts/" + ARCHIVE + " has SHA-256"),
        (EVALUATION, "the evaluation s3://artifacts/" + EVALUATION + " has SHA-256"),
        (BASELINE, "the baseline s3://artifacts/" + BASELINE + " has SHA-256"),
        (GATE, "is not the result of a gate"),
    ],
)
def test_what_was_changed_after_the_approval_is_not_released(releasing: Any, key: str, message: str) -> None:
    """For any object."""
    package = releasing.package()
    _changed(releasing, key)
    refused = releasing.release(package)

    assert refused.outcome == "REFUSED"
    assert message in refused.reason
    assert releasing.records() == []
    assert [record.outcome for record in releasing.audit()] == [Outcome.REFUSED]


@pytest.mark.parametrize("key", [ARCHIVE, EVALUATION, BASELINE])
def test_what_is_gone_is_named(releasing: Any, key: str) -> None:
    """Nothing is released without all objects."""
    package = releasing.package()
    releasing.s3.delete_object(Bucket="artifacts", Key=key)

    assert f"s3://artifacts/{key} cannot be read" in releasing.release(package).reason


def test_a_package_without_a_gate_is_released_without_one(releasing: Any) -> None:
    """A registry may have no pipeline."""
    package = releasing.package()
    releasing.s3.delete_object(Bucket="artifacts", Key=GATE)

    assert releasing.release(package).outcome == "RELEASED"
    assert releasing.records()[0].gate is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"verdict": GateVerdict.FAILED}, "is FAILED, not PASSED"),
        ({"evaluation_sha256": "0" * 64}, "is about s3://artifacts/" + EVALUATION),
    ],
)
def test_a_gate_that_did_not_pass_this_evaluation_refuses(
    releasing: Any, changes: dict[str, Any], message: str
) -> None:
    """Its result must match the registered evaluation."""
    package = releasing.package()
    releasing.put(GATE, canonical_json(releasing.gate(**changes)))

    assert message in releasing.release(package).reason


def test_an_archive_without_a_checksum_is_not_proven(releasing: Any) -> None:
    """No target could verify its copy."""
    package = releasing.package()
    releasing.s3.put_object(Bucket="artifacts", Key=ARCHIVE, Body=b"archive", ChecksumAlgorithm="CRC32")

    assert "S3 has no full-object SHA-256 of the archive" in releasing.release(package).reason


def test_an_evaluation_that_is_not_bound_is_not_proven(releasing: Any) -> None:
    """A package without its hash proves nothing about it."""
    assert "has no evaluation_sha256" in releasing.release(releasing.package(more={})).reason


def test_objects_lie_where_targets_may_copy_them(releasing: Any) -> None:
    """All wrong locations are named together."""
    elsewhere = "s3://other/models/demand-forecast/job/model.tar.gz"
    package = releasing.package(artifact_uri=elsewhere, baseline_uri="s3://artifacts/monitor/baseline.json")
    reason = releasing.release(package).reason

    assert (
        f"the archive must be below s3://artifacts/models/demand-forecast/, as targets may copy nothing else, got '{elsewhere}'"
        in reason
    )
    assert "the baseline must be below s3://artifacts/evaluations/demand-forecast/" in reason


def test_an_approval_that_does_not_count_refuses(releasing: Any) -> None:
    """By the registry's own rule: another role approved."""
    other = ApprovalRule(approvers=("arn:aws:iam::123456789012:role/Lead",))
    refused = releasing.release(releasing.package(), rule=other)

    assert refused.outcome == "REFUSED"
    assert "only arn:aws:iam::123456789012:role/Lead may" in refused.reason


def test_what_is_not_approved_or_not_there_or_changed_is_refused(releasing: Any) -> None:
    """Each by name."""
    waiting = releasing.package("PendingManualApproval")
    missing = waiting.rpartition("/")[0] + "/99"
    changed = releasing.package(image=PACKAGE.image.replace("1" * 64, "2" * 64))
    rule = ApprovalRule.from_environment({"APPROVAL": '{"approvers": ["arn:aws:iam::123456789012:role/Approver"]}'})

    assert "it is PendingManualApproval" in releasing.release(waiting).reason
    assert "demand-forecast/99 is not released" in releasing.release(missing).reason
    assert "is not in the registry" in releasing.release(missing).reason
    assert releasing.release(changed, rule=rule).outcome == "RELEASED"


def test_a_refusal_is_recorded_once(releasing: Any) -> None:
    """The schedule retries every hour; another reason is another record."""
    package = releasing.package()
    _changed(releasing, EVALUATION)
    first = releasing.release(package)
    second = releasing.release(package, execution="arn:aws:states:us-east-1:123456789012:execution:Release:two")
    _changed(releasing, BASELINE)
    third = releasing.release(package, execution="arn:aws:states:us-east-1:123456789012:execution:Release:three")

    assert (first.is_new, second.is_new, third.is_new) == (True, False, True)
    assert second.reason == first.reason
    assert len(releasing.audit()) == 2


def test_a_release_of_something_else_in_its_place_is_refused(releasing: Any) -> None:
    """The object at the key is read, and never overwritten."""
    package = releasing.package()
    released = releasing.release(package)
    key = released.record_uri.removeprefix("s3://artifacts/")
    stored = json.loads(releasing.world.contents("artifacts")[key])

    releasing.put(key, b"{}")
    assert "is not the record of a release" in releasing.release(package).reason
    releasing.put(key, json.dumps(stored | {"artifact": stored["artifact"] | {"sha256": "0" * 64}}).encode())
    assert "was written for other objects" in releasing.release(package).reason
    assert "was already released as demand-forecast/1" in _of_second_package(releasing, key, stored)


def _of_second_package(releasing: Any, key: str, stored: dict[str, Any]) -> str:
    releasing.put(key, json.dumps(stored).encode())
    return str(releasing.release(releasing.package()).reason)


def test_a_pause_and_a_freeze_hold_a_release(releasing: Any) -> None:
    """The package is fine, so nothing is recorded; it is released afterwards."""
    package, chain = releasing.package(), releasing.world.chain
    units = AuditChain(
        s3=chain.s3,
        bucket="audit",
        table=RolloutTable(releasing.world.dynamodb, "automation", "demand"),
        heads="heads",
        sealer=chain.sealer,
    )
    set_pause(units, is_paused=True, by="ann", reason="incident", now=NOW)
    paused = releasing.release(package)
    set_pause(units, is_paused=False, by="ann", reason="over", now=NOW)
    window = FreezeWindow(name="peak", start=NOW - timedelta(days=1), end=NOW + timedelta(days=1))
    releasing.freeze = FreezeSpec(windows=(window,))
    frozen = releasing.release(package)

    assert (paused.outcome, paused.reason.startswith("paused since")) == ("HELD", True)
    assert (frozen.outcome, frozen.reason.startswith("frozen by 'peak'")) == ("HELD", True)
    assert (releasing.audit(), releasing.records()) == ([], [])
    releasing.now = NOW + timedelta(days=2)
    assert releasing.release(package).outcome == "RELEASED"


def _serve(releasing: Any, package: str, **changes: Any) -> None:
    releasing.is_served = True
    releasing.world.point(releasing.world.pointer("v1", package, **changes))


def test_an_endpoint_releases_what_it_serves_after_its_probation(releasing: Any) -> None:
    """Neither during the probation, nor during a rollout, nor after a rollback."""
    package, other = releasing.package(), releasing.package(model_sha256="9" * 64)
    releasing.is_served = True
    assert "serves nothing yet" in releasing.release(package).reason
    _serve(releasing, package, probation_until=(NOW + timedelta(hours=1)).isoformat())
    assert "is on probation until" in releasing.release(package).reason
    _serve(releasing, other)
    assert f"{package} was rolled back or replaced" in releasing.release(package).reason
    _serve(releasing, package)
    releasing.world.lock("arn:aws:states:us-east-1:123456789012:execution:Deploy:busy")
    assert "is running on demand-forecast" in releasing.release(package).reason
    assert (releasing.audit(), releasing.records()) == ([], [])

    releasing.world.table.release("arn:aws:states:us-east-1:123456789012:execution:Deploy:busy")
    assert releasing.release(package).outcome == "RELEASED"
    assert releasing.audit()[0].serving_package == package


def test_a_rollback_that_is_recorded_meanwhile_is_seen(releasing: Any) -> None:
    """The conditional write reads the row again: the live model may have changed since the check."""
    package, other = releasing.package(), releasing.package(model_sha256="9" * 64)
    _serve(releasing, package)
    chain = releasing.world.chain

    class _Raced(RolloutTable):
        reads = 0

        def read(self) -> Any:
            row = super().read()
            self.reads += 1
            if self.reads == 1:
                releasing.world.promote(other)
                releasing.world.point(releasing.world.pointer("v2", other))
            return row

    raced = replace(chain, table=_Raced(chain.table._dynamodb, "rollout", "demand-forecast"))
    held = releasing.release(package, chain=raced)

    assert (held.outcome, "was rolled back or replaced" in held.reason) == ("HELD", True)
    assert releasing.records() == []


def test_what_serves_must_hold_what_the_registry_holds(releasing: Any) -> None:
    """A package changed since its promotion is not released."""
    package = releasing.package()
    _serve(releasing, package, container_sha256="0" * 64)

    assert "is live as " + "0" * 64 in releasing.release(package).reason


def test_what_aws_refuses_is_not_a_refusal_of_the_package(releasing: Any) -> None:
    """The machine retries, and nothing is recorded."""
    package, chain = releasing.package(), releasing.world.chain

    class _Denied:
        def __getattr__(self, name: str) -> Any:
            return getattr(chain.s3, name)

        def put_object(self, **arguments: Any) -> Any:
            if arguments["Key"].startswith("releases/"):
                raise ClientError({"Error": {"Code": "AccessDenied", "Message": ""}}, "PutObject")
            return chain.s3.put_object(**arguments)

    with pytest.raises(ClientError):
        releasing.release(package, chain=replace(chain, s3=_Denied()))
    assert releasing.records() == []
