"""The chain of a deployed unit or endpoint, on the embedded cloud."""

from tests.cli.deployed_unit import DeployedUnit

from mlops_runtime.business_unit.deployed_chain import open_chain, public_key_of


def test_an_endpoints_chain_is_in_its_units_buckets(deployed: DeployedUnit) -> None:
    """It is verified by the unit's published key; appending is not possible."""
    chain = open_chain(deployed.cloud.client, deployed.endpoint_entry)

    assert (chain.bucket, chain.heads) == (deployed.bucket, f"{deployed.name}-heads")
    assert chain.table.endpoint == deployed.endpoint
    assert chain.sealer is None
    key = public_key_of(deployed.cloud.client, deployed.endpoint_entry)
    assert chain.problems(key.is_signed) == []


def test_a_units_own_chain_is_appended_to(deployed: DeployedUnit) -> None:
    """It is signed by another key than its endpoints'."""
    chain = open_chain(deployed.cloud.client, deployed.unit_entry)

    assert chain.table.endpoint == deployed.name
    assert chain.sealer is not None
    own = public_key_of(deployed.cloud.client, deployed.unit_entry)
    assert own != public_key_of(deployed.cloud.client, deployed.endpoint_entry)
