"""Validation of bucket and key policies by S3 and KMS: missing principals, and size quotas.

Statements for an account's root, and conditions, are not checked for missing principals.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from ministack.core.responses import error_response_json
from ministack.services import iam, kms, s3

from mlops_local import settings
from mlops_local.stacks import handler_steps

# https://docs.aws.amazon.com/AmazonS3/latest/userguide/add-bucket-policy.html (20 KB)
BUCKET_BYTES = 20480
# https://docs.aws.amazon.com/kms/latest/developerguide/resource-limits.html (32 KB)
KEY_BYTES = 32768
_PRINCIPAL = re.compile(r"arn:aws:iam::(?P<account>\d{12}):(?P<kind>role|user)/(?P<path>.*/)?(?P<name>[^/]+)")
_OF_SERVICES = "aws-service-role/"

Properties = dict[str, Any]
Problem = tuple[str, str]


def install() -> None:
    """Check each policy before a bucket or key gets it."""
    put_bucket, put_key, create_key = s3._put_bucket_policy, kms._put_key_policy, kms._create_key

    def put_bucket_policy(name: str, body: bytes) -> Any:
        problem = bucket_problem(body)
        return put_bucket(name, body) if problem is None else s3._error(*problem, 400)

    s3._put_bucket_policy = put_bucket_policy
    kms._put_key_policy, kms._create_key = partial(_checked, put_key), partial(_checked, create_key)
    for kind, member, problem in (
        ("AWS::S3::BucketPolicy", "PolicyDocument", bucket_problem),
        ("AWS::KMS::Key", "KeyPolicy", key_problem),
    ):
        handler_steps.check(kind, partial(_check_property, member, problem))


# claim: buckets-refuse-principals-that-do-not-exist
def bucket_problem(policy: Any) -> Problem | None:
    """Return S3's error code and message for an invalid bucket policy, or ``None``."""
    if _size(policy) > BUCKET_BYTES:
        return "PolicyTooLarge", f"Normalized policy document exceeds the maximum allowed size of {BUCKET_BYTES} bytes."
    return ("MalformedPolicy", "Invalid principal in policy") if any(missing(policy)) else None


# claim: keys-refuse-principals-that-do-not-exist
def key_problem(policy: Any) -> Problem | None:
    """Return KMS's error code and message for an invalid key policy, or ``None``."""
    if _size(policy) > KEY_BYTES:
        return "LimitExceededException", f"The key policy exceeds the maximum size of {KEY_BYTES} bytes."
    if any(missing(policy)):
        text = "Policy contains a statement with one or more invalid principals."
        return "MalformedPolicyDocumentException", text
    return None


def missing(policy: Any) -> Iterator[str]:
    """Yield missing roles and users of this cloud's accounts that a policy names."""
    try:
        document = json.loads(policy) if isinstance(policy, str | bytes) else policy
    except ValueError:
        return
    statements = document.get("Statement", []) if isinstance(document, Mapping) else []
    for statement in [statements] if isinstance(statements, Mapping) else statements:
        principal = statement.get("Principal")
        named = principal.get("AWS", []) if isinstance(principal, Mapping) else []
        for arn in [named] if isinstance(named, str) else named:
            found = _PRINCIPAL.fullmatch(str(arn))
            if (
                found is None
                or found["account"] not in settings.accounts
                or (found["path"] or "").startswith(_OF_SERVICES)
            ):
                continue
            known = iam._roles if found["kind"] == "role" else iam._users
            if known.get_scoped(found["account"], None, found["name"]) is None:
                yield str(arn)


def _size(policy: Any) -> int:
    try:
        document = json.loads(policy) if isinstance(policy, str | bytes) else policy
    except ValueError:
        document = str(policy)
    return len(json.dumps(document, separators=(",", ":")).encode())


# claim: keys-refuse-principals-that-do-not-exist
def _checked(call: Callable[[Mapping[str, Any]], Any], data: Mapping[str, Any]) -> Any:
    problem = key_problem(data["Policy"]) if data.get("Policy") else None
    return call(data) if problem is None else error_response_json(*problem, 400)


# claim: buckets-refuse-principals-that-do-not-exist
def _check_property(member: str, check: Callable[[Any], Problem | None], properties: Properties) -> None:
    policy = properties.get(member)
    problem = check(policy) if policy else None
    if problem is not None:
        raise ValueError(f"{problem[1]} (Status Code: 400, Error Code: {problem[0]})")
