"""Password of a self-hosted MLflow: basic authentication with a secret that is read on first use.

See: https://mlflow.org/docs/latest/self-hosting/security/basic-http-auth/
"""

import base64
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

_NAMES = ("username", "password")


class PasswordError(Exception):
    """A password cannot be read; the message names the secret and never its value."""


class MlflowPassword:
    """User and password of an MLflow client. They never appear in errors or in ``repr``.

    Args:
        read: Returns user and password.

    Example:
        >>> MlflowPassword(lambda: ("ann", "pa:ss")).header()
        'Basic YW5uOnBhOnNz'
        >>> MlflowPassword(lambda: ("ann", "pa:ss"))
        MlflowPassword(...)
    """

    def __init__(self, read: Callable[[], tuple[str, str]]) -> None:
        self._read, self._header = read, ""

    @classmethod
    def of_secret(cls, arn: str, *, secrets: "SecretsManagerClient") -> "MlflowPassword":
        """Return the password of a secret: JSON with ``username`` and ``password``, as Secrets Manager writes it.

        Args:
            arn: ARN of the secret.
            secrets: Client that may read it.
        """

        def read() -> tuple[str, str]:
            try:
                found = secrets.get_secret_value(SecretId=arn)
            except (ClientError, BotoCoreError) as error:
                raise PasswordError(f"the password of MLflow, {arn}, cannot be read: {error}") from error
            return _checked(found.get("SecretString", ""), arn)

        return cls(read)

    def header(self) -> str:
        """Return the value of the header ``Authorization``.

        Raises:
            PasswordError: If the secret cannot be read.
        """
        if not self._header:
            user, password = self._read()
            self._header = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        return self._header

    def forget(self) -> None:
        """Read the secret again before the next call, because MLflow rejected this password and it may have been rotated."""
        self._header = ""

    def __repr__(self) -> str:
        return "MlflowPassword(...)"


def _checked(text: str, arn: str) -> tuple[str, str]:
    try:
        found: Any = json.loads(text)
        user, password = (found[name] for name in _NAMES)
    except (ValueError, KeyError, TypeError):
        found = user = password = None
    if not isinstance(user, str) or not isinstance(password, str) or not user or ":" in user:
        raise PasswordError(
            f'secret {arn} must be JSON with a username without a colon and a password: {{"username": "...", "password": "..."}}'
        ) from None
    return user, password
