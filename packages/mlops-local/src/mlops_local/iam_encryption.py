"""The KMS permissions that encrypted resources ask of their callers.

A service that reads or writes with a customer's key calls KMS with the caller's permissions and names itself in
`kms:ViaService`: https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html#conditions-kms-via-service
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ministack.services import dynamodb, kms, s3, sns, sqs

from mlops_local import compat
from mlops_local.iam_request import Call, Check, kms_context

compat.expect(
    "ministack.services.dynamodb",
    _tables=object,
)
compat.expect(
    "ministack.services.kms",
    _resolve_key="(key_id_or_arn)",
)
compat.expect(
    "ministack.services.s3",
    _bucket_default_sse_headers="(bucket_name)",
    _bucket_encryption=object,
    _buckets=object,
)
compat.expect(
    "ministack.services.sns",
    _topic_by_arn_any_scope="(topic_arn)",
)
compat.expect(
    "ministack.services.sqs",
    _queue_by_arn="(arn)",
)


_SSE = "x-amz-server-side-encryption"
_SSE_KEY = "x-amz-server-side-encryption-aws-kms-key-id"
_S3_WRITES = frozenset({"s3:PutObject", "s3:ReplicateObject"})
_S3_READS = frozenset({"s3:GetObject", "s3:GetObjectVersion"})


# claim: encrypted-data-need-their-key
def checks(call: Call) -> list[Check]:
    """List the KMS permissions that this call needs besides its own."""
    finder = _FINDERS.get(call.service)
    return finder(call) if finder else []


def delivery_checks(target: str, *, region: str, account: str) -> list[Check]:
    """List the KMS permissions that a service needs on the key of a queue or topic to deliver to it."""
    service = target.split(":")[2]
    call = Call(service, f"{service}:{'SendMessage' if service == 'sqs' else 'Publish'}", target, region, account)
    return checks(call)


def bus_checks(bus: str, key: str, *, region: str, account: str) -> list[Check]:
    """List the KMS permissions that EventBridge needs on the key of a bus: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-encryption-event-bus-cmkey.html."""
    call = Call("events", "events:PutEvents", bus, region, account)
    return _key_checks(call, key, ("GenerateDataKey", "Decrypt"), {"aws:events:event-bus:arn": bus})


def key_arn(key: str) -> str | None:
    """Resolve a key id, alias or ARN to the ARN of a key of this account.

    Returns:
        The ARN, or `None` for a key that AWS manages (`alias/aws/s3`): its policy lets the whole account use it.
    """
    record = kms._resolve_key(key)
    if record is None or record.get("KeyManager") == "AWS":
        return None
    return str(record["Arn"])


def _key_checks(call: Call, key: str | None, operations: tuple[str, ...], encryption: Mapping[str, str]) -> list[Check]:
    arn = key_arn(key) if key else None
    if arn is None:
        return []
    keys = kms_context(encryption, account=call.account, via=f"{call.service}.{call.region}.amazonaws.com")
    # a boundary may keep roles from keys that carry somebody else's tag
    # https://docs.aws.amazon.com/kms/latest/developerguide/tag-authorization.html
    tags = (kms._resolve_key(arn) or {}).get("Tags") or ()
    keys |= {f"aws:ResourceTag/{tag['TagKey']}": tag["TagValue"] for tag in tags}
    return [Check(f"kms:{operation}", arn, keys) for operation in operations]


def _s3(call: Call) -> list[Check]:
    bucket, _, name = call.resource.removeprefix("arn:aws:s3:::").partition("/")
    if not name:
        return []
    if call.action in _S3_WRITES:
        written = call.headers if call.headers.get(_SSE) else s3._bucket_default_sse_headers(bucket)
        # parts and the completion of an upload are read back to be joined
        parts = "uploadId" in call.params
        return _s3_checks(call, bucket, written, ("Decrypt",) if parts else ("GenerateDataKey",))
    if call.action in _S3_READS:
        record = s3._buckets.get(bucket, {}).get("objects", {}).get(name) or {}
        return _s3_checks(call, bucket, record.get("preserved_headers") or {}, ("Decrypt",))
    return []


def _s3_checks(call: Call, bucket: str, headers: Mapping[str, str], operations: tuple[str, ...]) -> list[Check]:
    if headers.get(_SSE) != "aws:kms":
        return []
    # with a bucket key the encryption context is the bucket, else the object
    # https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucket-key.html
    bucket_key = "<BucketKeyEnabled>true</BucketKeyEnabled>" in (s3._bucket_encryption.get(bucket) or "")
    encrypted = f"arn:aws:s3:::{bucket}" if bucket_key else call.resource
    return _key_checks(call, headers.get(_SSE_KEY), operations, {"aws:s3:arn": encrypted})


def _dynamodb(call: Call) -> list[Check]:
    table = call.resource.partition(":table/")[2].partition("/")[0]
    description = (dynamodb._tables.get(table) or {}).get("SSEDescription") or {}
    encryption = {"aws:dynamodb:tableName": table, "aws:dynamodb:subscriberId": call.account}
    if not call.operation.endswith(("Item", "Query", "Scan", "Items")):
        return []
    return _key_checks(call, description.get("KMSMasterKeyArn"), ("Decrypt",), encryption)


def _sqs(call: Call) -> list[Check]:
    operations = {"SendMessage": ("GenerateDataKey", "Decrypt"), "ReceiveMessage": ("Decrypt",)}.get(call.operation)
    queue = sqs._queue_by_arn(call.resource)
    if operations is None or queue is None:
        return []
    return _key_checks(call, queue["attributes"].get("KmsMasterKeyId"), operations, {"aws:sqs:arn": call.resource})


def _sns(call: Call) -> list[Check]:
    topic = sns._topic_by_arn_any_scope(call.resource) if call.operation == "Publish" else None
    key = (topic or {}).get("attributes", {}).get("KmsMasterKeyId")
    return _key_checks(call, key, ("GenerateDataKey", "Decrypt"), {"aws:sns:topicArn": call.resource})


_FINDERS: dict[str, Callable[[Call], list[Check]]] = {"s3": _s3, "dynamodb": _dynamodb, "sqs": _sqs, "sns": _sns}
