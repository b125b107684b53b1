"""Rejects reads and writes of S3 objects whose KMS key is disabled or pending deletion.

MiniStack stores the key's name with an object, and never checks the key.

See: https://docs.aws.amazon.com/kms/latest/developerguide/key-state.html
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

from ministack.services import kms, s3

from mlops_local import compat
from mlops_local.iam import owners
from mlops_local.iam.owners import bucket_owner

compat.expect(
    "ministack.services.s3",
    _bucket_default_sse_headers="(bucket_name)",
    _buckets=object,
    _copy_object="(bucket_name, dest_key, headers)",
    _get_object="(bucket_name, key, headers, query_params=None)",
    _put_object="(bucket_name, key, body, headers)",
)
compat.expect("ministack.services.kms", _resolve_key="(key_id_or_arn)")

_ENCRYPTED = "x-amz-server-side-encryption"
_KEY = f"{_ENCRYPTED}-aws-kms-key-id"


def install() -> None:
    """Check the key before an object is read, written or copied."""
    read, write, copy = s3._get_object, s3._put_object, s3._copy_object

    def read_with_key(bucket: str, key: str, headers: dict[str, str], query_params: Any = None) -> Any:
        return _refusal(_of_object(bucket, key)) or read(bucket, key, headers, query_params)

    def write_with_key(bucket: str, key: str, body: bytes, headers: dict[str, str]) -> Any:
        return _refusal(_of_write(bucket, headers)) or write(bucket, key, body, headers)

    def copy_with_keys(bucket: str, key: str, headers: dict[str, str]) -> Any:
        source, _, name = unquote(headers.get("x-amz-copy-source", "").partition("?")[0]).lstrip("/").partition("/")
        refused = _refusal(_of_object(source, name)) or _refusal(_of_write(bucket, headers))
        return refused or copy(bucket, key, headers)

    s3._get_object, s3._put_object, s3._copy_object = read_with_key, write_with_key, copy_with_keys


def _of_object(bucket: str, key: str) -> Mapping[str, str]:
    with owners.scope_of(bucket_owner(bucket)):
        record = s3._buckets.get(bucket, {}).get("objects", {}).get(key) or {}
    return record.get("preserved_headers") or {}


def _of_write(bucket: str, headers: Mapping[str, str]) -> Mapping[str, str]:
    if headers.get(_ENCRYPTED):
        return headers
    with owners.scope_of(bucket_owner(bucket)):
        return dict(s3._bucket_default_sse_headers(bucket))


def _refusal(encryption: Mapping[str, str]) -> Any:
    """Return S3's error for an unusable key; ``None`` if the key is usable or managed by AWS."""
    name = encryption.get(_KEY)
    if encryption.get(_ENCRYPTED) != "aws:kms" or not name:
        return None
    with owners.scope_of(owners.owner(name)):
        record = kms._resolve_key(name)
    # claim: objects-need-their-key-enabled
    if record is None or record["KeyState"] == "Enabled":
        return None
    if record["KeyState"] == "Disabled":
        return s3._error("KMS.DisabledException", f"{record['Arn']} is disabled.", HTTPStatus.BAD_REQUEST)
    words = f"{record['Arn']} is pending deletion."
    return s3._error("KMS.KMSInvalidStateException", words, HTTPStatus.BAD_REQUEST)
