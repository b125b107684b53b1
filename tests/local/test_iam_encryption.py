"""Encrypted resources ask their callers for their key, through the service that uses it."""

import pytest
from botocore.exceptions import ClientError

ACCOUNT = "000000000000"


@pytest.fixture
def encrypted_bucket(cloud, unique):
    """A bucket with a key of its own, and the key's ARN."""
    key = cloud.client("kms").create_key()["KeyMetadata"]["Arn"]
    rule = {
        "ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key},
        "BucketKeyEnabled": True,
    }
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket=unique)
    s3.put_bucket_encryption(Bucket=unique, ServerSideEncryptionConfiguration={"Rules": [rule]})
    return unique, key


def test_an_encrypted_bucket_needs_its_key_through_s3(encrypted_bucket, make_role, acting_as, allow):
    """Writing needs kms:GenerateDataKey and reading kms:Decrypt, called by S3 for the role."""
    bucket, key = encrypted_bucket
    objects = allow("s3:PutObject", "s3:GetObject", resource=f"arn:aws:s3:::{bucket}/*")
    with pytest.raises(ClientError, match=f"perform: kms:GenerateDataKey on resource: {key} because"):
        acting_as(make_role(objects))("s3").put_object(Bucket=bucket, Key="k", Body=b"1")
    context = {"StringEquals": {"kms:ViaService": "s3.us-east-1.amazonaws.com",
                                "kms:EncryptionContext:aws:s3:arn": f"arn:aws:s3:::{bucket}"}}  # fmt: skip
    clients = acting_as(make_role(objects, allow("kms:GenerateDataKey", resource=key, **context)))
    clients("s3").put_object(Bucket=bucket, Key="k", Body=b"1")
    with pytest.raises(ClientError, match="kms:Decrypt"):
        clients("s3").get_object(Bucket=bucket, Key="k")
    reader = acting_as(make_role(objects, allow("kms:Decrypt", resource=key, **context)))
    assert reader("s3").get_object(Bucket=bucket, Key="k")["Body"].read() == b"1"
    with pytest.raises(ClientError, match="kms:GenerateDataKey"):  # the same key, not through S3
        clients("kms").generate_data_key(KeyId=key, KeySpec="AES_256")


def test_a_keys_tags_decide_who_uses_it(cloud, encrypted_bucket, make_role, acting_as, allow):
    """`aws:ResourceTag` is the key's: https://docs.aws.amazon.com/kms/latest/developerguide/tag-authorization.html."""
    bucket, key = encrypted_bucket
    uses = allow("s3:PutObject", "kms:GenerateDataKey")
    denied = {
        "Effect": "Deny",
        "Action": "kms:*",
        "Resource": "*",
        "Condition": {
            "Null": {"aws:ResourceTag/mlops:unit": "false"},
            "StringNotEquals": {"aws:ResourceTag/mlops:unit": "demand"},
        },
    }
    client = acting_as(make_role(uses, denied))("s3")
    client.put_object(Bucket=bucket, Key="k", Body=b"1")
    cloud.client("kms").tag_resource(KeyId=key, Tags=[{"TagKey": "mlops:unit", "TagValue": "pricing"}])
    with pytest.raises(ClientError, match=f"kms:GenerateDataKey on resource: {key} with an explicit deny"):
        client.put_object(Bucket=bucket, Key="k", Body=b"1")
    cloud.client("kms").tag_resource(KeyId=key, Tags=[{"TagKey": "mlops:unit", "TagValue": "demand"}])
    client.put_object(Bucket=bucket, Key="k", Body=b"1")


def test_an_encrypted_queue_needs_its_key(cloud, make_role, acting_as, allow, unique):
    """Sending needs kms:GenerateDataKey and kms:Decrypt: the page of SQS's key management lists both."""
    key = cloud.client("kms").create_key()["KeyMetadata"]["Arn"]
    url = cloud.client("sqs").create_queue(QueueName=unique, Attributes={"KmsMasterKeyId": key})["QueueUrl"]
    arn = f"arn:aws:sqs:us-east-1:{ACCOUNT}:{unique}"
    sends = allow("sqs:SendMessage", resource=arn)
    with pytest.raises(ClientError, match="kms:GenerateDataKey"):
        acting_as(make_role(sends))("sqs").send_message(QueueUrl=url, MessageBody="x")
    keys = allow(
        "kms:GenerateDataKey",
        "kms:Decrypt",
        resource=key,
        StringEquals={"kms:ViaService": "sqs.us-east-1.amazonaws.com"},
    )
    acting_as(make_role(sends, keys))("sqs").send_message(QueueUrl=url, MessageBody="x")
