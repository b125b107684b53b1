"""Errors of AWS calls: suppression by code, and the message as one line, with the fix if it is known."""

from collections.abc import Mapping
from types import TracebackType
from typing import Any

from botocore.exceptions import ClientError

# of writes with a condition: DynamoDB's code, and S3's
CONDITION_FAILED = ("ConditionalCheckFailedException", "PreconditionFailed", "ConditionalRequestConflict")
# S3 returns 403 for a missing object to a caller that may not list
NO_OBJECT = ("NoSuchKey", "404", "AccessDenied", "403")
DENIED = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation")
_EXPIRED = ("ExpiredToken", "ExpiredTokenException", "RequestExpired")
_UNKNOWN_KEYS = ("InvalidClientTokenId", "UnrecognizedClientException", "SignatureDoesNotMatch", "InvalidAccessKeyId")


class Tolerated:
    """Suppresses errors of AWS calls with some codes, as ``contextlib.suppress`` does with exceptions.

    Example:
        >>> with Tolerated("NoSuchKey"):
        ...     raise ClientError({"Error": {"Code": "NoSuchKey"}}, "GetObject")
    """

    def __init__(self, *codes: str) -> None:
        self._codes = codes

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        return isinstance(error, ClientError) and error.response["Error"]["Code"] in self._codes


def refusal(error: Mapping[str, Any], operation: str) -> str:
    """Return the message for a refused AWS call.

    Args:
        error: ``Error`` of the response, with code and message.

    Example:
        >>> refusal({"Code": "ExpiredToken", "Message": "expired"}, "GetItem")
        'AWS refused GetItem (ExpiredToken): expired; the credentials have expired: sign in again'
    """
    code, message = str(error.get("Code", "unknown")), " ".join(str(error.get("Message", "")).split())
    fix = ""
    if code in _EXPIRED:
        fix = "; the credentials have expired: sign in again"
    elif code in _UNKNOWN_KEYS:
        fix = (
            "; these keys belong to another account, or to an embedded cloud that was stopped: sign in again, or unset "
            "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_ENDPOINT_URL"
        )
    elif code in DENIED:
        fix = "; docs/operations.md lists the permissions of each command"
    return f"AWS refused {operation} ({code}): {message}{fix}"
