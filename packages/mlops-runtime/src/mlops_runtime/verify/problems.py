"""How a verification ends early: refused, failed, out of budget, or cut off from the account."""

from collections.abc import Sequence

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
