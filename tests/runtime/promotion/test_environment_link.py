"""Names that two accounts derive from each other without a call."""

import pytest

from mlops_runtime.promotion.environment_link import (
    LinkedEnvironment,
    inbox_arn,
    link_role_arn,
    link_role_name,
    release_key,
)

BUILD = LinkedEnvironment(account="111111111111", region="eu-west-1")
OTHERS = [
    LinkedEnvironment(account="111111111112", region="eu-west-1"),
    LinkedEnvironment(account="111111111111", region="eu-west-2"),
]


def test_roles_of_different_environments_units_and_purposes_differ() -> None:
    """IAM names are unique in an account over all Regions."""
    names = {
        link_role_name("promote", unit="demand", model="forecast", environment=each) for each in (BUILD, *OTHERS)
    } | {
        link_role_name("send", unit="demand", model="forecast", environment=BUILD),
        link_role_name("promote", unit="returns", model="forecast", environment=BUILD),
        link_role_name("promote", unit="demand", model="returns", environment=BUILD),
    }

    assert len(names) == 6


def test_names_fit_where_unit_model_and_region_are_as_long_as_they_may() -> None:
    """A role's name has at most 64 characters."""
    longest = LinkedEnvironment(account="111111111111", region="ap-southeast-2")

    name = link_role_name("recheck", unit="u" * 20, model="m" * 20, environment=longest)

    assert len(name) <= 64
    assert link_role_arn("recheck", unit="u" * 20, model="m" * 20, environment=longest).endswith(f":role/{name}")


@pytest.mark.parametrize(
    ("region", "partition"),
    [("eu-west-1", "aws"), ("cn-north-1", "aws-cn"), ("us-gov-west-1", "aws-us-gov"), ("us-east-1", "aws")],
)
def test_arns_have_the_partition_of_their_region(region: str, partition: str) -> None:
    """China and GovCloud have their own."""
    environment = LinkedEnvironment(account="111111111111", region=region)

    assert inbox_arn(unit="demand", model="forecast", environment=environment) == (
        f"arn:{partition}:events:{region}:111111111111:event-bus/mlops-demand-forecast-inbox"
    )


def test_a_release_has_one_key() -> None:
    """By group and binding."""
    assert release_key(group="demand-forecast", binding="ab") == "releases/demand-forecast/ab.json"
