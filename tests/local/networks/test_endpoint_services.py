"""Endpoint services of the region: those of the library's networks, and a region without some of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from mlops_constructs.business_unit.unit_network import INTERFACE_ENDPOINTS
from mlops_local.cloud import CloudError

if TYPE_CHECKING:
    from mlops_local.cloud import Cloud


def lack(cloud: Cloud, names: object) -> Any:
    """Remove services from the region."""
    return cloud.call("/_mlops/endpoint_services", names)


def services(cloud: Cloud) -> dict[str, list[str]]:
    """Return the zones of each service."""
    details = cloud.client("ec2").describe_vpc_endpoint_services()["ServiceDetails"]
    return {detail["ServiceName"]: detail["AvailabilityZones"] for detail in details}


def test_the_region_has_what_networks_use(cloud: Cloud) -> None:
    """https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeVpcEndpointServices.html."""
    found = services(cloud)

    assert {f"com.amazonaws.us-east-1.{name}" for name in INTERFACE_ENDPOINTS} <= set(found)
    assert found["com.amazonaws.us-east-1.states"] == ["us-east-1a", "us-east-1b", "us-east-1c"]


def test_a_region_may_lack_a_service(cloud: Cloud) -> None:
    """Until it is restored; an unknown name is rejected."""
    try:
        assert "states" not in lack(cloud, ["states"])
        assert "com.amazonaws.us-east-1.states" not in services(cloud)
        with pytest.raises(CloudError, match="telepathy"):
            lack(cloud, ["telepathy"])
    finally:
        lack(cloud, [])
    assert "com.amazonaws.us-east-1.states" in services(cloud)
