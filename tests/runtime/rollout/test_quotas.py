"""Quotas as Service Quotas tells them, or why they could not be read."""

from typing import Any

import boto3
import pytest
from botocore.exceptions import ConnectTimeoutError
from botocore.stub import Stubber

from mlops_runtime.rollout.quota import Quotas
from mlops_runtime.rollout.quotas import PATIENCE, read_quotas


@pytest.fixture
def stubbed() -> Any:
    """A client and its stubber."""
    client = boto3.client(
        "service-quotas", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x", config=PATIENCE
    )
    with Stubber(client) as stub:
        yield client, stub


def page(*names: str, token: str | None = None) -> dict[str, Any]:
    """Return a page of quotas of 4."""
    found: dict[str, Any] = {"Quotas": [{"QuotaName": f"{name} for endpoint usage", "Value": 4.0} for name in names]}
    return found | ({} if token is None else {"NextToken": token})


def test_pages_are_read_until_all_is_found(stubbed: Any) -> None:
    """SageMaker has hundreds of quotas."""
    client, stub = stubbed
    stub.add_response("list_service_quotas", page("ml.t2.medium", token="2"), {"ServiceCode": "sagemaker"})
    stub.add_response("list_service_quotas", page("ml.m5.large", token="3"))
    assert read_quotas(client, ["ml.m5.large"]) == Quotas(instances={"ml.m5.large": 4.0})
    stub.assert_no_pending_responses()


def test_what_is_not_listed_is_not_known(stubbed: Any) -> None:
    """And nothing is asked where nothing is needed."""
    client, stub = stubbed
    assert read_quotas(client, []) == Quotas()
    stub.add_response("list_service_quotas", page("ml.t2.medium"))
    assert read_quotas(client, ["ml.m5.large"]) == Quotas()


def test_why_it_could_not_be_read_is_said(stubbed: Any) -> None:
    """Who may not ask, and who has no way there."""
    client, stub = stubbed
    stub.add_client_error("list_service_quotas", "AccessDeniedException")
    assert read_quotas(client, ["ml.m5.large"]) == Quotas(unread="AccessDeniedException")

    class Unreachable:
        def get_paginator(self, operation: str) -> Any:
            raise ConnectTimeoutError(endpoint_url=operation)

    assert read_quotas(Unreachable(), ["ml.m5.large"]) == Quotas(unread="ConnectTimeoutError")
