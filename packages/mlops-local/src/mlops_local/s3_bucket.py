"""`AWS::S3::Bucket` properties that MiniStack's provisioner drops.

Each property is serialized by botocore to the body of the S3 call that sets it, and stored through the function that serves that
call.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

import botocore.serialize
import botocore.session
from ministack.services import s3

from mlops_local import bucket_abac
from mlops_local.documents import booleans, converted
from mlops_local.stacks.handler_steps import done

Properties = dict[str, Any]
# properties that MiniStack's provisioner handles, and properties of this module
_BY_MINISTACK = frozenset({
    "BucketName", "CorsConfiguration", "NotificationConfiguration", "PublicAccessBlockConfiguration", "VersioningConfiguration",
    "WebsiteConfiguration",
})  # fmt: skip
_LOCK = frozenset({"ObjectLockEnabled", "ObjectLockConfiguration"})
_OTHERS = frozenset({"AccessControl"})


def install(handlers: dict[str, dict[str, Any]]) -> None:
    """Apply the missing properties after MiniStack's create and update, and reject deletion of buckets with objects."""
    # claim: full-bucket-is-not-deleted
    handler = handlers["AWS::S3::Bucket"]
    create, update, delete = handler["create"], handler["update"], handler["delete"]

    def created(logical_id: str, properties: Properties, stack: str) -> Any:
        _check(properties)
        result = create(logical_id, properties, stack)
        try:
            _lock(result[0], properties)
            _acl(result[0], properties)
            _apply(result[0], {}, properties)
        except Exception:
            delete(result[0], properties)  # a failed create has no physical id to roll back by
            raise
        return result

    def updated(physical_id: str, old: Properties, new: Properties, stack: str) -> Any:
        _check(new)
        if {name: old.get(name) for name in _LOCK} != {name: new.get(name) for name in _LOCK}:
            _lock(physical_id, new)
        result = update(physical_id, old, new, stack)
        if old.get("AccessControl") != new.get("AccessControl"):
            _acl(result[0], new)
        _apply(result[0], old if result[0] == physical_id else {}, new)
        return result

    def deleted(physical_id: str, properties: Properties) -> None:
        # claim: full-bucket-is-not-deleted
        bucket = s3._buckets.get(physical_id)
        held = [
            key for name, key in list(s3._object_versions) if name == physical_id and s3._object_versions[(name, key)]
        ]
        if bucket is not None and (bucket["objects"] or held):
            raise ValueError(f"the bucket you tried to delete is not empty: {physical_id}")
        delete(physical_id, properties)
        for store in (s3._bucket_object_lock, s3._bucket_logging_config):
            store.pop(physical_id, None)

    handler.update(create=created, update=updated, delete=deleted)


def _acl(name: str, properties: Properties) -> None:
    """Set the canned ACL; CloudFormation's `LogDeliveryWrite` is S3's `log-delivery-write`."""
    canned = properties.get("AccessControl")
    if canned is None:
        s3._bucket_acl.pop(name, None)
    else:
        word = re.sub(r"(?<!^)(?=[A-Z])", "-", canned).lower()
        s3._bucket_acl[name] = s3._canned_acl_policy_xml(word, s3._canonical_owner_id())


def _check(properties: Properties) -> None:
    # claim: full-bucket-is-not-deleted
    unknown = sorted(properties.keys() - _BY_MINISTACK - _LOCK - _OTHERS - _SETTINGS.keys())
    if unknown:
        raise ValueError(f"AWS::S3::Bucket properties that the embedded cloud does not have: {', '.join(unknown)}")


def _lock(name: str, properties: Properties) -> None:
    if str(properties.get("ObjectLockEnabled", "")).lower() != "true":
        return
    # a bucket with Object Lock is versioned: https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-lock.html
    s3._bucket_versioning[name] = "Enabled"
    configuration = properties.get("ObjectLockConfiguration") or {"ObjectLockEnabled": "Enabled"}
    body = _body("PutObjectLockConfiguration", "ObjectLockConfiguration", _numbers(configuration))
    done(s3._put_object_lock_configuration(name, body))


def _apply(name: str, old: Properties, new: Properties) -> None:
    for member, (operation, argument, convert, put, remove) in _SETTINGS.items():
        if member in new and new[member] != old.get(member):
            done(put(name, _body(operation, argument, convert(new[member]))))
        elif member in old and member not in new:
            remove(name)


@functools.cache
def _model() -> Any:
    return botocore.session.get_session().get_service_model("s3")


