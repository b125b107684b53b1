"""Our events on the unit's bus."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from mlops_runtime.aws_api import check_request
from mlops_runtime.contracts import ContractError, canonical_json, from_dict, from_json
from mlops_runtime.contracts.events import BusEvent, DetailType, EventDetail, event_source


def test_eventbridges_event_is_read() -> None:
    """EventBridge's own fields are ignored; the detail is unchanged.

    See: https://docs.aws.amazon.com/eventbridge/latest/ref/overiew-event-structure.html
    """
    text = json.dumps(
        {
            "version": "0",
            "id": "6a7e8feb-b491-4cf7-a9f1-bf3703467718",
            "detail-type": "EC2 Instance State-change Notification",
            "source": "aws.ec2",
            "account": "111122223333",
            "time": "2017-12-22T18:43:48Z",
            "region": "us-west-1",
            "resources": ["arn:aws:ec2:us-west-1:123456789012:instance/i-1234567890abcdef0"],
            "detail": {"instance-id": "i-1234567890abcdef0", "state": "terminated"},
        }
    )

    assert from_json(BusEvent, text) == BusEvent(
        id="6a7e8feb-b491-4cf7-a9f1-bf3703467718",
        source="aws.ec2",
        detail_type="EC2 Instance State-change Notification",
        time=datetime(2017, 12, 22, 18, 43, 48, tzinfo=UTC),
        detail={"instance-id": "i-1234567890abcdef0", "state": "terminated"},
        account="111122223333",
        resources=("arn:aws:ec2:us-west-1:123456789012:instance/i-1234567890abcdef0",),
        region="us-west-1",
    )


def test_an_events_detail_is_read_as_ours(example: Callable[..., Any]) -> None:
    """Optional fields of the detail have defaults."""
    detail = from_dict(EventDetail, from_dict(BusEvent, example("BusEvent")).detail)

    assert detail == EventDetail(id="r1", subject="demand-forecast", outcome="REQUESTED")
    assert (detail.reason, detail.attributes, detail.version) == ("", {}, "mlops.event/1")


@pytest.mark.parametrize("kind", DetailType)
def test_every_event_can_be_put(kind: DetailType) -> None:
    """PutEvents accepts source, detail type and detail, and rejects AWS's own sources."""
    detail = canonical_json(EventDetail(id="r1", subject="demand-forecast", outcome="PROMOTED")).decode()
    entry = {"EventBusName": "bus", "Source": event_source("demand"), "DetailType": kind, "Detail": detail}

    assert check_request("events", "PutEvents", {"Entries": [entry]}) == []
    assert not event_source("aws").startswith("aws.")


def test_detail_types_are_what_rules_match() -> None:
    """Another name would disable every deployed rule."""
    assert sorted(DetailType) == [
        "MLOps Features Ingested",
        "MLOps Features Rejected",
        "MLOps Model Released",
        "MLOps Model Served",
        "MLOps Monitor Reported",
        "MLOps Promotion Finished",
        "MLOps Retraining Finished",
        "MLOps Retraining Requested",
        "MLOps Rollout Finished",
    ]
    assert event_source("demand") == "mlops.demand"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id": ...}, "$.id is missing"),
        ({"outcome": None}, "$.outcome must be a string, got None"),
        ({"attributes": {"attempt": 2}}, "$.attributes.attempt must be a string, got 2"),
        ({"attributes": [["a", "b"]]}, "$.attributes must be an object, got [['a', 'b']]"),
        ({"version": "mlops.event/2"}, "$.version must be one of 'mlops.event/1', got 'mlops.event/2'"),
    ],
)
def test_fails_on_a_detail_that_is_not_ours(
    changes: dict[str, Any], message: str, example: Callable[..., Any], refusal: Callable[..., str]
) -> None:
    """Attributes are strings, and another major version is rejected."""
    assert refusal(EventDetail, example("EventDetail", **changes)) == f"not a valid EventDetail: {message}"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"detail-type": ..., "detail_type": "x"}, "$.detail-type is missing"),
        ({"detail": "{}"}, "$.detail must be an object, got '{}'"),
        ({"source": ...}, "$.source is missing"),
    ],
)
def test_fails_on_an_event_without_its_envelope(
    changes: dict[str, Any], message: str, example: Callable[..., Any], refusal: Callable[..., str]
) -> None:
    """Names are EventBridge's, and the detail is parsed."""
    assert message in refusal(BusEvent, example("BusEvent", **changes))


@pytest.mark.parametrize("time", ["yesterday", 1501578000, None])
def test_fails_on_a_time_that_is_none(time: object, example: Callable[..., Any]) -> None:
    """It decides freshness."""
    with pytest.raises(ContractError, match=r"\$\.time must be an ISO 8601 time"):
        from_dict(BusEvent, example("BusEvent", time=time))
