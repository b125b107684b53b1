"""The DynamoDB table."""

import aws_cdk as cdk
import pytest
from aws_cdk.assertions import Match, Template

from mlops_constructs import BusinessUnit, Profile
from mlops_constructs._table import define_table


@pytest.mark.parametrize(("profile", "kept"), [(Profile.PRODUCTION, True), (Profile.DEVELOPMENT, False)])
def test_table_has_key_recovery_and_the_profiles_policy(profile: Profile, kept: bool) -> None:
    """On demand, encrypted, recoverable; kept where data must stay, and deletable when its creation is rolled back."""
    stack = cdk.Stack(cdk.App(), "S")
    unit = BusinessUnit(stack, "Unit", name="demand", profile=profile)

    define_table(stack, "Table", business_unit=unit, partition_key="pipeline", sort_key="item", ttl="expires")

    Template.from_stack(stack).has_resource(
        "AWS::DynamoDB::Table",
        {
            "DeletionPolicy": "RetainExceptOnCreate" if kept else "Delete",
            "Properties": {
                "BillingMode": "PAY_PER_REQUEST",
                "KeySchema": [
                    {"AttributeName": "pipeline", "KeyType": "HASH"},
                    {"AttributeName": "item", "KeyType": "RANGE"},
                ],
                "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True},
                "SSESpecification": {
                    "SSEEnabled": True,
                    "SSEType": "KMS",
                    "KMSMasterKeyId": stack.resolve(unit.key.key_arn),
                },
                "TimeToLiveSpecification": {"AttributeName": "expires", "Enabled": True},
                "DeletionProtectionEnabled": Match.absent(),
                "TableName": Match.absent(),
            },
        },
    )


def test_the_sort_key_is_optional() -> None:
    """One row a key needs none."""
    stack = cdk.Stack(cdk.App(), "S")
    unit = BusinessUnit(stack, "Unit", name="demand")

    define_table(stack, "Table", business_unit=unit, partition_key="endpoint")

    Template.from_stack(stack).has_resource_properties(
        "AWS::DynamoDB::Table",
        {"KeySchema": [{"AttributeName": "endpoint", "KeyType": "HASH"}], "TimeToLiveSpecification": Match.absent()},
    )
