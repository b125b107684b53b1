"""Calls that name another account's resources, and expected bucket owners."""

import pytest
from botocore.exceptions import ClientError

from mlops_local.cloud import Cloud

BUILD, STAGING = "111111111111", "222222222222"


def test_a_bucket_of_another_account_than_expected_is_denied(cloud: Cloud, unique: str) -> None:
    """Applies to every call and to the source of a copy; the actual owner is accepted.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucket-owner-condition.html
    """
    s3 = cloud.at(BUILD).client("s3")
    s3.create_bucket(Bucket=unique)
    s3.put_object(Bucket=unique, Key="a", Body=b"x", ExpectedBucketOwner=BUILD)
    copy = {"Bucket": unique, "Key": "b", "CopySource": {"Bucket": unique, "Key": "a"}}
    for call in (
        lambda: s3.get_object(Bucket=unique, Key="a", ExpectedBucketOwner=STAGING),
        lambda: s3.list_objects_v2(Bucket=unique, ExpectedBucketOwner=STAGING),
        lambda: s3.put_object(Bucket=unique, Key="a", Body=b"y", ExpectedBucketOwner=STAGING),
        lambda: s3.copy_object(**copy, ExpectedBucketOwner=BUILD, ExpectedSourceBucketOwner=STAGING),
    ):
        with pytest.raises(ClientError, match="AccessDenied"):
            call()
    s3.copy_object(**copy, ExpectedBucketOwner=BUILD, ExpectedSourceBucketOwner=BUILD)
    assert s3.get_object(Bucket=unique, Key="b", ExpectedBucketOwner=BUILD)["Body"].read() == b"x"


def test_what_is_in_another_region_is_not_there(cloud: Cloud, unique: str) -> None:
    """A key and a package are usable in their own Region only, also by their account."""
    kms = cloud.at(BUILD, "eu-west-1").client("kms")
    key = kms.create_key()["KeyMetadata"]["Arn"]
    assert kms.encrypt(KeyId=key, Plaintext=b"x")["KeyId"] == key
    with pytest.raises(ClientError, match="NotFoundException"):
        cloud.at(BUILD, "us-east-1").client("kms").encrypt(KeyId=key, Plaintext=b"x")
    sagemaker = cloud.at(BUILD, "eu-west-1").client("sagemaker")
    sagemaker.create_model_package_group(ModelPackageGroupName=unique)
    package = sagemaker.create_model_package(ModelPackageGroupName=unique)["ModelPackageArn"]
    with pytest.raises(ClientError, match="does not exist"):
        cloud.at(BUILD, "us-east-1").client("sagemaker").describe_model_package(ModelPackageName=package)
