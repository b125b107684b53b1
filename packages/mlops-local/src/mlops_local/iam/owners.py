"""Owners of resources: the account and Region in an ARN, or of the bucket that it names."""

import contextlib
import re
from collections.abc import Iterator
from typing import NamedTuple

from ministack.core.responses import get_account_id, get_region, request_scope
from ministack.services import s3

from mlops_local import compat, settings

compat.expect("ministack.core.responses", request_scope="(account_id, region)")
compat.expect("ministack.services.s3", _bucket_owner_account="(name)", _buckets=object)

_BUCKET = "arn:aws:s3:::"
_ACCOUNT = re.compile(r"\d{12}")


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
