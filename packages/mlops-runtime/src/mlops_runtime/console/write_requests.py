"""Request bodies of writes: the reason, and the displayed state. If the state has changed, the write is refused (409)."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, is_dataclass
from datetime import timedelta
from typing import Any, TypeVar, get_type_hints

from mlops_runtime.console.http_message import RefusedRequestError
from mlops_runtime.contracts import ContractError, from_dict

T = TypeVar("T")

_MAX_REASON = 500
_MAX_MINUTES = 92 * 24 * 60
# neither control characters nor line and paragraph separators
_TEXT = r"[^\u0000-\u001f\u007f-\u009f\u2028\u2029]"
_REASON: Mapping[str, Any] = {
    "schema": {
        "minLength": 1,
        "maxLength": _MAX_REASON,
        "pattern": rf"^{_TEXT}*[^\s\u0000-\u001f\u007f-\u009f]{_TEXT}*$",
    }
}
_COUNT: Mapping[str, Any] = {"schema": {"minimum": 0}}
_LINE = re.compile(r"[^\u0000-\u001f\u007f-\u009f\u2028\u2029]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reasoned:
    """A write with its reason, for the audit record.

    Raises:
        ValueError: If the reason is blank, longer than 500 characters, or more than one line.
    """

    reason: str = field(metadata=_REASON)

    def __post_init__(self) -> None:
        if not self.reason.strip():
            raise ValueError("reason must not be blank; it is stored in the audit record")
        if len(self.reason) > _MAX_REASON:
            raise ValueError(
                f"reason must be at most {_MAX_REASON} characters, got {len(self.reason)}; name a ticket instead"
            )
        if _LINE.fullmatch(self.reason) is None:
            raise ValueError("reason must be one line without control characters")


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenVersion:
    """Displayed state of an endpoint: the sequence of its newest audit record, and the live package."""

    sequence: int = field(metadata=_COUNT)
    package: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RollbackBody(Reasoned):
    """A rollback. ``to`` is a version number. Default: the previous version, or during a rollout the live one."""

    expect: SeenVersion
    to: int | None = field(default=None, metadata={"schema": {"minimum": 1, "maximum": 999_999_999}})


@dataclass(frozen=True, slots=True, kw_only=True)
class AbortBody(Reasoned):
    """An abort of the running rollout."""

    expect: SeenVersion


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenUnit:
    """Displayed state of a unit: the sequence of its newest audit record."""

    sequence: int = field(metadata=_COUNT)


@dataclass(frozen=True, slots=True, kw_only=True)
class PauseBody(Reasoned):
    """A pause or resumption of a unit's automation."""

    expect: SeenUnit


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenPipeline:
    """Displayed state of a pipeline: its last started execution."""

    last_execution: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrainingBody(Reasoned):
    """A request for a retraining."""

    expect: SeenPipeline


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenPackage:
    """Displayed state of a package: its approval status, and the hash of its content."""

    approval: str
    binding: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionBody(Reasoned):
    """An approval or a rejection."""

    expect: SeenPackage


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockBody:
    """Minutes to advance the embedded cloud's clock: up to 92 days, in steps of a day, like `mlops local clock --jump`."""

    minutes: int = field(metadata={"schema": {"minimum": 1, "maximum": _MAX_MINUTES}})

    def __post_init__(self) -> None:
        if not 1 <= self.minutes <= _MAX_MINUTES:
            raise ValueError(f"minutes must be from 1 to {_MAX_MINUTES}, got {self.minutes}")

    @property
    def span(self) -> timedelta:
        """The minutes as a ``timedelta``."""
        return timedelta(minutes=self.minutes)


def read_body(kind: type[T], content: bytes) -> T:
    """Parse the body of a write.

    Raises:
        RefusedRequestError: 422 with all problems: invalid JSON, or fields that are missing, invalid or unknown.

    Example:
        >>> read_body(ClockBody, b'{"minutes": 90}').span
        datetime.timedelta(seconds=5400)
        >>> read_body(ClockBody, b'{"minutes": 90, "hours": 1}')
        Traceback (most recent call last):
        ...
        mlops_runtime.console.http_message.RefusedRequestError: hours is not a field of the body; omit it, allowed are: minutes
    """
    try:
        document = json.loads(content, parse_float=_number)
    except (ValueError, RecursionError) as error:  # RecursionError: deeply nested brackets
        raise RefusedRequestError(422, f"the body is not JSON: {error}") from error
    problems = list(_unknown(kind, document))
    try:
        body = from_dict(kind, document)
    except ContractError as error:
        problems = [*map(_problem_text, error.problems), *problems]
        raise RefusedRequestError(422, "; ".join(problems)) from error
    if problems:
        raise RefusedRequestError(422, "; ".join(problems))
    return body


def _unknown(kind: Any, document: object, path: str = "") -> Iterator[str]:
    if not is_dataclass(kind) or not isinstance(document, Mapping):
        return
    known = get_type_hints(kind)
    for name, value in document.items():
        if name in known:
            yield from _unknown(known[name], value, f"{path}{name}.")
        else:
            where = path.rstrip(".") or "the body"
            yield f"{path}{name} is not a field of {where}; omit it, allowed are: {', '.join(known)}"


def _problem_text(problem: str) -> str:
    """Return a problem without the root ``$`` of its path."""
    return re.sub(r"^\$(?=\s)", "the body", problem.removeprefix("$: ").removeprefix("$."))


def _number(text: str) -> float | int:
    """Return a JSON number; JSON Schema accepts 3.0 as an integer."""
    found = float(text)
    return int(found) if found.is_integer() else found
