"""Requests and responses of the console, independent of the server or function that transports them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, Protocol

from mlops_runtime.cloud_connection import Clock, Identity
from mlops_runtime.contracts import content_hash, to_dict

JSON = "application/json"
PROBLEM = "application/problem+json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Problem document (RFC 9457); ``detail`` has the problem, the value and the fix.

    ``type`` is the kind of problem, ``problems`` are all reasons if there are several.
    """

    type: str
    title: str
    status: int
    detail: str
    problems: tuple[str, ...] = ()


class RefusedRequestError(Exception):
    """A request is refused.

    Args:
        status: HTTP status code.
        detail: The problem, the value and the fix.
        problems: All reasons, if there are several.
    """

    def __init__(self, status: int, detail: str, *problems: str) -> None:
        super().__init__(detail)
        self.status, self.detail, self.problems = status, detail, problems


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """A request."""

    method: str  # HTTP method, in upper case
    path: str  # path without the query, such as `/api/v1/units`; percent-encoded
    query: Mapping[str, str] = field(default_factory=dict)  # first value of each query parameter
    headers: Mapping[str, str] = field(default_factory=dict)  # headers by lower-case name
    body: bytes = b""
    signed_in: timedelta | None = None  # time since the user signed in. Default: this console has no sign-in


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpAnswer:
    """A response: status, headers with the media type, and the body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Connection(Protocol):
    """Connection to an account, such as a ``CloudConnection``."""

    def client(self, service: str, /) -> Any:
        """Return the client of a service."""

    def environment(self) -> dict[str, str]:
        """Return environment variables with which other libraries reach the same account."""

    def identity(self) -> Identity:
        """Return the caller's identity."""

    def now(self) -> datetime:
        """Return the cloud's time."""

    def clock(self) -> Clock | None:
        """Return the embedded cloud's clock; ``None`` for AWS."""

    def move_clock(self, to: datetime) -> None:
        """Advance the embedded cloud's clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One operation with its arguments."""

    cloud: Connection  # the account, with the operation's role
    reader: Connection  # the account with the reader role, since an approver's role may lack read permissions
    now: datetime  # the cloud's time
    names: Mapping[str, str] = field(default_factory=dict)  # path parameters
    query: Mapping[str, str] = field(default_factory=dict)  # query parameters
    body: Any = None  # the body as its contract; `None` without a body
    headers: Mapping[str, str] = field(default_factory=dict)  # headers by lower-case name

    @property
    def caller(self) -> str:
        """ARN of the caller's session, from STS."""
        return self.cloud.identity().arn


def answer(status: int, document: object, *, seen: str | None = None) -> HttpAnswer:
    """Return a response with a contract and an ETag; status 304 without a body if the caller already has it.

    The ETag does not depend on the time, ``now``.

    Args:
        status: HTTP status code.
        document: A contract.
        seen: ``If-None-Match`` of the request.
    """
    found = to_dict(document)
    tag = f'W/"{content_hash({key: value for key, value in found.items() if key != "now"})[:32]}"'
    if status == 200 and seen is not None and tag in seen:
        return HttpAnswer(status=304, headers={"ETag": tag}, body=b"")
    return HttpAnswer(status=status, headers={"Content-Type": JSON, "ETag": tag}, body=_bytes(found))


def refused(
    status: int,
    title: str,
    detail: str,
    problems: tuple[str, ...] = (),
    headers: Mapping[str, str] = MappingProxyType({}),
) -> HttpAnswer:
    """Return a response with a problem document.

    Example:
        >>> refused(404, "not found", "no such address").status
        404
    """
    kind = f"urn:mlops:problem:{title.replace(' ', '-')}"
    problem = Problem(type=kind, title=title, status=status, detail=detail, problems=problems)
    return HttpAnswer(status=status, headers={"Content-Type": PROBLEM, **headers}, body=_bytes(to_dict(problem)))


def _bytes(document: object) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode("utf-8", "replace")
