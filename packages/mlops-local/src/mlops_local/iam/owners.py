"""Owners of resources: the account and Region in an ARN, or of the bucket that it names.

Cross-account calls are served from the state of the resource's owner, after both sides have allowed them. One member of the
request names the owner: `KeyId`, `registryId`, `EventBusName`, `ModelPackageName` etc.; for S3 the bucket.
"""

import contextlib
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import unquote

from ministack import app
from ministack.core.responses import get_account_id, get_region, request_scope
from ministack.services import s3

from mlops_local import settings
from mlops_local.iam.request import is_content, parse_body

_BUCKET = "arn:aws:s3:::"
_ACCOUNT = re.compile(r"\d{12}")

Handler = Callable[..., Awaitable[Any]]
# members that may be an ARN
_MEMBERS = {"kms": ("KeyId",), "sagemaker": ("ModelPackageName", "ModelPackageArn", "ModelPackageGroupName")}
_EXPECTED, _SOURCE = "x-amz-expected-bucket-owner", "x-amz-source-expected-bucket-owner"


class Owner(NamedTuple):
    """An account of this cloud, and the Region of its resource."""

    account: str
    region: str


def owner(arn: str) -> Owner | None:
    """Return the owner of the resource that an ARN names.

    Returns:
        None for an ARN without an account or of an account that this cloud does not have (AWS's own images and layers), and
        for a missing bucket.
    """
    if arn.startswith(_BUCKET):
        return bucket_owner(arn.removeprefix(_BUCKET).partition("/")[0])
    parts = arn.split(":", 5)
    if len(parts) < 6 or parts[4] not in settings.accounts:
        return None
    return Owner(parts[4], parts[3] or get_region())


# claim: resource-account-is-the-buckets
def bucket_owner(name: str) -> Owner | None:
    """Return the owner of a bucket, whose name is unique across accounts."""
    account = s3._bucket_owner_account(name)
    if account is None:
        return None
    found = s3._buckets.get_scoped(account, None, name) or {}
    return Owner(account, str(found.get("region") or settings.region))


def account_of(principal: str) -> str:
    """Return the account of a principal's ARN, else the request's account."""
    parts = principal.split(":", 5)
    return parts[4] if len(parts) > 5 and _ACCOUNT.fullmatch(parts[4]) else get_account_id()


@contextlib.contextmanager
def scope_of(found: Owner | None) -> Iterator[None]:
    """Use the stores of an owner; without one, those of the request."""
    with request_scope(*found) if found is not None else contextlib.nullcontext():
        yield


def install() -> None:
    """Run the handlers in the owner's scope."""
    for service in ("kms", "ecr", "sagemaker"):
        app.SERVICE_HANDLERS[service] = partial(_scoped, service, app.SERVICE_HANDLERS[service])
    allows, scope = s3._foreign_bucket_allows, s3._apply_bucket_scope

    def foreign_bucket_allows(*given: Any) -> bool:
        caller = given[5]
        # both sides have allowed the actual caller; MiniStack evaluates the policy for the account's root
        return True if caller else bool(allows(*given))

    def bucket_scope(method: str, bucket: str, key: str, headers: Mapping[str, str], *rest: Any, **named: Any) -> Any:
        return _unexpected(bucket, key, headers) or scope(method, bucket, key, headers, *rest, **named)

    def ensure_bucket(name: str) -> Any:
        found = bucket_owner(name)
        return None if found is None else s3._buckets.get_scoped(found.account, None, name)

    s3._foreign_bucket_allows, s3._apply_bucket_scope, s3._ensure_bucket = (
        foreign_bucket_allows,
        bucket_scope,
        ensure_bucket,
    )


# claim: calls-are-answered-by-the-owner
async def _scoped(  # noqa: PLR0917 - MiniStack's own signature
    service: str, handler: Handler, method: str, path: str, headers: Mapping[str, str], body: Any, query: Any
) -> Any:
    with scope_of(None if is_content(service, path, headers) else _named(service, body)):
        return await handler(method, path, headers, body, query)


def _named(service: str, body: Any) -> Owner | None:
    """Return the other account that a request names; resources of other Regions are not found."""
    data = parse_body(body)
    if service == "ecr":
        registry = str(data.get("registryId", ""))
        found = owner(f"arn:aws:ecr:{get_region()}:{registry}:repository/any")
    else:
        names = (str(data.get(member, "")) for member in _MEMBERS[service])
        found = next((theirs for name in names if name.startswith("arn:") and (theirs := owner(name))), None)
    is_other = found is not None and found.account != get_account_id() and found.region == get_region()
    return found if is_other else None


def _unexpected(bucket: str, key: str, headers: Mapping[str, str]) -> Any:
    """Reject a request whose bucket, or source bucket, belongs to another account than the caller expects."""
    # https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucket-owner-condition.html
    # claim: expected-bucket-owners-are-checked
    source = unquote(headers.get("x-amz-copy-source", "")).lstrip("/").partition("/")[0]
    for name, header in ((bucket, _EXPECTED), (source, _SOURCE)):
        expected, found = headers.get(header), bucket_owner(name) if name else None
        if expected and found is not None and found.account != expected:
            return s3._error("AccessDenied", "Access Denied", 403, f"/{bucket}/{key}" if key else f"/{bucket}")
    return None
