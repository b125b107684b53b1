"""Log groups."""

import aws_cdk as cdk
import pytest
from aws_cdk.assertions import Template

from mlops_constructs import BusinessUnit, Profile
from mlops_constructs._log_group import define_log_group


@pytest.mark.parametrize(
    ("profile", "policy"), [(Profile.PRODUCTION, "RetainExceptOnCreate"), (Profile.DEVELOPMENT, "Delete")]
)
def test_log_group_has_key_year_and_the_profiles_policy(profile: Profile, policy: str) -> None:
    """A year of logs, encrypted with the unit's key."""
    stack = cdk.Stack(cdk.App(), "S")
    unit = BusinessUnit(stack, "Unit", name="demand", profile=profile)

    group = define_log_group(stack, "Logs", business_unit=unit, vended_by="states")

    found = Template.from_stack(stack).find_resources("AWS::Logs::LogGroup")[
        stack.get_logical_id(group.node.default_child)
    ]
    assert found["DeletionPolicy"] == policy
    assert found["Properties"]["RetentionInDays"] == 365
    uuid = {"Fn::Select": [2, {"Fn::Split": ["/", {"Ref": "AWS::StackId"}]}]}
    assert found["Properties"]["LogGroupName"] == {"Fn::Join": ["", ["/aws/vendedlogs/states/S-Logs-", uuid]]}
    assert found["Properties"]["KmsKeyId"] == stack.resolve(unit.key.key_arn)
