"""State of one request to a REST API: the caller's request, its route, and the variables of ``$context``."""

import base64
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from ministack.core.responses import new_uuid

from mlops_local import clock

Record = Mapping[str, Any]
_JSON = "application/json"
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_EXTENDED = 11  # bytes of the extended request id, which no caller chooses


class Answer(NamedTuple):
    """The response to the caller."""

    status: int
    headers: dict[str, str]
    body: bytes


class Variables(dict[str, Any]):
    """Variables of ``$context``; a missing one is an empty string, as in AWS."""

    def __missing__(self, name: str) -> str:
        return ""


@dataclass(slots=True)
class Exchange:
    """One request, completed while it is routed."""

    account: str  # owner of the API
    region: str  # Region of the API
    api: Record
    stage: Record
    method: str  # HTTP method in capitals
    path: str  # path below the stage
    headers: Mapping[str, str]  # the caller's headers, names in lower case
    query: Mapping[str, list[str]]  # values of each query parameter
    body: bytes  # the caller's body
    # record of the resource that serves the path. Default: not routed yet
    resource: Record = field(default_factory=dict)
    served: Record = field(default_factory=dict)  # record of the method. Default: not routed yet
    path_parameters: Mapping[str, str] = field(default_factory=dict)  # values of the resource's `{names}`
    context: Variables = field(default_factory=Variables)  # `$context`, derived from the other fields

    def __post_init__(self) -> None:
        now = clock.utcnow()
        self.context |= {
            "accountId": self.account, "apiId": self.api["id"], "stage": self.stage["stageName"], "httpMethod": self.method,
            "path": f"/{self.stage['stageName']}{self.path}", "protocol": "HTTP/1.1",
            "requestId": _request_id(self.headers.get("x-amzn-requestid")),
            "extendedRequestId": base64.urlsafe_b64encode(os.urandom(_EXTENDED)).decode(),
            "requestTime": now.strftime("%d/%b/%Y:%H:%M:%S +0000"),
            "requestTimeEpoch": int(now.timestamp() * 1000),
            "domainName": self.headers.get("host", ""),
            "identity": Variables(sourceIp="127.0.0.1", userAgent=self.headers.get("user-agent", "")),
        }  # fmt: skip

    @property
    def integration(self) -> Record:
        """Record of the method's integration."""
        found: Record = self.served.get("methodIntegration") or {}
        return found

    @property
    def content_type(self) -> str:
        """Media type of the body without parameters; AWS assumes JSON if the caller names none."""
        return media_type(self.headers.get("content-type") or _JSON)

    def text(self, content: bytes, kind: str) -> bytes:
        """Return a payload as AWS passes it on: UTF-8 text unless its type is one of the API's binary types."""
        # claim: gateway-payloads-are-text
        if is_binary(kind, self.api.get("binaryMediaTypes") or ()):
            return content
        return content.decode(errors="replace").encode()


def _request_id(given: str | None) -> str:
    # claim: callers-may-choose-request-ids
    if given is None:
        return str(new_uuid())
    return given if _UUID.fullmatch(given) else f"{new_uuid()}_REPLACED_INVALID_REQUEST_ID"


def media_type(value: str) -> str:
    """Return a media type in lower case and without parameters.

    Example:
        >>> media_type("Application/JSON; charset=utf-8")
        'application/json'
    """
    return value.split(";", 1)[0].strip().lower()


def is_binary(kind: str, patterns: Any) -> bool:
    """Return whether a media type is among an API's ``binaryMediaTypes``.

    Example:
        >>> is_binary("image/png", ["image/*"]), is_binary("text/csv", ["image/*"])
        (True, False)
    """
    wanted = media_type(kind)
    return any(fnmatchcase(wanted, media_type(pattern)) for pattern in patterns)
