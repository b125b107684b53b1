"""Service Quotas of the embedded cloud: ListServiceQuotas, and the address that sets other quotas."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from mlops_local.cloud import CloudError
from mlops_runtime.rollout.instance_quota import quota_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlops_local.cloud import Cloud

NAME = "ml.m5.large for endpoint usage"


def read(client: Any, *types: str) -> dict[str, float]:
    """Return the quotas of some types, page by page."""
    pages = client.get_paginator("list_service_quotas").paginate(ServiceCode="sagemaker")
    found = {quota["QuotaName"]: quota["Value"] for page in pages for quota in page["Quotas"]}
    return {kind: found[quota_name(kind)] for kind in types}


def put(cloud: Cloud, body: object) -> Any:
    """Set quotas."""
    return cloud.call("/_mlops/quotas", body)


def test_every_type_of_an_endpoint_has_a_quota(cloud: Cloud) -> None:
    """Page by page, by botocore's model."""
    client = cloud.client("service-quotas")
    first = client.list_service_quotas(ServiceCode="sagemaker", MaxResults=10)
    assert len(first["Quotas"]) == 10
    assert "NextToken" in first
    assert read(client, "ml.m5.large", "ml.c7g.xlarge") == {
        "ml.m5.large": 20.0,
        "ml.c7g.xlarge": 20.0,
    }


def test_other_quotas_can_be_set(cloud: Cloud) -> None:
    """They replace the earlier ones; unknown types are rejected."""
    try:
        assert put(cloud, {NAME: 3}) == {NAME: 3.0}
        assert read(cloud.client("service-quotas"), "ml.m5.large") == {"ml.m5.large": 3.0}
        with pytest.raises(CloudError, match=r"ml\.none"):
            put(cloud, {"ml.none": 3})
    finally:
        put(cloud, {})


def test_only_who_may_is_answered(
    cloud: Cloud, make_role: Callable[..., str], allow: Callable[..., dict[str, Any]], acting_as: Callable[[str], Any]
) -> None:
    """The action has no resource type."""
    may = acting_as(make_role(allow("servicequotas:ListServiceQuotas")))("service-quotas")
    assert may.list_service_quotas(ServiceCode="sagemaker", MaxResults=1)["Quotas"]
    denied = acting_as(make_role(allow("s3:GetObject")))("service-quotas")
    with pytest.raises(ClientError, match="AccessDenied"):
        read(denied, "ml.m5.large")


def test_a_state_machine_asks_with_its_own_rights(
    run_machine: Callable[..., dict[str, Any]],
    make_role: Callable[..., str],
    allow: Callable[..., dict[str, Any]],
) -> None:
    """Step Functions calls from outside any network; its errors have the prefix in the integration's page."""
    call, arguments = "arn:aws:states:::aws-sdk:servicequotas:listServiceQuotas", {"ServiceCode": "vpc"}
    may = make_role(allow("servicequotas:ListServiceQuotas"), service="states.amazonaws.com")
    done = run_machine(may, call, arguments)
    assert json.loads(done["output"])["Quotas"][0]["QuotaName"] == "VPCs per Region"

    denied = run_machine(make_role(allow("s3:GetObject"), service="states.amazonaws.com"), call, arguments)
    assert (denied["status"], denied["error"]) == ("FAILED", "ServiceQuotas.AccessDeniedException")


def test_all_else_is_refused_by_name(cloud: Cloud) -> None:
    """Other services' quotas and other operations."""
    client = cloud.client("service-quotas")
    with pytest.raises(ClientError, match="no quotas of 'ec2'"):
        client.list_service_quotas(ServiceCode="ec2")
    with pytest.raises(ClientError, match="has ListServiceQuotas"):
        client.get_service_quota(ServiceCode="sagemaker", QuotaCode="L-00000000")


def test_networks_have_a_quota(cloud: Cloud) -> None:
    """Five until more are requested: https://docs.aws.amazon.com/vpc/latest/userguide/amazon-vpc-limits.html."""
    client, name = cloud.client("service-quotas"), "VPCs per Region"

    def quotas() -> dict[str, float]:
        return {q["QuotaName"]: q["Value"] for q in client.list_service_quotas(ServiceCode="vpc")["Quotas"]}

    try:
        assert quotas() == {name: 5.0}
        put(cloud, {name: 7})
        assert quotas() == {name: 7.0}
    finally:
        put(cloud, {})
    with pytest.raises(ClientError, match="NoSuchResource"):
        client.list_service_quotas(ServiceCode="telepathy")
