"""Errors of row sources, with the IAM statement that a denied caller needs."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from botocore.exceptions import ClientError

_DENIED = {"403", "AccessDenied", "AccessDeniedException", "AllAccessDisabled", "UnauthorizedAccess"}
# wording of IAM's denials: https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html
_ACTION = re.compile(r"perform: ([a-z0-9-]+:\w+)(?: on resource: \"?(arn:[^\s\"]+))?")


class SourceError(ValueError):
    """A source's rows cannot be read; ``problems`` contains every problem, and the message lists them."""

    def __init__(self, message: str, problems: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems) or (message,)


class SourceAccessError(SourceError):
    """The caller is not allowed to read a source; ``statement`` is the IAM statement their policy needs."""

    def __init__(self, message: str, statement: Mapping[str, Any]) -> None:
        super().__init__(f"{message}; the caller's policy needs {json.dumps(statement)}")
        self.statement = statement


def allow(actions: Sequence[str], *resources: str) -> dict[str, object]:
    """Return a policy statement that allows actions on resources.

    Example:
        >>> allow(["s3:GetObject"], "arn:aws:s3:::history/*")
        {'Effect': 'Allow', 'Action': ['s3:GetObject'], 'Resource': ['arn:aws:s3:::history/*']}
    """
    return {"Effect": "Allow", "Action": list(actions), "Resource": list(resources)}


@contextmanager
def refusals(what: str, statement: Mapping[str, Any], **others: str) -> Iterator[None]:
    """Raise AWS errors of the block as errors of a source.

    Args:
        what: The operation, for the message.
        statement: The required statement, unless AWS's message names a more precise one.
        others: Explanations of other error codes, by code with ``_`` in place of non-word characters.

    Raises:
        SourceAccessError: If access is denied; with the action and resource from AWS's message, if it has them.
        SourceError: For the codes in ``others``.
    """
    try:
        yield
    except ClientError as error:
        code, message = str(error.response["Error"].get("Code")), str(error.response["Error"].get("Message", ""))
        if code in _DENIED:
            named = _ACTION.search(message)
            precise = statement if named is None or named[2] is None else allow([named[1]], named[2].rstrip("."))
            raise SourceAccessError(f"{what} was denied: {message or code}", precise) from error
        known = others.get(re.sub(r"\W", "_", code))
        if known is None:
            raise
        raise SourceError(f"{what}: {known}{f' ({message})' if message else ''}") from error
