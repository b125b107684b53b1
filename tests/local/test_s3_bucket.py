"""`AWS::S3::Bucket`: each property reaches S3, at creation and at update."""

import json
import time

import pytest


@pytest.fixture
def bucket(cloud):
    """Create or update the stack of one bucket: returns its name, or the failure reason."""
    client = cloud.client("cloudformation")

    def run(stack, properties):
        template = {"Resources": {"Bucket": {"Type": "AWS::S3::Bucket", "Properties": properties}}}
        known = [found["StackName"] for found in client.describe_stacks()["Stacks"]]
        start = client.update_stack if stack in known else client.create_stack
        start(StackName=stack, TemplateBody=json.dumps(template))
        while client.describe_stacks(StackName=stack)["Stacks"][0]["StackStatus"].endswith("_IN_PROGRESS"):
            time.sleep(0.05)
        events = client.describe_stack_events(StackName=stack)["StackEvents"]
        failed = [event["ResourceStatusReason"] for event in events if event["ResourceStatus"].endswith("_FAILED")]
        return failed[0] if failed else client.describe_stack_resource(
            StackName=stack, LogicalResourceId="Bucket")["StackResourceDetail"]["PhysicalResourceId"]  # fmt: skip

    return run


def test_has_every_setting_and_loses_what_an_update_drops(bucket, cloud):
    """Encryption, lifecycle, logging, ownership, tags and events: set, then removed."""
    s3 = cloud.client("s3")
    key = cloud.client("kms").create_key()["KeyMetadata"]["Arn"]
    default = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}
    rules = [
        {"Id": "tmp", "Status": "Enabled", "Prefix": "tmp/", "ExpirationInDays": "30"},
        {"Status": "Enabled", "NoncurrentVersionExpiration": {"NoncurrentDays": 7},
         "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1},
         "Transitions": [{"StorageClass": "GLACIER", "TransitionInDays": 90}]},
    ]  # fmt: skip
    name = bucket("bucket-all", {
        "BucketEncryption": {"ServerSideEncryptionConfiguration": [
            {"ServerSideEncryptionByDefault": default, "BucketKeyEnabled": "true"}]},
        "LifecycleConfiguration": {"Rules": rules},
        "LoggingConfiguration": {"DestinationBucketName": "logs", "LogFilePrefix": "all/"},
        "OwnershipControls": {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]},
        "NotificationConfiguration": {"EventBridgeConfiguration": {"EventBridgeEnabled": True}},
        "Tags": [{"Key": "unit", "Value": "demand"}],
    })  # fmt: skip
    (rule,) = s3.get_bucket_encryption(Bucket=name)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rule == {"ApplyServerSideEncryptionByDefault": default, "BucketKeyEnabled": True}
    first, second = s3.get_bucket_lifecycle_configuration(Bucket=name)["Rules"]
    assert (first["ID"], first["Filter"], first["Expiration"]) == ("tmp", {"Prefix": "tmp/"}, {"Days": 30})
    assert second["NoncurrentVersionExpiration"] == {"NoncurrentDays": 7}
    assert second["Transitions"] == [{"Days": 90, "StorageClass": "GLACIER"}]
    assert s3.get_bucket_logging(Bucket=name)["LoggingEnabled"] == {"TargetBucket": "logs", "TargetPrefix": "all/"}
    (ownership,) = s3.get_bucket_ownership_controls(Bucket=name)["OwnershipControls"]["Rules"]
    assert ownership == {"ObjectOwnership": "BucketOwnerEnforced"}
    assert s3.get_bucket_tagging(Bucket=name)["TagSet"] == [{"Key": "unit", "Value": "demand"}]
    assert "EventBridgeConfiguration" in s3.get_bucket_notification_configuration(Bucket=name)
    assert s3.put_object(Bucket=name, Key="k", Body=b"1")["SSEKMSKeyId"] == key
    assert bucket("bucket-all", {"VersioningConfiguration": {"Status": "Enabled"}}) == name
    (rule,) = s3.get_bucket_encryption(Bucket=name)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"
    assert "LoggingEnabled" not in s3.get_bucket_logging(Bucket=name)
    assert s3.get_object(Bucket=name, Key="k")["Body"].read() == b"1"


def test_locks_its_objects(bucket, cloud):
    """A version cannot be deleted before its default retention ends."""
    retention = {"Rule": {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": 1}}, "ObjectLockEnabled": "Enabled"}
    name = bucket("bucket-lock", {"ObjectLockEnabled": True, "ObjectLockConfiguration": retention})
    s3 = cloud.client("s3")
    version = s3.put_object(Bucket=name, Key="k", Body=b"1")["VersionId"]
    with pytest.raises(s3.exceptions.ClientError, match="AccessDenied"):
        s3.delete_object(Bucket=name, Key="k", VersionId=version)


def test_takes_the_account_key_where_none_is_named(bucket, cloud):
    """`aws:kms` without a key uses S3's own key."""
    rule = {"ServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"}}
    name = bucket("bucket-own-key", {"BucketEncryption": {"ServerSideEncryptionConfiguration": [rule]}})
    assert cloud.client("s3").put_object(Bucket=name, Key="k", Body=b"1")["ServerSideEncryption"] == "aws:kms"


def test_fails_for_a_property_that_would_be_dropped(bucket):
    """The property is named."""
    reason = bucket("bucket-odd", {"ReplicationConfiguration": {}, "MetricsConfigurations": []})
    assert reason.endswith(
        "properties that the embedded cloud does not have: MetricsConfigurations, ReplicationConfiguration"
    )


def test_fails_to_delete_what_is_not_empty(bucket, cloud):
    """A delete marker counts: https://docs.aws.amazon.com/AmazonS3/latest/userguide/delete-bucket.html."""
    name = bucket("bucket-full", {"VersioningConfiguration": {"Status": "Enabled"}})
    s3, client = cloud.client("s3"), cloud.client("cloudformation")
    s3.put_object(Bucket=name, Key="k", Body=b"1")
    s3.delete_object(Bucket=name, Key="k")
    client.delete_stack(StackName="bucket-full")
    while (stack := client.describe_stacks(StackName="bucket-full")["Stacks"][0])["StackStatus"].endswith(
        "_IN_PROGRESS"
    ):
        time.sleep(0.05)
    assert stack["StackStatus"] == "DELETE_FAILED"
    assert f"the bucket you tried to delete is not empty: {name}" in str(
        client.describe_stack_events(StackName="bucket-full")
    )
