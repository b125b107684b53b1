"""How a verification ends early: refused, failed, out of budget, or cut off from the account."""

from collections.abc import Callable, Sequence

from botocore.exceptions import ClientError

# https://docs.aws.amazon.com/sagemaker/latest/APIReference/CommonErrors.html; a quota of the account says nothing of a request
_BUSY = frozenset({"ResourceLimitExceeded", "Throttling", "ThrottlingException"})
# https://docs.aws.amazon.com/STS/latest/APIReference/CommonErrors.html and the services' own spellings
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
    """A verification is refused or cannot go on; the message says what, with which value, and the fix."""


class CheckError(Exception):
    """An assertion does not hold; the message is its evidence."""


class NoEvidenceError(Exception):
    """An assertion can be neither confirmed nor refuted here; the message says why."""


class BudgetError(VerifyError):
    """The next step would cost more than is allowed."""


class LostLockError(VerifyError):
    """Another run has taken the lock over: what is there is no longer this run's to remove."""


class LeftBehindError(VerifyError):
    """Things are left in the account.

    Attributes:
        left: Each, as ``kind name``.
    """

    def __init__(self, why: str, left: Sequence[str], command: str) -> None:
        self.left = tuple(left)
        shown = ", ".join(self.left) if self.left else "perhaps something"
        super().__init__(f"{why}; left in the account: {shown}; remove it with: {command}")


def is_cut_off(error: BaseException) -> bool:
    """Return whether AWS no longer takes the caller's credentials.

    Args:
        error: What was raised; an error of botocore has a response.
    """
    response = getattr(error, "response", None)
    code = response.get("Error", {}).get("Code", "") if isinstance(response, dict) else ""
    return code in CUT_OFF or type(error).__name__ in ("NoCredentialsError", "TokenRetrievalError", "SSOTokenLoadError")


def expect(condition: object, otherwise: str) -> None:
    """Hold an assertion to a condition.

    Raises:
        CheckError: If it is not met.
    """
    if not condition:
        raise CheckError(otherwise)


def refused(call: Callable[[], object], *, names: str, code: str = "ValidationException") -> str | None:
    """Return the words in which AWS refuses a call; ``None`` if AWS takes it.

    Args:
        call: The call.
        names: What the words must name, so that another fault of the request is not evidence.
        code: Code of the error.

    Raises:
        CheckError: If it is refused for another reason.
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