def _body(operation: str, argument: str, value: Any) -> bytes:
    """Serialize a setting to S3's XML."""
    serializer = botocore.serialize.create_serializer("rest-xml", include_validation=True)
    request = serializer.serialize_to_request({"Bucket": "b", argument: value}, _model().operation_model(operation))
    body = request["body"]
    return body if isinstance(body, bytes) else bytes(body.encode())


def _numbers(value: Any) -> Any:
    """Convert CloudFormation's strings to the API's numbers and booleans."""
    return booleans(converted(value, lambda leaf: int(leaf) if isinstance(leaf, str) and leaf.isdigit() else leaf))


def _encryption(value: Properties) -> Properties:
    rules = []
    for rule in value["ServerSideEncryptionConfiguration"]:
        default = dict(rule.get("ServerSideEncryptionByDefault") or {})
        if default.get("SSEAlgorithm") == "aws:kms":
            # without a key S3 uses the account's own; MiniStack requires its name
            default.setdefault("KMSMasterKeyID", "alias/aws/s3")
        enabled = _numbers(rule.get("BucketKeyEnabled", False))
        rules.append({"ApplyServerSideEncryptionByDefault": default, "BucketKeyEnabled": enabled})
    return {"Rules": rules}


def _lifecycle(value: Properties) -> Properties:
    return {"Rules": [_lifecycle_rule(_numbers(rule)) for rule in value["Rules"]]}


def _lifecycle_rule(rule: Properties) -> Properties:
    made: Properties = {"Status": rule["Status"], "Filter": {"Prefix": str(rule.get("Prefix", ""))}}
    if "Id" in rule:
        made["ID"] = str(rule["Id"])
    expiration = {"Days": rule.get("ExpirationInDays"), "Date": rule.get("ExpirationDate"),
                  "ExpiredObjectDeleteMarker": rule.get("ExpiredObjectDeleteMarker")}  # fmt: skip
    if any(item is not None for item in expiration.values()):
        made["Expiration"] = {key: item for key, item in expiration.items() if item is not None}
    if "AbortIncompleteMultipartUpload" in rule:
        made["AbortIncompleteMultipartUpload"] = rule["AbortIncompleteMultipartUpload"]
    if "NoncurrentVersionExpiration" in rule:
        made["NoncurrentVersionExpiration"] = rule["NoncurrentVersionExpiration"]
    if "NoncurrentVersionTransitions" in rule:
        made["NoncurrentVersionTransitions"] = [
            {"NoncurrentDays": step["TransitionInDays"], "StorageClass": step["StorageClass"]}
            for step in rule["NoncurrentVersionTransitions"]
        ]
    if "Transitions" in rule:
        made["Transitions"] = [
            {
                "Days" if key == "TransitionInDays" else "Date" if key == "TransitionDate" else key: item
                for key, item in step.items()
            }
            for step in rule["Transitions"]
        ]
    return made


def _logging(value: Properties) -> Properties:
    enabled = {"TargetBucket": value.get("DestinationBucketName", ""), "TargetPrefix": value.get("LogFilePrefix", "")}
    return {"LoggingEnabled": enabled}


def _as_is(value: Any) -> Any:
    return value


def _tags(value: Any) -> Properties:
    return {"TagSet": [{"Key": tag["Key"], "Value": str(tag["Value"])} for tag in value]}


def _forget_logging(name: str) -> None:
    s3._bucket_logging_config.pop(name, None)


_Setting = tuple[str, str, Callable[[Any], Any], Callable[[str, bytes], Any], Callable[[str], Any]]
_SETTINGS: dict[str, _Setting] = {
    "AbacStatus": ("PutBucketAbac", "AbacStatus", lambda value: {"Status": value}, bucket_abac.put, bucket_abac.forget),
    "BucketEncryption": ("PutBucketEncryption", "ServerSideEncryptionConfiguration", _encryption,
                         s3._put_bucket_encryption, s3._delete_bucket_encryption),
    "LifecycleConfiguration": ("PutBucketLifecycleConfiguration", "LifecycleConfiguration", _lifecycle,
                               s3._put_bucket_lifecycle, s3._delete_bucket_lifecycle),
    "LoggingConfiguration": ("PutBucketLogging", "BucketLoggingStatus", _logging, s3._put_bucket_logging, _forget_logging),
    "OwnershipControls": ("PutBucketOwnershipControls", "OwnershipControls", _as_is,
                          s3._put_bucket_ownership_controls, s3._delete_bucket_ownership_controls),
    "Tags": ("PutBucketTagging", "Tagging", _tags, s3._put_bucket_tagging, s3._delete_bucket_tagging),
}  # fmt: skip
