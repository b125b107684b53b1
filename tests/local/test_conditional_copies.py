"""Conditional copies of objects."""

import base64
import hashlib

import pytest
from botocore.exceptions import ClientError


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
