"""Errors of a verification: refused, failed, out of budget, or without valid credentials."""

from collections.abc import Callable, Sequence

from botocore.exceptions import ClientError

# https://docs.aws.amazon.com/sagemaker/latest/APIReference/CommonErrors.html; errors of quotas prove nothing about a request
_BUSY = frozenset({"ResourceLimitExceeded", "Throttling", "ThrottlingException"})
# https://docs.aws.amazon.com/STS/latest/APIReference/CommonErrors.html and variants of single services
CUT_OFF = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "RequestExpired",
        "InvalidClientTokenId",
        "UnrecognizedClientException",
        "InvalidAccessKeyId",
        "InvalidToken",
    }
)


class VerifyError(Exception):
    """A verification is refused or cannot continue; the message states the problem, the value got and the fix."""


class CheckError(Exception):
    """An assertion does not hold; the message is its evidence."""


class NoEvidenceError(Exception):
    """An assertion can be neither confirmed nor refuted here; the message states the reason."""


class BudgetError(VerifyError):
    """The next step would cost more than is allowed."""


class LostLockError(VerifyError):
    """Another run has taken over the lock, so this run must not remove resources any more."""


class LeftBehindError(VerifyError):
    """Resources are left in the account.

    Attributes:
        left: Each resource, as ``kind name``.
    """

    def __init__(self, why: str, left: Sequence[str], command: str) -> None:
        self.left = tuple(left)
        shown = ", ".join(self.left) if self.left else "perhaps something"
        super().__init__(f"{why}; left in the account: {shown}; remove it with: {command}")


def is_cut_off(error: BaseException) -> bool:
    """Return whether AWS no longer accepts the caller's credentials.

    Args:
        error: The raised error; an error of botocore has a response.
    """
    response = getattr(error, "response", None)
    code = response.get("Error", {}).get("Code", "") if isinstance(response, dict) else ""
    return code in CUT_OFF or type(error).__name__ in ("NoCredentialsError", "TokenRetrievalError", "SSOTokenLoadError")


def expect(condition: object, otherwise: str) -> None:
    """Assert a condition.

    Raises:
        CheckError: If it does not hold.
    """
    if not condition:
        raise CheckError(otherwise)


def refused(call: Callable[[], object], *, names: str, code: str = "ValidationException") -> str | None:
    """Return the message with which AWS rejects a call; ``None`` if AWS accepts it.

    Args:
        names: Word that the message must contain, so that another fault of the request is not evidence.
        code: Expected error code.

    Raises:
        CheckError: If it is rejected for another reason.
        NoEvidenceError: If a quota of the account is used up.
    """
    try:
        call()
    except ClientError as error:
        found, words = error.response["Error"]["Code"], error.response["Error"]["Message"]
        if is_cut_off(error):
            raise
        if found in _BUSY:
            raise NoEvidenceError(f"{found}: {words}") from error
        expect(found == code and names.lower() in words.lower(), f"refused for another reason, as {found}: {words}")
        return f"{found}: {words}"
    return None
