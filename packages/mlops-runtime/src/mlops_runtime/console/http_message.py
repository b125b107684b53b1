"""A request to the console and its answer, apart from the server or function that carries them."""

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
    """Why a request was refused (RFC 9457): what, with which value, and the fix in ``detail``.

    ``type`` names the kind, ``problems`` are all reasons where there are several.
    """

    type: str
    title: str
    status: int
    detail: str
    problems: tuple[str, ...] = ()


class RefusedRequestError(Exception):
    """A request is refused.

    Args:
        status: Of HTTP.
        detail: What is wrong, with the value, and the fix.
        problems: All reasons, where there are several.
    """

    def __init__(self, status: int, detail: str, *problems: str) -> None:
        super().__init__(detail)
        self.status, self.detail, self.problems = status, detail, problems


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """What was asked.

    Args:
        method: In capitals.
        path: Without the query, such as ``/api/v1/units``; still percent-encoded.
        query: First value of each parameter.
        headers: By lower-case name.
        body: As it came.
        signed_in: How long ago the person signed in. Default: people do not sign in here.
    """

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    signed_in: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpAnswer:
    """What is answered: status, headers with the media type, and the body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Connection(Protocol):
    """The account that calls go to, as a ``CloudConnection`` is."""

    def client(self, service: str, /) -> Any:
        """Return the client of a service."""

    def environment(self) -> dict[str, str]:
        """Return the environment in which libraries that are not boto3 reach the same account."""

    def identity(self) -> Identity:
        """Return in whose name calls are made."""

    def now(self) -> datetime:
        """Return the time in the cloud."""

    def clock(self) -> Clock | None:
        """Return what the embedded clock says; None elsewhere."""

    def move_clock(self, to: datetime) -> None:
        """Move the embedded cloud's clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One operation with its arguments.

    Args:
        cloud: The account, in the role of the operation.
        reader: The account as a reader has it: an approver's role may write, and need not read what it decides on.
        now: The time in the cloud.
        names: Parameters of the path.
        query: Parameters of the query.
        body: The contract that the operation takes; None where it takes none.
        headers: By lower-case name.
    """

    cloud: Connection
    reader: Connection
    now: datetime
    names: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def caller(self) -> str:
        """ARN of the person's session, which is asked of the cloud."""
        return self.cloud.identity().arn


def answer(status: int, document: object, *, seen: str | None = None) -> HttpAnswer:
    """Return a contract as an answer, with an ETag; 304 without a body where the caller has seen the same.

    The ETag leaves out the time, ``now``: an answer that differs in nothing else is the same.

    Args:
        status: Of HTTP.
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
    """Return a problem as an answer.

    Example:
        >>> refused(404, "not found", "no such address").status
        404
    """
    kind = f"urn:mlops:problem:{title.replace(' ', '-')}"
    problem = Problem(type=kind, title=title, status=status, detail=detail, problems=problems)
    return HttpAnswer(status=status, headers={"Content-Type": PROBLEM, **headers}, body=_bytes(to_dict(problem)))


def _bytes(document: object) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode("utf-8", "replace")
