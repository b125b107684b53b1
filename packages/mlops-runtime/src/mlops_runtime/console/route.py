"""Definition of the console's operations: path, request and response contracts, and required role."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, get_type_hints
from urllib.parse import unquote

from mlops_runtime.console.http_message import Call

ROOT = "/api/v1"
NAME = r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}"  # names of units, endpoints, pipelines and package groups
KEY = r"[A-Za-z0-9_-]{8,64}"  # values of Idempotency-Key
# other path parameters
PATTERNS = {
    "number": r"[1-9][0-9]{0,8}",
    "execution": r"[A-Za-z0-9_-]{1,80}",
    "event": r"[A-Za-z0-9-]{1,64}",
    "table": r"[A-Za-z0-9_]{1,128}",
}


class Role(StrEnum):
    """Role for an operation; a user may have several roles."""

    READER = "reader"
    ON_CALL = "on-call"
    APPROVER = "approver"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A query parameter: name, description, pattern of its values, and whether it is required."""

    name: str
    description: str
    pattern: str
    is_required: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One operation."""

    method: str  # HTTP method
    path: str  # path below the root, with parameters in braces, such as `/units/{unit}`
    operation: str  # name of the operation in `GET /me` and in generated clients
    summary: str  # short description
    act: Callable[[Call], Any]  # function that performs it; its return type is the contract of the response
    takes: type | None = None  # contract of the body. Default: no body
    status: int = 200  # status code of the response
    role: Role = Role.READER  # required role. Default: reader
    is_grave: bool = False  # whether it requires a recent sign-in, in consoles with sign-in
    query: tuple[Parameter, ...] = ()

    @property
    def gives(self) -> type:
        """Contract of the response."""
        found: type = get_type_hints(self.act)["return"]
        return found

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the path parameters."""
        return tuple(re.findall(r"\{(\w+)\}", self.path))

    def match(self, path: str) -> Mapping[str, str] | None:
        """Return the decoded parameters of a path that matches the route; ``None`` for other paths.

        Example:
            >>> route = Route(method="GET", path="/units/{unit}", operation="unit", summary="", act=str)
            >>> dict(route.match("/api/v1/units/retail")), route.match("/api/v1/units/a%2Fb")
            ({'unit': 'retail'}, None)
        """
        parts, wanted = path.split("/"), f"{ROOT}{self.path}".split("/")
        if len(parts) != len(wanted):
            return None
        found: dict[str, str] = {}
        for part, each in zip(map(unquote, parts), wanted, strict=True):
            if not each.startswith("{"):
                if each != part:
                    return None
            elif re.fullmatch(PATTERNS.get(each[1:-1], NAME), part) is None:
                return None
            else:
                found[each[1:-1]] = part
        return found
