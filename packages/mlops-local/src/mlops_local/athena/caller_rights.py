"""Permission checks of Athena queries: tables, objects and result writes use the permissions of the query's caller.

See: https://docs.aws.amazon.com/athena/latest/ug/s3-permissions.html and
https://docs.aws.amazon.com/athena/latest/ug/fine-grained-access-to-glue-resources.html
"""

from collections.abc import Iterable

from ministack.core.responses import get_account_id, get_region

from mlops_local.iam import authorization
from mlops_local.iam.request import Call


class MissingRightError(Exception):
    """The caller lacks a permission that a query needs."""


def may_find(database: str, table: str) -> None:
    """Check that the caller may read a table of the catalog.

    Raises:
        MissingRightError: If the caller may not.
    """
    _ask(_call("glue", "glue:GetTable", "*", {"DatabaseName": database, "Name": table}))


def may_use_catalog() -> None:
    """Check that the caller may read the database ``default``, which Athena requires for every query.

    Raises:
        MissingRightError: If the caller may not.
    """
    # claim: athena-needs-the-default-database
    _ask(_call("glue", "glue:GetDatabase", "*", {"Name": "default"}))


def may_use_bucket(action: str, uri: str) -> None:
    """Check that the caller may list a bucket or read its location.

    Args:
        action: The S3 action.
        uri: Any URI in the bucket.

    Raises:
        MissingRightError: If the caller may not.
    """
    _ask(_call("s3", action, f"arn:aws:s3:::{_path(uri).partition('/')[0]}"))


def may_use_objects(action: str, uris: Iterable[str]) -> None:
    """Check that the caller may read or write objects, and use their encryption keys.

    Args:
        action: The S3 action.
        uris: URIs of the objects.

    Raises:
        MissingRightError: If the caller may not.
    """
    for uri in uris:
        _ask(_call("s3", action, f"arn:aws:s3:::{_path(uri)}"))


def _call(service: str, action: str, resource: str, body: dict[str, str] | None = None) -> Call:
    path = "/" + resource.removeprefix("arn:aws:s3:::")
    return Call(service, action, resource, get_region(), get_account_id(), body or {}, path if service == "s3" else "/")


def _path(uri: str) -> str:
    return uri.removeprefix("s3://")


def _ask(call: Call) -> None:
    # claim: athena-acts-for-its-caller
    try:
        authorization.require_call(authorization.caller_key(), call)
    except authorization.AccessDeniedError as error:
        raise MissingRightError(f"Insufficient permissions to execute the query. {error}") from error
