"""Conditional copies of objects, and objects whose key is disabled."""

import base64
import hashlib
from typing import Any

import pytest
from botocore.exceptions import ClientError

from mlops_local.cloud import Cloud


def test_a_copy_writes_only_where_nothing_is(cloud, unique):
    """412 if the key exists, which stays unchanged; with If-Match only over the expected object.

    https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html
    """
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket=unique)
    source = {"Bucket": unique, "Key": "a"}
    s3.put_object(**source, Body=b"one")
    s3.copy_object(Bucket=unique, Key="kept", CopySource=source, IfNoneMatch="*", ChecksumAlgorithm="SHA256")
    s3.put_object(**source, Body=b"two")

    with pytest.raises(ClientError) as error:
        s3.copy_object(Bucket=unique, Key="kept", CopySource=source, IfNoneMatch="*")
    assert error.value.response["Error"]["Code"] == "PreconditionFailed"
    assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 412
    assert s3.get_object(Bucket=unique, Key="kept")["Body"].read() == b"one"

    with pytest.raises(ClientError, match="PreconditionFailed"):
        s3.copy_object(Bucket=unique, Key="kept", CopySource=source, IfMatch='"other"')
    s3.copy_object(Bucket=unique, Key="kept", CopySource=source)
    assert s3.get_object(Bucket=unique, Key="kept")["Body"].read() == b"two"


def test_a_role_may_be_held_to_conditional_writes(cloud, make_role, acting_as, allow, unique):
    """The header is the condition key `s3:if-none-match` of copies and uploads; parts of a multipart upload have none.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes-enforce.html
    """
    cloud.client("s3").create_bucket(Bucket=unique)
    cloud.client("s3").put_object(Bucket=unique, Key="a", Body=b"one")
    objects = f"arn:aws:s3:::{unique}/*"
    once = allow("s3:PutObject", resource=objects, Null={"s3:if-none-match": "false"})
    s3 = acting_as(make_role(once, allow("s3:GetObject", resource=objects)))("s3")

    for write in (
        lambda **condition: s3.put_object(Bucket=unique, Key="put", Body=b"", **condition),
        lambda **condition: s3.copy_object(
            Bucket=unique, Key="copied", CopySource={"Bucket": unique, "Key": "a"}, **condition
        ),
    ):
        with pytest.raises(ClientError, match="AccessDenied"):
            write()
        write(IfNoneMatch="*")
        with pytest.raises(ClientError, match="PreconditionFailed"):
            write(IfNoneMatch="*")
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.create_multipart_upload(Bucket=unique, Key="parts")


def test_a_copy_has_the_hash_of_the_whole(cloud, unique):
    """Computed by S3 with the requested algorithm, else with the source's; a source without a checksum gives none.

    https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html (x-amz-checksum-algorithm)
    """
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket=unique)
    s3.put_bucket_versioning(Bucket=unique, VersioningConfiguration={"Status": "Enabled"})
    source = {"Bucket": unique, "Key": "a"}
    s3.put_object(**source, Body=b"one")
    for name, algorithm in (("plain", {}), ("hashed", {"ChecksumAlgorithm": "SHA256"})):
        s3.copy_object(Bucket=unique, Key=name, CopySource=source, **algorithm)
    s3.copy_object(Bucket=unique, Key="again", CopySource={"Bucket": unique, "Key": "hashed"})

    heads = {n: s3.head_object(Bucket=unique, Key=n, ChecksumMode="ENABLED") for n in ("plain", "hashed", "again")}
    wanted = base64.b64encode(hashlib.sha256(b"one").digest()).decode()
    assert [head.get("ChecksumSHA256") for head in heads.values()] == [None, wanted, wanted]
    assert heads["hashed"]["ChecksumType"] == "FULL_OBJECT"
    assert "ChecksumSHA256" not in s3.head_object(Bucket=unique, Key="hashed")


def _refused(call: Any, **arguments: Any) -> tuple[str, int]:
    with pytest.raises(ClientError) as error:
        call(**arguments)
    answer: Any = error.value.response
    return answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]


def test_an_object_needs_its_key_enabled(cloud: Cloud, unique: str) -> None:
    """For reads, writes and copies, also by callers with full permissions; enabling the key restores access.

    https://docs.aws.amazon.com/kms/latest/developerguide/key-state.html and, as AWS answered it,
    https://github.com/localstack/localstack/pull/7786
    """
    s3, kms = cloud.client("s3"), cloud.client("kms")
    key = kms.create_key()["KeyMetadata"]["Arn"]
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}}
    for name in (unique, f"{unique}-plain"):
        s3.create_bucket(Bucket=name)
    s3.put_bucket_encryption(Bucket=unique, ServerSideEncryptionConfiguration={"Rules": [rule]})
    s3.put_object(Bucket=unique, Key="a", Body=b"one")
    s3.put_object(Bucket=f"{unique}-plain", Key="b", Body=b"two")
    source = {"Bucket": unique, "Key": "a"}
    disabled, plain = ("KMS.DisabledException", 400), f"{unique}-plain"

    kms.disable_key(KeyId=key)
    assert _refused(s3.get_object, **source) == disabled
    assert _refused(s3.put_object, **source, Body=b"three") == disabled
    assert _refused(s3.copy_object, Bucket=plain, Key="c", CopySource=source) == disabled
    assert _refused(s3.copy_object, Bucket=unique, Key="c", CopySource={"Bucket": plain, "Key": "b"}) == disabled
    assert s3.get_object(Bucket=plain, Key="b")["Body"].read() == b"two"

    kms.enable_key(KeyId=key)
    assert s3.get_object(**source)["Body"].read() == b"one"
    kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
    assert _refused(s3.get_object, **source) == ("KMS.KMSInvalidStateException", 400)
