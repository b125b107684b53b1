"""Inputs and outputs of the Deploy machine with their keys, and times of rolled-back rollouts, whose calls are excluded."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_runtime.contracts import canonical_json, content_hash, from_dict, from_json, to_dict
from mlops_runtime.contracts.rollout import (
    AuditRecord,
    DeployReason,
    DeployRequest,
    LivePointer,
    LockRow,
    Outcome,
    RolloutSpec,
    RolloutVerdict,
    ServingSpec,
    TakenBack,
    audit_key,
    is_among,
    next_taken_back,
    spec_key,
    taken_back,
)
from mlops_runtime.rollout.audit_chain import GENESIS

_SEQUENCES = st.integers(min_value=0, max_value=99_999_999)


ROW = LockRow(endpoint="e", locked_at="2017-08-08T10:00:00.250Z")
RECORD = AuditRecord(
    endpoint="e", sequence=1, previous=GENESIS, outcome=Outcome.ROLLED_BACK, reason="", execution="x",
    at="2017-08-08T10:20:00Z", requested_by="ann",
)  # fmt: skip
TIMES = (TakenBack(since="2017-08-08T10:00:00.250Z", until="2017-08-08T10:20:00Z"),)


def test_the_live_pointer_names_the_spec_by_its_hash(example: Callable[..., Any]) -> None:
    """Pointer, key and spec of the examples match, and a stored spec's hash never changes."""
    spec = from_dict(ServingSpec, example("ServingSpec"))
    live = from_dict(LivePointer, example("LivePointer"))

    assert content_hash(spec) == live.spec_sha256
    assert live.spec_uri == f"s3://demand-artifacts/{spec_key(spec.endpoint, content_hash(spec))}"
    assert spec_key("e", "0123456789abcdef" * 4) == "specs/e/0123456789abcdef0123456789abcdef.json"


def test_the_hash_of_a_stored_record_never_changes(example: Callable[..., Any]) -> None:
    """The next record of the chain contains it."""
    record = from_dict(AuditRecord, example("AuditRecord"))
    digest = "f5295f04eb2b99b11a875e2e15b5a3fd51149c20bffe4a325ed9872ad22d6d5f"

    assert content_hash(record) == digest
    assert audit_key(record.endpoint, record.sequence, digest) == "audit/demand-forecast/00000002-f5295f04eb2b99b1.json"


@given(first=_SEQUENCES, second=_SEQUENCES)
def test_audit_keys_are_listed_in_the_order_of_the_chain(first: int, second: int) -> None:
    """S3 lists by bytes, so readers need not sort."""
    low, high = audit_key("e", min(first, second), "f" * 64), audit_key("e", max(first, second), "f" * 64)

    assert (low < high) == (first != second)


def test_a_new_endpoints_row_begins_the_chain() -> None:
    """Nobody holds the lock, nothing is live, and the first record follows 64 zeros."""
    row = from_dict(LockRow, {"endpoint": "demand-forecast"})

    assert (row.audit_head, row.audit_sequence) == ("0" * 64, 0)
    assert (row.owner, row.lock_until, row.live, row.audit_last, row.desired) == (None,) * 5
    assert to_dict(row) == {"endpoint": "demand-forecast", "audit_head": "0" * 64, "audit_sequence": 0}


def test_a_row_carries_the_live_pointer_as_text(example: Callable[..., Any]) -> None:
    """DynamoDB stores one string, which reads back to the pointer."""
    live = from_dict(LivePointer, example("LivePointer"))
    stored = {"endpoint": live.endpoint, "live": canonical_json(live).decode(), "lock_until": 1501578000}

    row = from_dict(LockRow, stored)

    assert row.lock_until == 1501578000
    assert from_json(LivePointer, row.live or "") == live


def test_a_plain_spec_is_isolated_and_not_captured(example: Callable[..., Any]) -> None:
    """Isolation is the default; capture and key are optional."""
    plain = from_dict(ServingSpec, example("ServingSpec", network_isolation=..., capture=..., kms_key=..., tags=...))

    assert (plain.network_isolation, plain.capture, plain.kms_key, plain.tags) == (True, None, None, {})


def test_a_record_keeps_what_was_compared(example: Callable[..., Any]) -> None:
    """The optional field is absent without a comparison, and read back with one."""
    document = example("AuditRecord")
    assert from_dict(AuditRecord, document).verdict is None
    verdict = RolloutVerdict(
        action="stop",
        calls=1800,
        evidence=112.5,
        minutes=3,
        sentence="after 3 minutes: 27 of 1,800 answers failed",
        minutes_uri="s3://artifacts/verdicts/demand-forecast/demand-forecast-4588cf62.json",
        minutes_sha256="f" * 64,
    )
    record = replace(from_dict(AuditRecord, document), verdict=verdict)
    assert from_dict(AuditRecord, to_dict(record)) == record


def test_a_plain_rollout_compares_and_counts_nothing() -> None:
    """Without settings there is no absolute limit and no required evidence."""
    rollout = from_dict(RolloutSpec, {"kind": "ALL_AT_ONCE", "bake": 0, "maximum": 3600})

    assert rollout == RolloutSpec(kind="ALL_AT_ONCE", bake=0, maximum=3600)
    assert (rollout.max_error_count, rollout.alarm_period, rollout.min_invocations) == (None, 60, 0)
    assert (rollout.percent, rollout.max_latency_ms, rollout.alarms) == (None, None, ())


