"""Errors of AWS calls as one line, with the fix if it is known."""

from collections.abc import Mapping
from typing import Any

DENIED = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation")
_EXPIRED = ("ExpiredToken", "ExpiredTokenException", "RequestExpired")
_UNKNOWN_KEYS = ("InvalidClientTokenId", "UnrecognizedClientException", "SignatureDoesNotMatch", "InvalidAccessKeyId")


def refusal(error: Mapping[str, Any], operation: str) -> str:
    """Return the message for a refused AWS call.

    Args:
        error: ``Error`` of the response, with code and message.
        operation: Name of the operation.

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
