"""Costs by tag: requests and responses follow botocore's model of Cost Explorer; not verified on a real account."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from mlops_runtime.cloud_connection import Identity
from mlops_runtime.console import daily_costs
from mlops_runtime.console.daily_costs import costs
from mlops_runtime.console.http_message import Call

NOW = datetime(2026, 11, 30, 6, tzinfo=UTC)
ASKED = {
    "TimePeriod": {"Start": "2026-11-28", "End": "2026-11-29"},
    "Granularity": "DAILY",
    "Metrics": ["UnblendedCost"],
    "Filter": {"Not": {"Tags": {"Key": "mlops:unit", "MatchOptions": ["ABSENT"]}}},
    "GroupBy": [{"Type": "TAG", "Key": "mlops:unit"}, {"Type": "TAG", "Key": "mlops:endpoint"}],
}


@dataclass
class Account:
    """An account of AWS, as far as costs need one."""

    ce: Any
    role: str = "Reader"

    def client(self, service: str) -> Any:
        """Cost Explorer's alone."""
        assert service == "ce"
        return self.ce

    def identity(self) -> Identity:
        """A session of a role."""
        return Identity(arn=f"arn:aws:sts::123456789012:assumed-role/{self.role}/ann", user_id="A:ann", answered=NOW)

    def clock(self) -> None:
        """AWS has none."""


def group(unit: str, endpoint: str, amount: str) -> dict[str, Any]:
    """A group as Cost Explorer returns it."""
    metrics = {"UnblendedCost": {"Amount": amount, "Unit": "USD"}}
    return {"Keys": [f"mlops:unit${unit}", f"mlops:endpoint${endpoint}"], "Metrics": metrics}


@pytest.fixture
def explorer() -> Iterator[tuple[Stubber, Call]]:
    """Cost Explorer, which answers what a test says, and a call of a reader."""
    daily_costs._KEPT.clear()
    client = boto3.client("ce", region_name="eu-west-1", aws_access_key_id="a", aws_secret_access_key="b")
    account: Any = Account(client)
    with Stubber(client) as stub:
        yield stub, Call(cloud=account, reader=account, now=NOW)
        stub.assert_no_pending_responses()
    daily_costs._KEPT.clear()


def answered(stub: Stubber, *groups: dict[str, Any], **more: Any) -> None:
    """Let it answer, with the request that it must get."""
    token = {name: value for name, value in more.items() if name == "asked"}
    expected = {**ASKED, **({"NextPageToken": token["asked"]} if token else {})}
    answer: dict[str, Any] = {"ResultsByTime": [{"Groups": list(groups)}]}
    stub.add_response(
        "get_cost_and_usage", {**answer, **({"NextPageToken": more["next"]} if "next" in more else {})}, expected
    )


def test_costs_are_those_of_a_whole_day_by_unit_and_endpoint(explorer: tuple[Stubber, Call]) -> None:
    """Of all pages; what has no tag of an endpoint is the unit's alone; asked once a day, whatever session asks."""
    stub, call = explorer
    answered(stub, group("demand", "demand-forecast", "5.52"), group("demand", "", "1.5"), next="two")
    answered(stub, group("price", "price-model", "2.76"), asked="two")

    found = costs(call)
    again = costs(replace(call, now=NOW + timedelta(hours=1)))

    assert (found.day, found.currency, found.unread) == ("2026-11-28", "USD", "")
    assert found.units == pytest.approx({"demand": 7.02, "price": 2.76})
    assert found.endpoints == pytest.approx({"demand-forecast": 5.52, "price-model": 2.76})
    assert again == replace(found, now=NOW + timedelta(hours=1))


def test_another_role_does_not_see_what_one_has_read(explorer: tuple[Stubber, Call]) -> None:
    """It is refused by its own rights, and says which it lacks; that is not asked again either."""
    stub, call = explorer
    answered(stub, group("demand", "", "1.5"))
    stub.add_client_error(
        "get_cost_and_usage", "AccessDeniedException", "not authorized to perform: ce:GetCostAndUsage"
    )
    other: Any = replace(call.cloud, role="OnCall")  # type: ignore[type-var]

    assert costs(call).units == {"demand": 1.5}
    refused = costs(replace(call, cloud=other))
    assert (refused.units, "ce:GetCostAndUsage" in refused.unread) == ({}, True)
    assert costs(replace(call, cloud=other)) == refused


def test_tags_that_are_not_activated_are_named(explorer: tuple[Stubber, Call]) -> None:
    """With where they are activated."""
    stub, call = explorer
    answered(stub)

    assert costs(call).unread.startswith("no cost of 2026-11-28 has the tag mlops:unit: activate it and mlops:endpoint")


def test_the_embedded_cloud_bills_nothing(ask: Callable[..., tuple[int, dict[str, Any]]]) -> None:
    """Which is said, and not zero."""
    status, page = ask("GET", "/costs")

    assert (status, page["units"], page["unread"]) == (200, {}, "not known here: the embedded cloud bills nothing")
