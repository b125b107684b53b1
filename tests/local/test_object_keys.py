"""Objects whose KMS key is disabled or pending deletion."""

from typing import Any

import pytest
from botocore.exceptions import ClientError

from mlops_local.cloud import Cloud


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
