"""Records by account and region, and their lists."""

import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ministack.core.responses import request_scope

from mlops_local.sagemaker import resource_store
from mlops_local.sagemaker.api_shapes import ServiceError

pytestmark = pytest.mark.usefixtures("fresh_account")


def _account() -> Any:
    return request_scope(str(uuid.uuid4().int)[:12], "eu-west-1")


def _models(*names: str) -> None:
    for name in names:
        resource_store.add("Model", name, {})


def _list(**request: Any) -> dict[str, Any]:
    rows = resource_store.store().records["Model"].values()
    return resource_store.listing("ListModels", request, rows, descending=True)


def test_arns_are_lower_case_and_found_again() -> None:
    """An ARN has its name in lower case; the original name is found nevertheless."""
    _models("Demand-Forecast")
    arn = resource_store.get("Model", "Demand-Forecast")["ModelArn"]
    assert arn.endswith(":model/demand-forecast")
    assert resource_store.name_of("Model", arn) == "Demand-Forecast"
    assert resource_store.name_of("Model", "Demand-Forecast") == "Demand-Forecast"


def test_accounts_do_not_see_each_other() -> None:
    """The same name is free in another account, and a record is found only in its own."""
    _models("same")
    with _account():
        with pytest.raises(ServiceError, match=r'Could not find model "arn:'):
            resource_store.get("Model", "same")
        _models("same")
    with pytest.raises(ServiceError, match="Cannot create already existing model"):
        _models("same")


def test_update_changes_takes_away_and_stamps() -> None:
    """None removes a member, and each change updates LastModifiedTime."""
    record = resource_store.add("Endpoint", "e", {"EndpointStatus": "Failed", "FailureReason": "x"})
    before = record["LastModifiedTime"]
    resource_store.update(record, EndpointStatus="InService", FailureReason=None)
    assert record["EndpointStatus"] == "InService"
    assert "FailureReason" not in record
    assert record["LastModifiedTime"] > before
    assert record["CreationTime"] <= before


@given(names=st.sets(st.from_regex(r"[a-z][a-z0-9]{0,5}", fullmatch=True), max_size=30), size=st.integers(1, 7))
def test_pages_hold_everything_once_in_order(names: set[str], size: int) -> None:
    """For every page size the pages together are the sorted list."""
    with _account():
        _models(*names)
        found: list[str] = []
        request: dict[str, Any] = {"SortBy": "Name", "SortOrder": "Ascending", "MaxResults": size}
        while True:
            page = _list(**request)
            assert len(page["Models"]) <= size
            found += [row["ModelName"] for row in page["Models"]]
            if "NextToken" not in page:
                break
            request["NextToken"] = page["NextToken"]
    assert found == sorted(names)


def test_a_page_goes_on_after_a_deletion() -> None:
    """The last record of a page may be deleted before the next page is requested."""
    _models("a", "b", "c")
    page = _list(SortBy="Name", SortOrder="Ascending", MaxResults=2)
    resource_store.remove("Model", "b")
    rest = _list(SortBy="Name", SortOrder="Ascending", NextToken=page["NextToken"])
    assert [row["ModelName"] for row in rest["Models"]] == ["c"]


def test_filters_by_name_and_time() -> None:
    """Names are compared case-insensitively, times by seconds; newest first by default."""
    _models("one", "two", "twofold")
    created = resource_store.get("Model", "two")["CreationTime"].timestamp()
    assert [row["ModelName"] for row in _list(NameContains="TWO")["Models"]] == ["twofold", "two"]
    assert [row["ModelName"] for row in _list(CreationTimeBefore=created)["Models"]] == ["two", "one"]
    assert [row["ModelName"] for row in _list(CreationTimeAfter=created)["Models"]] == ["twofold", "two"]


def test_fails_on_a_token_of_somebody_else() -> None:
    """An unknown token is rejected."""
    with pytest.raises(ServiceError, match="Invalid pagination token"):
        _list(NextToken="bm90IGpzb24=")
