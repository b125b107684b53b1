"""Pauses of automatic work."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st
from moto import mock_aws

from mlops_runtime.business_unit.automation import Automation, freeze_at, pause_of, read_freeze, rest_reason
from mlops_runtime.contracts import ContractError, canonical_json, content_hash
from mlops_runtime.contracts.rollout import AuditRecord, LockRow, Outcome
from mlops_runtime.contracts.unit_entries import FreezeSpec, FreezeWindow, PauseState
from mlops_runtime.rollout.audit_chain import GENESIS

START = datetime(2017, 11, 20, tzinfo=UTC)
END = datetime(2017, 12, 1, tzinfo=UTC)
SPEC = FreezeSpec(windows=(FreezeWindow(name="peak", start=START, end=END),))
PAUSE = PauseState(is_paused=True, by="ann", at="2017-08-01T09:00:00Z", reason="stocktaking")


@pytest.fixture
def dynamodb(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Return a client of a table for automation."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        client = boto3.client("dynamodb", region_name="us-east-1")
        client.create_table(
            TableName="automation",
            AttributeDefinitions=[{"AttributeName": "endpoint", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "endpoint", "KeyType": "HASH"}],
            BillingMode="PAY_PER_REQUEST",
        )
        yield client


def _automation(dynamodb: Any, spec: FreezeSpec = SPEC, table: str = "automation") -> Automation:
    environ = {"UNIT": "demand", "AUTOMATION_TABLE": table, "FREEZE": canonical_json(spec).decode()}
    return Automation.from_environment(environ, dynamodb)


def test_nothing_rests_by_default(dynamodb: Any) -> None:
    """A unit that was never paused, outside of freezes."""
    automation = _automation(dynamodb)

    assert automation.rests(END) is None
    assert automation.frozen(END) is None


@pytest.mark.parametrize(
    ("now", "frozen"),
    [
        (START - timedelta(microseconds=1), False),
        (START, True),
        (END - timedelta(microseconds=1), True),
        (END, False),
    ],
)
def test_a_freeze_holds_from_its_start_up_to_its_end(dynamodb: Any, now: datetime, frozen: bool) -> None:
    """With the freeze and its end."""
    expected = "frozen by 'peak' until 2017-12-01T00:00:00Z" if frozen else None

    assert _automation(dynamodb).frozen(now) == expected
    assert _automation(dynamodb).rests(now) == expected


def test_a_pause_says_who_since_when_and_why(dynamodb: Any) -> None:
    """It is no freeze: approved models are still promoted."""
    automation = _automation(dynamodb)
    record = AuditRecord(
        endpoint="demand", sequence=1, previous=GENESIS, outcome=Outcome.PAUSED, reason="stocktaking", execution="x",
        at=PAUSE.at, requested_by="ann",
    )  # fmt: skip
    automation.table.move_head(automation.table.read(), record, content_hash(record), pause=PAUSE)

    assert automation.rests(END) == "paused since 2017-08-01T09:00:00Z by ann: stocktaking"
    assert automation.frozen(END) is None


def test_both_reasons_are_told() -> None:
    """A resume does not end the freeze."""
    assert rest_reason(SPEC, PAUSE, START) == (
        "paused since 2017-08-01T09:00:00Z by ann: stocktaking; frozen by 'peak' until 2017-12-01T00:00:00Z"
    )


def test_resumed_is_not_paused() -> None:
    """The row keeps the person who resumed."""
    resumed = PauseState(is_paused=False, by="bob", at=PAUSE.at, reason="done")
    row = LockRow(endpoint="demand", pause=canonical_json(resumed).decode())

    assert pause_of(row) == resumed
    assert rest_reason(FreezeSpec(), resumed, END) is None
    assert pause_of(LockRow(endpoint="demand")) is None


def test_fails_when_the_row_cannot_be_read(dynamodb: Any) -> None:
    """An unreadable state does not allow anything."""
    with pytest.raises(ClientError, match="ResourceNotFound"):
        _automation(dynamodb, table="gone").rests(END)


def test_fails_on_a_calendar_without_offsets() -> None:
    """A local time without an offset cannot be compared."""
    naive = '{"windows":[{"name":"peak","start":"2017-11-20T00:00:00","end":"2017-12-01T00:00:00Z"}]}'

    with pytest.raises(ContractError, match="'peak' must have times with an offset"):
        read_freeze(naive)


@pytest.mark.parametrize("missing", ["UNIT", "AUTOMATION_TABLE", "FREEZE"])
def test_fails_without_a_variable(missing: str) -> None:
    """A function without its unit decides nothing."""
    environ = {"UNIT": "demand", "AUTOMATION_TABLE": "automation", "FREEZE": "{}"}
    del environ[missing]
    keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}

    with pytest.raises(KeyError, match=missing):
        Automation.from_environment(environ, boto3.client("dynamodb", region_name="us-east-1", **keys))


@given(
    hours=st.lists(st.integers(0, 500), min_size=0, max_size=8, unique=True).map(sorted),
    hour=st.integers(-5, 505),
)
def test_one_window_holds_exactly_the_times_inside(hours: list[int], hour: int) -> None:
    """Agrees with a count by hand."""
    pairs = list(zip(hours[::2], hours[1::2], strict=False))
    windows = tuple(
        FreezeWindow(name=str(a), start=START + timedelta(hours=a), end=START + timedelta(hours=b)) for a, b in pairs
    )

    found = freeze_at(FreezeSpec(windows=windows), START + timedelta(hours=hour))

    assert (None if found is None else found.name) == next((str(a) for a, b in pairs if hour in range(a, b)), None)
