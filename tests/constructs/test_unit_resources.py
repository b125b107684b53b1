"""Resources of a unit: hardened buckets, log groups, DynamoDB tables, topics."""

from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk.assertions import Match, Template

from mlops_constructs import BusinessUnit, Profile
from mlops_constructs._unit_resources import define_bucket, define_log_group, define_table


def _bucket(profile: Profile, **options: Any) -> tuple[Template, dict[str, Any]]:
    stack = cdk.Stack(cdk.App(), "S")
    unit = BusinessUnit(stack, "Unit", name="demand", profile=profile)
    bucket = define_bucket(stack, "Data", business_unit=unit, **options)
    template = Template.from_stack(stack)
    return template, template.find_resources("AWS::S3::Bucket")[stack.get_logical_id(bucket.node.default_child)]


def test_bucket_is_hardened() -> None:
    """Has key, versions, no public access, and access logs below its own prefix."""
    _, bucket = _bucket(Profile.PRODUCTION)

    properties = bucket["Properties"]
    rule = properties["BucketEncryption"]["ServerSideEncryptionConfiguration"][0]
    assert rule["ServerSideEncryptionByDefault"]["SSEAlgorithm"] == "aws:kms"
    assert rule["BucketKeyEnabled"] is True
    assert properties["VersioningConfiguration"] == {"Status": "Enabled"}
    assert set(properties["PublicAccessBlockConfiguration"].values()) == {True}
    assert properties["LoggingConfiguration"]["LogFilePrefix"] == "Data/"
    assert properties["OwnershipControls"]["Rules"] == [{"ObjectOwnership": "BucketOwnerEnforced"}]
    assert "BucketName" not in properties


def test_production_keeps_and_can_hold() -> None:
    """The bucket is retained and supports legal holds, without a default lock."""
    _, bucket = _bucket(Profile.PRODUCTION)

    assert bucket["DeletionPolicy"] == "RetainExceptOnCreate"
    assert bucket["Properties"]["ObjectLockConfiguration"] == {"ObjectLockEnabled": "Enabled"}


def test_a_lock_is_a_default_retention() -> None:
    """Nothing can be deleted during the retention."""
    _, bucket = _bucket(Profile.PRODUCTION, object_lock=cdk.Duration.days(365))

    retention = bucket["Properties"]["ObjectLockConfiguration"]["Rule"]["DefaultRetention"]
    assert retention == {"Days": 365, "Mode": "GOVERNANCE"}


def test_development_sweeps_and_has_no_lock() -> None:
    """The bucket is emptied and deleted with the stack."""
    template, bucket = _bucket(Profile.DEVELOPMENT)

    assert bucket["DeletionPolicy"] == "Delete"
    assert "ObjectLockConfiguration" not in bucket["Properties"]
    sweeps = template.find_resources("Custom::BucketSweep")
    assert any(name.startswith("DataSweep") for name in sweeps)


def test_no_hidden_function_writes_notifications() -> None:
    """Events to the default bus are a property of the bucket."""
    template, bucket = _bucket(Profile.PRODUCTION, event_bridge=True)

    assert bucket["Properties"]["NotificationConfiguration"] == {
        "EventBridgeConfiguration": {"EventBridgeEnabled": True}
    }
    template.resource_count_is("Custom::S3BucketNotifications", 0)


@pytest.mark.parametrize("profile", list(Profile))
def test_only_tls_is_served(profile: Profile) -> None:
    """Every bucket's policy denies plain HTTP and old TLS."""
    template, _ = _bucket(profile)

    for policy in template.find_resources("AWS::S3::BucketPolicy").values():
        conditions = [
            s.get("Condition", {}) for s in policy["Properties"]["PolicyDocument"]["Statement"] if s["Effect"] == "Deny"
        ]
        assert {"Bool": {"aws:SecureTransport": "false"}} in conditions
        assert {"NumericLessThan": {"s3:TlsVersion": 1.2}} in conditions


def test_access_logs_are_delivered_by_policy_with_their_own_encryption() -> None:
    """S3 delivers access logs only into buckets with SSE-S3."""
    template, _ = _bucket(Profile.PRODUCTION)

    logs = next(
        b for name, b in template.find_resources("AWS::S3::Bucket").items() if name.startswith("UnitAccessLogs")
    )
    rule = logs["Properties"]["BucketEncryption"]["ServerSideEncryptionConfiguration"][0]
    assert rule["ServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}
    assert "ObjectLockConfiguration" not in logs["Properties"]
    policy = next(
        p for name, p in template.find_resources("AWS::S3::BucketPolicy").items() if name.startswith("UnitAccessLogs")
    )
    delivery = policy["Properties"]["PolicyDocument"]["Statement"][-1]
    assert delivery["Principal"] == {"Service": "logging.s3.amazonaws.com"}
    assert delivery["Condition"] == {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}


@pytest.mark.parametrize(
    ("profile", "policy"), [(Profile.PRODUCTION, "RetainExceptOnCreate"), (Profile.DEVELOPMENT, "Delete")]
)
def test_log_group_has_key_year_and_the_profiles_policy(profile: Profile, policy: str) -> None:
    """Logs are kept for a year, encrypted with the unit's key."""
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


@pytest.mark.parametrize(("profile", "kept"), [(Profile.PRODUCTION, True), (Profile.DEVELOPMENT, False)])
def test_table_has_key_recovery_and_the_profiles_policy(profile: Profile, kept: bool) -> None:
    """On demand, encrypted, recoverable; retained with PRODUCTION, and deleted if its creation is rolled back."""
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
    """One row per key needs no sort key."""
    stack = cdk.Stack(cdk.App(), "S")
    unit = BusinessUnit(stack, "Unit", name="demand")

    define_table(stack, "Table", business_unit=unit, partition_key="endpoint")

    Template.from_stack(stack).has_resource_properties(
        "AWS::DynamoDB::Table",
        {"KeySchema": [{"AttributeName": "endpoint", "KeyType": "HASH"}], "TimeToLiveSpecification": Match.absent()},
    )


def test_the_units_topic_lets_the_accounts_alarms_tell_it(demand: Any):
    """A custom policy replaces the default one: it admits the account's alarms and no others."""
    policy = demand.one("AWS::SNS::TopicPolicy", "UnitTopic")["PolicyDocument"]
    (statement,) = (s for s in policy["Statement"] if s["Sid"] == "Alarms")
    assert statement["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
    assert statement["Condition"]["StringEquals"] == {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}
    (join,) = statement["Condition"]["ArnLike"]["aws:SourceArn"].values()
    assert join[1][-1] == ":alarm:*"
    assert isinstance(demand.unit, BusinessUnit)
