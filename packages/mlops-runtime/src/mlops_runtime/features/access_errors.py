"""Refusals of AWS as errors that name the statement which the caller needs, and other refusals of a source of rows."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from botocore.exceptions import ClientError

_DENIED = {"403", "AccessDenied", "AccessDeniedException", "AllAccessDisabled", "UnauthorizedAccess"}
# how IAM reports what was refused: https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html
_ACTION = re.compile(r"perform: ([a-z0-9-]+:\w+)(?: on resource: \"?(arn:[^\s\"]+))?")


class SourceError(ValueError):
    """Rows cannot be read from where they were said to lie; ``problems`` has every problem, the message lists them."""

    def __init__(self, message: str, problems: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems) or (message,)


class SourceAccessError(SourceError):
    """The caller may not read a source; ``statement`` is what their policy needs."""

    def __init__(self, message: str, statement: Mapping[str, Any]) -> None:
        super().__init__(f"{message}; the caller's policy needs {json.dumps(statement)}")
        self.statement = statement


def allow(actions: Sequence[str], *resources: str) -> dict[str, Any]:
    """Return a statement of a policy.

    Example:
        >>> allow(["s3:GetObject"], "arn:aws:s3:::history/*")
        {'Effect': 'Allow', 'Action': ['s3:GetObject'], 'Resource': ['arn:aws:s3:::history/*']}
    """
    return {"Effect": "Allow", "Action": list(actions), "Resource": list(resources)}


@contextmanager
def refusals(what: str, statement: Mapping[str, Any], **others: str) -> Iterator[None]:
    """Turn what AWS refuses in the block into errors of a source.

    Args:
        what: What is being done, for the message.
        statement: What it needs, where AWS does not say so more precisely.
        others: What to say of other codes, with ``_`` for characters that names do not have.

    Raises:
        SourceAccessError: If access is denied, with the action and resource that AWS names, if it does.
        SourceError: For the other codes.
    """
    try:
        yield
    except ClientError as error:
        code, said = str(error.response["Error"].get("Code")), str(error.response["Error"].get("Message", ""))
        if code in _DENIED:
            named = _ACTION.search(said)
            precise = statement if named is None or named[2] is None else allow([named[1]], named[2].rstrip("."))
            raise SourceAccessError(f"{what} was denied: {said or code}", precise) from error
        known = others.get(re.sub(r"\W", "_", code))
        if known is None:
            raise
        raise SourceError(f"{what}: {known}{f' ({said})' if said else ''}") from error