@pytest.mark.parametrize(("word", "reason"), [("approval", DeployReason.APPROVAL), ("spec", DeployReason.SPEC)])
def test_a_request_says_why(word: str, reason: DeployReason, example: Callable[..., Any]) -> None:
    """An approval has a package, a changed spec its URI; either may be absent."""
    request = from_dict(DeployRequest, example("DeployRequest", reason=word, model_package_arn=...))

    assert (request.reason, request.model_package_arn, request.spec_uri) == (reason, None, None)


def test_outcomes_are_what_auditors_search_for() -> None:
    """Stored records are searched by these values for years."""
    words = [
        "ASKED",
        "DELETED",
        "FAILED",
        "PAUSED",
        "PROMOTED",
        "REFUSED",
        "REGISTERED",
        "REJECTED",
        "RELEASED",
        "RESUMED",
        "ROLLED_BACK",
        "UNCHANGED",
    ]
    assert sorted(Outcome) == words


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        (ServingSpec, {"instance_count": "2"}, "$.instance_count must be an integer, got '2'"),
        (ServingSpec, {"subnets": ...}, "$.subnets is missing"),
        (ServingSpec, {"network_isolation": "true"}, "$.network_isolation must be a boolean, got 'true'"),
        (ServingSpec, {"capture": {"percent": 100}}, "$.capture.destination is missing"),
        (ServingSpec, {"capture.percent": 99.5}, "$.capture.percent must be an integer, got 99.5"),
        (ServingSpec, {"rollout.percent": "50"}, "$.rollout.percent must be an integer, got '50'"),
        (ServingSpec, {"rollout.alarms": [None]}, "$.rollout.alarms[0] must be a string, got None"),
        (
            DeployRequest,
            {"reason": "APPROVAL"},
            "$.reason must be one of 'approval', 'spec', 'rollback', got 'APPROVAL'",
        ),
        (DeployRequest, {"requested_at": ...}, "$.requested_at is missing"),
        (LivePointer, {"model_sha256": ...}, "$.model_sha256 is missing"),
        (LivePointer, {"artifact_sha256": ...}, "$.artifact_sha256 is missing"),
        (LivePointer, {"container_sha256": ...}, "$.container_sha256 is missing"),
        (LivePointer, {"previous": 3}, "$.previous must be a string, got 3"),
        (AuditRecord, {"sequence": -0.5}, "$.sequence must be an integer, got -0.5"),
        (
            AuditRecord,
            {"outcome": "promoted"},
            "$.outcome must be one of 'PROMOTED', 'ROLLED_BACK', 'REJECTED', 'ASKED', 'REFUSED', 'FAILED', 'UNCHANGED', 'DELETED', "
            "'PAUSED', 'RESUMED', 'RELEASED', "
            "'REGISTERED', got 'promoted'",
        ),
        (AuditRecord, {"previous": ...}, "$.previous is missing"),
        (AuditRecord, {"format": "mlops.audit/0"}, "$.format must be one of 'mlops.audit/1', got 'mlops.audit/0'"),
    ],
)
def test_fails_on_a_document_that_serves_nothing(
    kind: type, changes: dict[str, Any], message: str, example: Callable[..., Any], refusal: Callable[..., str]
) -> None:
    """Every field that a machine uses has its type."""
    assert refusal(kind, example(kind.__name__, **changes)) == f"not a valid {kind.__name__}: {message}"


def test_fails_on_a_row_of_another_table(refusal: Callable[..., str]) -> None:
    """Rejects a row of the retraining table, with DynamoDB's decimals as strings."""
    message = refusal(LockRow, {"pipeline": "demand-forecast", "lock_until": "1501578000", "audit_sequence": None})

    assert message == (
        "not a valid LockRow: $.endpoint is missing; $.audit_sequence must be an integer, got None; "
        "$.lock_until must be an integer, got '1501578000'"
    )


@pytest.mark.parametrize("outcome", list(Outcome))
def test_what_rolled_back_or_failed_is_kept_since_the_lock_was_taken(outcome: Outcome) -> None:
    """Every other outcome leaves the row unchanged."""
    expected = TIMES if outcome in (Outcome.ROLLED_BACK, Outcome.FAILED) else None
    assert next_taken_back(ROW, replace(RECORD, outcome=outcome)) == expected


def test_a_row_without_the_time_of_its_lock_keeps_nothing() -> None:
    """The lock was removed before the outcome is recorded."""
    assert next_taken_back(LockRow(endpoint="e"), RECORD) is None


def test_the_newest_fifty_are_kept_and_read_back() -> None:
    """The row stays small."""
    row = ROW
    for number in range(60):
        kept = next_taken_back(row, replace(RECORD, at=f"2017-08-08T10:{number:02d}:00Z"))
        row = replace(row, taken_back=canonical_json(kept).decode())
    assert [each.until[14:16] for each in taken_back(row)] == [f"{number:02d}" for number in range(10, 60)]


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [
        ("2017-08-08T09:00:00Z", "2017-08-08T09:59:59Z", False),
        ("2017-08-08T09:00:00Z", "2017-08-08T10:00:00Z", True),
        ("2017-08-08T10:05:00Z", "2017-08-08T10:05:00Z", True),
        ("2017-08-08T09:00:00Z", "2017-08-08T11:00:00Z", True),
        ("2017-08-08T10:20:00.900Z", "2017-08-08T11:00:00Z", True),
        ("2017-08-08T10:20:01Z", "2017-08-08T11:00:00Z", False),
        ("", "", False),
    ],
)
def test_calls_are_among_them_to_the_second(first: str, last: str, expected: bool) -> None:
    """Both ends are inclusive; calls without a time are excluded."""
    assert is_among(first, last, TIMES) is expected
    assert not is_among(first, last, ())
