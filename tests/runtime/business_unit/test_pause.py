"""Pausing and resuming: one write and one record."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from hypothesis import given
from hypothesis import strategies as st
from moto import mock_aws
from tests.signing import SigningKms

from mlops_runtime.business_unit.automation import pause_of
from mlops_runtime.business_unit.pause import PauseChange, next_pause, set_pause
from mlops_runtime.contracts import canonical_json, content_hash, to_dict
from mlops_runtime.contracts.rollout import AuditRecord, AuditSeal, LockRow, Outcome, audit_key
from mlops_runtime.contracts.unit_entries import PauseState
from mlops_runtime.rollout.audit_chain import GENESIS, AuditChain, verify
from mlops_runtime.rollout.rollout_table import RolloutTable

KMS = SigningKms()
NOW = datetime(2017, 11, 20, 9, tzinfo=UTC)
ANN = "arn:aws:sts::123456789012:assumed-role/OnCall/ann"


class _AtomicWrites:
    """DynamoDB's atomic conditional writes, which moto lacks between threads."""

    def __init__(self, dynamodb: Any) -> None:
        self._dynamodb, self._lock = dynamodb, threading.Lock()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._dynamodb, name)

    def update_item(self, **arguments: Any) -> Any:
        """UpdateItem, one at a time."""
        with self._lock:
            return self._dynamodb.update_item(**arguments)


def _chain() -> AuditChain:
    keys = {"region_name": "us-east-1", "aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
    s3, dynamodb = boto3.client("s3", **keys), boto3.client("dynamodb", **keys)
    for bucket in ("audit", "heads"):
        s3.create_bucket(Bucket=bucket)
    dynamodb.create_table(
        TableName="automation",
        AttributeDefinitions=[{"AttributeName": "endpoint", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "endpoint", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
    table = RolloutTable(_AtomicWrites(dynamodb), "automation", "demand")  # type: ignore[arg-type]  # a client in all but its class
    return AuditChain(s3=s3, bucket="audit", table=table, heads="heads", sealer=KMS.sealer)


@pytest.fixture
def chain() -> Iterator[AuditChain]:
    """Return the chain of a unit that was never paused."""
    with mock_aws():
        yield _chain()


def _set(chain: AuditChain, is_paused: bool, by: str = ANN, reason: str = "stocktaking") -> PauseChange:
    return set_pause(chain, is_paused=is_paused, by=by, reason=reason, now=NOW)


def test_a_pause_is_a_state_and_a_record(chain: AuditChain) -> None:
    """Both have person, time and reason, in the unit's own chain."""
    change = _set(chain, True)

    row = chain.table.read()
    assert change.record is not None
    assert pause_of(row) == change.state
    assert (change.record.outcome, change.record.endpoint, change.record.sequence) == (Outcome.PAUSED, "demand", 1)
    assert (change.record.requested_by, change.record.reason, change.record.at) == (
        ANN, "stocktaking", "2017-11-20T09:00:00Z"
    )  # fmt: skip
    assert change.record.previous == GENESIS
    assert chain.newest(row, 5) == [change.record]
    assert chain.problems(KMS.public.is_signed) == []


def test_what_is_paused_is_not_paused_again(chain: AuditChain) -> None:
    """The result has the first person; nothing is written."""
    first = _set(chain, True)

    again = _set(chain, True, by="bob", reason="me too")

    assert (again.record, again.state) == (None, first.state)
    assert chain.table.read().audit_sequence == 1


def test_what_runs_is_not_resumed(chain: AuditChain) -> None:
    """Neither never paused nor resumed units."""
    assert _set(chain, False) == PauseChange(state=None)
    _set(chain, True)
    resumed = _set(chain, False, reason="done")
    assert resumed.record is not None
    assert resumed.record.outcome is Outcome.RESUMED

    assert _set(chain, False) == PauseChange(state=resumed.state)
    assert chain.table.read().audit_sequence == 2
    assert chain.problems(KMS.public.is_signed) == []


class _CrashError(Exception):
    pass


class _DyingChain(AuditChain):
    """Fails instead of writing the objects."""

    def write(self, record: AuditRecord, seal: AuditSeal | None) -> None:
        del record, seal
        raise _CrashError


def test_a_crash_between_row_and_object_is_repaired_by_the_next(chain: AuditChain) -> None:
    """Also by one without a change."""
    with pytest.raises(_CrashError):
        _set(_DyingChain(s3=chain.s3, bucket="audit", table=chain.table, heads="heads", sealer=KMS.sealer), True)
    assert "sequence 1 is missing" in chain.problems(KMS.public.is_signed)

    assert _set(chain, True).record is None

    assert chain.problems(KMS.public.is_signed) == []


def test_people_at_once_make_one_record(chain: AuditChain) -> None:
    """Of six pauses one is written, and five get its author."""
    changes: list[PauseChange] = []
    threads = [
        threading.Thread(target=lambda i=i: changes.append(_set(chain, True, by=f"person {i}"))) for i in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    (written,) = [change for change in changes if change.record is not None]
    assert {change.state for change in changes} == {written.state}
    assert chain.table.read().audit_sequence == 1
    assert chain.problems(KMS.public.is_signed) == []


@given(st.lists(st.booleans(), max_size=30))
def test_state_and_chain_tell_one_story(states: list[bool]) -> None:
    """Agrees with a fold of the requests: one record per change."""
    row, objects, found = LockRow(endpoint="demand"), {}, []
    for number, is_paused in enumerate(states):
        at = str(to_dict(NOW + timedelta(minutes=number)))
        move = next_pause(row, PauseState(is_paused=is_paused, by=ANN, at=at, reason="r"))
        if isinstance(move, PauseChange):
            assert (move.state is not None and move.state.is_paused) == is_paused
            continue
        digest, pause = content_hash(move.record), canonical_json(move.pause).decode()
        objects[audit_key("demand", move.record.sequence, digest)] = canonical_json(move.record)
        row = replace(row, audit_head=digest, audit_sequence=move.record.sequence, pause=pause)
        found.append(move.record.outcome is Outcome.PAUSED)

    assert found == [now for now, before in zip(states, [False, *states], strict=False) if now != before]
    assert verify(objects, endpoint="demand", head=row.audit_head, sequence=row.audit_sequence) == []
