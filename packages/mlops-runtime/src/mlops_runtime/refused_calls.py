"""What AWS answers to a call that it refuses, as one line with the fix where one is known."""

from collections.abc import Mapping
from typing import Any

DENIED = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation")
_EXPIRED = ("ExpiredToken", "ExpiredTokenException", "RequestExpired")
_UNKNOWN_KEYS = ("InvalidClientTokenId", "UnrecognizedClientException", "SignatureDoesNotMatch", "InvalidAccessKeyId")


def refusal(error: Mapping[str, Any], operation: str) -> str:
    """Return what AWS answered to a call.

    Args:
        error: ``Error`` of the answer, with its code and message.
        operation: Name of the call.

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
            "; these keys are of another account, or of an embedded cloud that has ended: sign in again, or unset "
            "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_ENDPOINT_URL"
        )
    elif code in DENIED:
        fix = "; docs/operations.md lists what each command needs"
    return f"AWS refused {operation} ({code}): {message}{fix}"
