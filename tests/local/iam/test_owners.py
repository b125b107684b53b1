"""Owners of resources, and cross-account calls that are served from their state."""

import asyncio
import json
from functools import partial

import pytest
from botocore.exceptions import ClientError
from ministack.core.responses import get_account_id, get_region, request_scope
from ministack.services import s3

from mlops_local import settings
from mlops_local.cloud import Cloud
from mlops_local.iam.owners import Owner, _scoped, account_of, owner, scope_of

BUILD, STAGING = "111111111111", "222222222222"


@pytest.fixture(autouse=True)
def two_accounts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the cloud both accounts, and the first a bucket in Ireland."""
    monkeypatch.setattr(settings, "accounts", (BUILD, STAGING))
    with request_scope(BUILD, "us-east-1"):
        monkeypatch.setitem(s3._buckets, "owned-bucket", {"region": "eu-west-1"})


@pytest.mark.parametrize(
    ("arn", "found"),
    [
        (f"arn:aws:kms:eu-west-1:{BUILD}:key/x", Owner(BUILD, "eu-west-1")),
        (f"arn:aws:iam::{STAGING}:role/x", Owner(STAGING, "us-east-1")),
        ("arn:aws:s3:::owned-bucket/a/b", Owner(BUILD, "eu-west-1")),
        ("arn:aws:s3:::owned-bucket", Owner(BUILD, "eu-west-1")),
        ("arn:aws:s3:::no-bucket/a", None),
        ("arn:aws:ecr:us-east-1:683313688378:repository/sagemaker", None),
        ("arn:aws:iam::aws:policy/ReadOnlyAccess", None),
        ("*", None),
    ],
)
def test_an_arn_names_its_owner(arn: str, found: Owner | None) -> None:
    """A bucket belongs to its owner, whatever the caller's account; AWS's own accounts do not exist in this cloud."""
    with request_scope(STAGING, "us-east-1"):
        assert owner(arn) == found


def test_a_scope_is_entered_and_left() -> None:
    """Without an owner the request's account stays."""
    with request_scope(STAGING, "us-east-1"):
        with scope_of(Owner(BUILD, "eu-west-1")):
            assert (get_account_id(), get_region()) == (BUILD, "eu-west-1")
        with scope_of(None):
            assert (get_account_id(), get_region()) == (STAGING, "us-east-1")
        assert account_of(f"arn:aws:sts::{BUILD}:assumed-role/r/s") == BUILD
        assert account_of("service:events.amazonaws.com") == STAGING


def test_the_input_of_a_model_names_no_owner() -> None:
    """A request of the same content is served from the state of the account that it names; a model's input is not read at all."""

    async def account(*_: object) -> str:
        return str(get_account_id())

    serve = partial(_scoped, "sagemaker", account)
    body = json.dumps({"ModelPackageName": f"arn:aws:sagemaker:us-east-1:{BUILD}:model-package/demand/1"}).encode()
    target = {"x-amz-target": "SageMaker.DescribeModelPackage"}
    with request_scope(STAGING, "us-east-1"):
        assert asyncio.run(serve("POST", "/", target, body, {})) == BUILD
        assert asyncio.run(serve("POST", "/endpoints/demand/invocations", {}, body, {})) == STAGING


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
