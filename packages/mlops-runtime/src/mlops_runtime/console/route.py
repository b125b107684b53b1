"""One operation of the console: its address, what it takes and gives, and in which role it is done."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import unquote

from mlops_runtime.console.http_message import Call

ROOT = "/api/v1"
NAME = r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}"  # of units, endpoints, pipelines and package groups


class Role(StrEnum):
    """Who does something; people have one of these roles, or more."""

    READER = "reader"
    ON_CALL = "on-call"
    APPROVER = "approver"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One parameter of a query: its name, what it is, and the pattern of its values."""

    name: str
    description: str
    pattern: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One operation.

    Args:
        method: Of HTTP.
        path: Below the root, with parameters in braces, such as ``/units/{unit}``.
        operation: Its name: what ``GET /me`` lists, and clients that are generated call it.
        summary: What it does.
        act: Does it.
        gives: Contract of the answer.
        takes: Contract of the body. Default: it takes none.
        status: Of the answer. Default: 200.
        role: Whose right it is. Default: the reader's.
        query: Parameters of the query. Default: none.
    """

    method: str
    path: str
    operation: str
    summary: str
    act: Callable[[Call], Any]
    gives: type
    takes: type | None = None
    status: int = 200
    role: Role = Role.READER
    query: tuple[Parameter, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Parameters of the path."""
        return tuple(re.findall(r"\{(\w+)\}", self.path))

    def match(self, path: str) -> Mapping[str, str] | None:
        """Return the parameters of a path that is this route's, decoded; None of another.

        Example:
            >>> route = Route(method="GET", path="/units/{unit}", operation="unit", summary="", act=str, gives=str)
            >>> dict(route.match("/api/v1/units/retail")), route.match("/api/v1/units/a%2Fb")
            ({'unit': 'retail'}, None)
        """
        parts, wanted = path.split("/"), f"{ROOT}{self.path}".split("/")
        if len(parts) != len(wanted):
            return None
        found: dict[str, str] = {}
        for part, each in zip(map(unquote, parts), wanted, strict=True):
            if each.startswith("{") and re.fullmatch(NAME, part):
                found[each[1:-1]] = part
            elif each != part:
                return None
        return found
