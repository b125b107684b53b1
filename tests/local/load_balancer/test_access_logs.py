"""The test file of access logs, written to the bucket before any request."""

from typing import Any

import pytest
from botocore.exceptions import ClientError

from mlops_local.cloud import Cloud


def _switch_on(cloud: Cloud, balancer: str, bucket: str) -> None:
    attributes = {"access_logs.s3.enabled": "true", "access_logs.s3.bucket": bucket, "access_logs.s3.prefix": "logs"}
    rows = [{"Key": key, "Value": value} for key, value in attributes.items()]
    cloud.client("elbv2").modify_load_balancer_attributes(LoadBalancerArn=balancer, Attributes=rows)


def test_the_log_bucket_is_not_empty_from_the_start(cloud: Cloud, slots: dict[str, Any], unique: str) -> None:
    """One file, written when logs are enabled; the same settings again write none."""
    s3, bucket = cloud.client("s3"), f"{unique}-logs"
    s3.create_bucket(Bucket=bucket)

    _switch_on(cloud, slots["balancer"], bucket)

    (found,) = s3.list_objects_v2(Bucket=bucket)["Contents"]
    assert found["Key"] == "logs/AWSLogs/000000000000/ELBAccessLogTestFile"
    s3.delete_object(Bucket=bucket, Key=found["Key"])
    _switch_on(cloud, slots["balancer"], bucket)
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0
    s3.delete_bucket(Bucket=bucket)


def test_a_bucket_that_is_missing_is_refused(cloud: Cloud, slots: dict[str, Any], unique: str) -> None:
    """By name."""
    with pytest.raises(ClientError, match=f"{unique}-none.*does not exist"):
        _switch_on(cloud, slots["balancer"], f"{unique}-none")
