"""Kinds of network."""

import aws_cdk as cdk
import pytest
from aws_cdk import aws_ec2 as ec2

from mlops_constructs import Network, ValidationError
from mlops_constructs.business_unit.network import INTERFACE_ENDPOINTS


def test_a_made_network_has_defaults() -> None:
    """Addresses and endpoints are named, zones come from the profile."""
    network = Network.create()

    assert (network.cidr, network.endpoints, network.zones, network.vpc) == (
        "10.0.0.0/16",
        INTERFACE_ENDPOINTS,
        None,
        None,
    )


def test_no_endpoints_is_a_choice() -> None:
    """An empty list is not the default."""
    assert Network.create(endpoints=[]).endpoints == ()


@pytest.mark.parametrize("cidr", ["10.0.0.1/16", "10.0.0.0/15", "10.0.0.0/26", "everything", "::/56"])
def test_fails_on_addresses_that_no_network_has(cidr: str) -> None:
    """Both problems are told at once, with what is allowed."""
    with pytest.raises(ValidationError) as error:
        Network.create(cidr=cidr, availability_zones=7)

    assert f"/16 to /25 whose host bits are 0, such as '10.20.0.0/16', got {cidr!r}" in str(error.value)
    assert "zones must be from 1 to 6, got 7" in str(error.value)


def test_a_given_network_keeps_what_was_given() -> None:
    """Nothing is copied or replaced."""
    vpc = ec2.Vpc(cdk.Stack(cdk.App(), "S"), "Vpc")
    subnets = ec2.SubnetSelection(subnet_type=ec2.SubnetType.PRIVATE_ISOLATED)

    network = Network.from_vpc(vpc=vpc, subnets=subnets)

    assert network.vpc is vpc
    assert network.subnets is subnets


def test_a_shared_network_is_ids() -> None:
    """It belongs to another account."""
    network = Network.from_shared_vpc(vpc_id="vpc-1", availability_zones=["a"], subnet_ids=["subnet-1"])

    assert (network.shared_vpc_id, network.shared_zones, network.shared_subnet_ids) == ("vpc-1", ("a",), ("subnet-1",))


def test_zones_can_be_named() -> None:
    """In their order; one string is one zone."""
    network = Network.create(availability_zones=["us-east-1b", "us-east-1c"])

    assert (network.zones, network.zone_names) == (2, ("us-east-1b", "us-east-1c"))
    with pytest.raises(ValidationError, match=r"got 'us-east-1b'; write \['us-east-1b'\] for a list of one"):
        Network.create(availability_zones="us-east-1b")
    assert Network.create(availability_zones=2).zone_names == ()


@pytest.mark.parametrize(
    ("zones", "problem"),
    [
        (["b"], "zones must be names such as 'us-east-1b', or a number, got 'b'"),
        (["us-east-1b", "us-east-1b"], "zones must differ, got us-east-1b twice"),
        (["us-east-1b", "eu-west-1b"], "zones must be of one region, got eu-west-1 and us-east-1"),
        ([], "zones must be from 1 to 6, got 0"),
    ],
)
def test_fails_on_zones_that_no_network_has(zones: list[str], problem: str) -> None:
    """What is allowed is named."""
    with pytest.raises(ValidationError) as error:
        Network.create(availability_zones=zones)

    assert problem in str(error.value)
