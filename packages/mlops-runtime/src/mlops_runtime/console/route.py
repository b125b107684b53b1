"""One operation of the console: its address, what it takes and gives, and in which role it is done."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, get_type_hints
from urllib.parse import unquote

from mlops_runtime.console.http_message import Call

ROOT = "/api/v1"
NAME = r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}"  # of units, endpoints, pipelines and package groups
KEY = r"[A-Za-z0-9_-]{8,64}"  # of Idempotency-Key
# of the other parameters of paths
PATTERNS = {
    "number": r"[1-9][0-9]{0,8}",
    "execution": r"[A-Za-z0-9_-]{1,80}",
    "event": r"[A-Za-z0-9-]{1,64}",
    "table": r"[A-Za-z0-9_]{1,128}",
}


class Role(StrEnum):
    """Who does something; people have one of these roles, or more."""

    READER = "reader"
    ON_CALL = "on-call"
    APPROVER = "approver"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One parameter of a query: its name, what it is, the pattern of its values, and whether it may be left out."""

    name: str
    description: str
    pattern: str
    is_required: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One operation.

    Args:
        method: Of HTTP.
        path: Below the root, with parameters in braces, such as ``/units/{unit}``.
        operation: Its name: what ``GET /me`` lists, and clients that are generated call it.
        summary: What it does.
        act: Does it; what it returns is the contract of the answer.
        takes: Contract of the body. Default: it takes none.
        status: Of the answer. Default: 200.
        role: Whose right it is. Default: the reader's.
        is_grave: Whether it asks for a recent sign-in, where people sign in. Default: no.
        query: Parameters of the query. Default: none.
    """

    method: str
    path: str
    operation: str
    summary: str
    act: Callable[[Call], Any]
    takes: type | None = None
    status: int = 200
    role: Role = Role.READER
    is_grave: bool = False
    query: tuple[Parameter, ...] = ()

    @property
    def gives(self) -> type:
        """Contract of the answer."""
        found: type = get_type_hints(self.act)["return"]
        return found

    @property
    def names(self) -> tuple[str, ...]:
        """Parameters of the path."""
        return tuple(re.findall(r"\{(\w+)\}", self.path))

    def match(self, path: str) -> Mapping[str, str] | None:
        """Return the parameters of a path that is this route's, decoded; None of another.

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
