"""Conditions (``If-Match``, ``If-None-Match``) and checksum algorithms of CopyObject, which MiniStack ignores.

See: https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html
"""

from http import HTTPStatus
from typing import Any
from urllib.parse import unquote
from xml.sax.saxutils import escape

from ministack.core.responses import get_account_id
from ministack.services import s3

from mlops_local import compat
from mlops_local.iam.owners import bucket_owner

compat.expect(
    "ministack.services.s3",
    _buckets=object,
    _check_put_preconditions="(headers, existing_obj)",
    _copy_object="(bucket_name, dest_key, headers)",
)


def install() -> None:
    """Check the conditions of copies as MiniStack checks those of other writes."""
    copy = s3._copy_object

    # claim: copies-may-be-conditional
    def copy_where_allowed(bucket: str, key: str, headers: dict[str, str]) -> Any:
        limit = _version_elsewhere(headers)
        if limit is not None:
            return limit
        there = s3._buckets.get(bucket, {}).get("objects", {}).get(key)
        refused = s3._check_put_preconditions(headers, there)
        if refused is not None:
            return refused
        status, found, body = copy(bucket, key, _with_algorithm(headers))
        return status, found, _with_checksums(bucket, key, body) if status == HTTPStatus.OK else body

    s3._copy_object = copy_where_allowed


def _version_elsewhere(headers: dict[str, str]) -> Any:
    """Refuse to copy a version from another account's bucket: MiniStack finds versions in the caller's account only."""
    source, _, query = headers.get("x-amz-copy-source", "").partition("?")
    found = bucket_owner(unquote(source).lstrip("/").partition("/")[0])
    if "versionId=" not in query or found is None or found.account == get_account_id():
        return None
    return s3._error(
        "NotImplemented",
        "the embedded cloud copies only the current version of another account's object; name the object without versionId",
        HTTPStatus.NOT_IMPLEMENTED,
    )


# claim: copies-answer-with-their-checksums
def _with_checksums(bucket: str, key: str, body: bytes) -> bytes:
    """Return the response of a copy with the checksums of the new object."""
    written = s3._buckets[bucket]["objects"][key]
    checksums, kind = written.get("checksums") or {}, written.get("checksum_type") or "FULL_OBJECT"
    made = "".join(
        f"<Checksum{name.upper()}>{escape(value)}</Checksum{name.upper()}>" for name, value in checksums.items()
    )
    end = b"</CopyObjectResult>"
    return body.replace(end, f"{made}<ChecksumType>{kind}</ChecksumType>".encode() + end) if made else body


# claim: copies-have-the-hash-of-the-whole
def _with_algorithm(headers: dict[str, str]) -> dict[str, str]:
    """Return headers that name the checksum algorithm as uploads do, the only form that MiniStack reads."""
    algorithm = headers.get("x-amz-checksum-algorithm")
    return headers if algorithm is None else {**headers, "x-amz-sdk-checksum-algorithm": algorithm}
