"""Attribute-based access control of buckets: off until ``PutBucketAbac``, or ``AbacStatus`` in a template, enables it.

MiniStack has neither the operation nor the condition keys ``aws:ResourceTag`` and ``s3:BucketTag`` of buckets and their objects.

See: https://docs.aws.amazon.com/AmazonS3/latest/userguide/buckets-tagging-enable-abac.html
"""

from http import HTTPStatus
from typing import Any
from xml.etree import ElementTree

from ministack.core.responses import request_scope
from ministack.services import s3

from mlops_local.iam.owners import bucket_owner

_STATUS = "_abac"
_SPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
_VALUES = ("Enabled", "Disabled")


def install() -> None:
    """Serve the operations, and reject PutBucketTagging and DeleteBucketTagging for buckets with ABAC."""
    dispatch = s3._dispatch

    def dispatched(  # noqa: PLR0917 - MiniStack's own signature
        method: str, bucket: str, key: str, headers: Any, body: bytes, query: Any
    ) -> Any:
        if key or not bucket:
            return dispatch(method, bucket, key, headers, body, query)
        if "abac" in query and bucket in s3._buckets:
            return put(bucket, body) if method == "PUT" else _get(bucket)
        if "tagging" in query and method in ("PUT", "DELETE") and _is_enabled(bucket):
            return _tagged_otherwise(bucket)
        return dispatch(method, bucket, key, headers, body, query)

    s3._dispatch = dispatched


def put(bucket: str, body: bytes) -> Any:
    """Enable or disable ABAC of a bucket, by an ``AbacStatus`` in S3's XML."""
    # claim: tags-of-buckets-decide-where-they-are-set-to
    try:
        status = ElementTree.fromstring(body).findtext(f"{{{_SPACE}}}Status")  # noqa: S314 - from a signed caller on this machine
    except ElementTree.ParseError:
        status = None
    if status not in _VALUES:
        return s3._error(
            "MalformedXML", f"Status must be one of {', '.join(_VALUES)}, got {status!r}", HTTPStatus.BAD_REQUEST
        )
    s3._buckets[bucket][_STATUS] = status
    return HTTPStatus.OK, {}, b""


def forget(bucket: str) -> None:
    """Reset a bucket's ABAC status."""
    s3._buckets[bucket].pop(_STATUS, None)


def tags_of(arn: str) -> dict[str, str]:
    """Return the tags that policies see on a bucket or object; empty if ABAC is off."""
    # claim: tags-of-buckets-decide-where-they-are-set-to
    name = arn.removeprefix("arn:aws:s3:::").partition("/")[0]
    found = bucket_owner(name)
    if found is None:
        return {}
    with request_scope(*found):
        return dict(s3._bucket_tags.get(name) or {}) if _is_enabled(name) else {}


def _get(bucket: str) -> Any:
    status = s3._buckets[bucket].get(_STATUS, "Disabled")
    body = f'<AbacStatus xmlns="{_SPACE}"><Status>{status}</Status></AbacStatus>'
    return HTTPStatus.OK, {"Content-Type": "application/xml"}, body.encode()


def _is_enabled(bucket: str) -> bool:
    return (s3._buckets.get(bucket) or {}).get(_STATUS) == "Enabled"


def _tagged_otherwise(bucket: str) -> Any:
    # claim: tags-that-decide-are-set-by-tag-resource
    message = (
        f"bucket {bucket} has ABAC enabled: its tags are changed by TagResource and UntagResource, or by its template"
    )
    return s3._error("InvalidRequest", message, HTTPStatus.BAD_REQUEST)
