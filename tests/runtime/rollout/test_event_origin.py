"""Origin checks of events: region, account, ids and ARNs, as both guards apply them."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_runtime.contracts.events import BusEvent
from mlops_runtime.rollout.event_origin import Origin

MACHINE = "arn:aws:states:us-east-1:123456789012:stateMachine:Deploy"
ORIGIN = Origin(machine_arn=MACHINE)
ALARM = "arn:aws:cloudwatch:us-east-1:123456789012:alarm:refunds"


def _event(**changes: Any) -> BusEvent:
    known: dict[str, Any] = {
        "id": "844e2571-85d4-695f-b930-0153b71dcb42",
        "source": "aws.cloudwatch",
        "detail_type": "CloudWatch Alarm State Change",
        "time": datetime(2017, 8, 1, 9, tzinfo=UTC),
        "detail": {},
        "account": "123456789012",
        "region": "us-east-1",
        "resources": (ALARM,),
    }
    return BusEvent(**{**known, **changes})


@pytest.mark.parametrize("arn", [ALARM, "arn:aws:s3:::artifacts", "arn:aws:events:us-east-1:123456789012:rule/nightly"])
def test_an_event_of_this_account_and_region_has_no_problem(arn: str) -> None:
    """ARNs without both, such as those of S3, are accepted."""
    assert ORIGIN.problem(_event(resources=(arn,))) is None
    assert ORIGIN.problem(_event(resources=None)) is None


@given(st.text(max_size=40), st.text(max_size=40))
def test_any_other_account_or_region_is_named(account: str, region: str) -> None:
    """The problem has the actual and the expected value."""
    found = ORIGIN.problem(_event(account=account, region=region))
    is_ours = (account, region) == ("123456789012", "us-east-1")
    assert (found is None) == is_ours
    assert is_ours or found is not None
    assert found is None or "is not '" in found


@given(st.text(max_size=3000))
def test_what_is_shown_of_a_bad_value_is_short(text: str) -> None:
    """A log line stays short for any id or ARN."""
    for event in (_event(id=text), _event(resources=(text,)), _event(account=text)):
        found = ORIGIN.problem(event)
        assert found is None or len(found) < 300


def test_an_alarm_has_its_own_arn_alone() -> None:
    """Rejects another alarm's ARN and two ARNs."""
    assert ORIGIN.alarm_problem(_event(), "refunds") is None
    for resources in (None, (), (ALARM, ALARM), (ALARM + "2",)):
        assert "resources must be" in str(ORIGIN.alarm_problem(_event(resources=resources), "refunds"))


@pytest.mark.parametrize(
    "arn",
    [
        None,
        3,
        "",
        MACHINE,
        "arn:aws:states:us-east-1:123456789012:execution:Deploy:",
        "arn:aws:states:us-east-1:123456789012:execution:Deploy2:one",
        "arn:aws:states:eu-west-1:123456789012:execution:Deploy:one",
        f"arn:aws:states:us-east-1:123456789012:execution:Deploy:{'x' * 81}",
        "arn:aws:states:us-east-1:123456789012:execution:Deploy:one:two",
        "arn:aws:states:us-east-1:123456789012:execution:Deploy:one\n",
    ],
)
def test_what_is_no_execution_of_the_machine_has_no_name(arn: object) -> None:
    """Covers another machine, region or format."""
    assert ORIGIN.execution_name(arn) is None
