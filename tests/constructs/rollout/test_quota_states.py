"""The Deploy machine's requests to Service Quotas, page by page."""

from collections.abc import Mapping
from typing import Any

import pytest

from mlops_constructs._state_machine import assign
from mlops_constructs.rollout.quota_states import UNASKED, quota_states
from mlops_runtime.aws_api import check_machine

TYPES = ["ml.m5.large", "ml.c7g.large", "ml.m5.large"]
PAGES = [
    {"Quotas": [{"QuotaName": "ml.t2.medium for endpoint usage", "Value": 1.0}], "NextToken": "1"},
    {"Quotas": [{"QuotaName": "ml.m5.large for endpoint usage", "Value": 4.0}], "NextToken": "2"},
    {
        "Quotas": [
            {"QuotaName": "ml.c7g.large for endpoint usage", "Value": 20.0},
            {"QuotaName": "ml.c7g.large for training job usage", "Value": 3.0},
        ],
        "NextToken": "3",
    },
]
MACHINE: dict[str, Any] = {
    "QueryLanguage": "JSONata",
    "StartAt": "Start",
    "States": {
        "Start": assign("IsHeldToQuotas", request="{% $states.input %}", quotas=UNASKED, page=""),
        **quota_states(TYPES, next_state="Done", partition="aws"),
        "Done": {"Type": "Pass", "Output": "{% $quotas %}", "End": True},
    },
}


class Quotas:
    """Returns the pages in turn, or fails."""

    def __init__(self, pages: list[Mapping[str, Any]] | Exception) -> None:
        self.pages, self.asked = pages, list[dict[str, Any]]()

    def __call__(self, name: str, arguments: dict[str, Any]) -> Any:
        """Respond to a call."""
        assert name == "servicequotas:listServiceQuotas"
        self.asked.append(arguments)
        if isinstance(self.pages, Exception):
            raise self.pages
        return self.pages[int(arguments.get("NextToken", "0"))]


def test_its_calls_are_ones_that_aws_takes() -> None:
    """Calls match botocore's model."""
    assert check_machine(MACHINE) == []


def test_it_reads_until_every_type_is_found(run_machine: Any) -> None:
    """Skips the remaining hundreds of quotas."""
    account = Quotas(list(PAGES))
    run = run_machine(MACHINE, {"reason": "approval"}, account)

    assert run.output == {"instances": {"ml.m5.large": 4.0, "ml.c7g.large": 20.0}, "unread": ""}
    assert [asked.get("NextToken") for asked in account.asked] == [None, "1", "2"]
    assert account.asked[0] == {"ServiceCode": "sagemaker", "MaxResults": 100}


def test_a_type_that_is_not_listed_is_not_known(run_machine: Any) -> None:
    """Stops at the last page."""
    run = run_machine(MACHINE, {"reason": "spec"}, Quotas([{"Quotas": []}]))
    assert run.output == UNASKED


def test_a_way_back_asks_nothing(run_machine: Any) -> None:
    """A rollback is not limited by quotas."""
    account = Quotas(list(PAGES))
    assert run_machine(MACHINE, {"reason": "rollback"}, account).output == UNASKED
    assert account.asked == []


@pytest.mark.parametrize(
    ("error", "calls"), [("ServiceQuotas.AccessDeniedException", 1), ("ServiceQuotas.TooManyRequestsException", 7)]
)
def test_what_cannot_be_read_is_named_and_stops_nothing(
    run_machine: Any, aws_error: type[Exception], error: str, calls: int
) -> None:
    """Missing permissions are not retried; transient errors are."""
    account = Quotas(aws_error(error, "no"))
    assert run_machine(MACHINE, {"reason": "approval"}, account).output == {"instances": {}, "unread": error}
    assert len(account.asked) == calls
