"""Feature groups as JSON, for the function and the Glue job of a deployed store, which do not have the Python module.

Standard library only. The same version of this package writes and reads it, so an unknown field is an error: ignoring a constraint
would let invalid rows in.
"""

import dataclasses
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from mlops_runtime.features.feature_group import Entity, Feature, FeatureGroup, FeatureGroupError

FORMAT = "mlops.feature-groups/1"


class DeclarationError(ValueError):
    """A string is not a valid declaration of feature groups; the message lists every problem."""


def declaration_json(groups: Iterable[FeatureGroup]) -> str:
    """Return groups as JSON: sorted keys, durations in seconds, dates and times in ISO 8601, without defaults.

    Example:
        >>> stock = FeatureGroup(
        ...     name="stock",
        ...     entities=(Entity("store_id", "string", "store"),),
        ...     features=(Feature("on_hand", "long", "units on hand", minimum=0),),
        ...     owner="demand",
        ...     description="stock",
        ... )
        >>> read_declaration(declaration_json([stock])) == (stock,)
        True
    """
    return json.dumps({"format": FORMAT, "groups": [_written(group) for group in groups]}, sort_keys=True, indent=1)


def read_declaration(text: str) -> tuple[FeatureGroup, ...]:
    """Return the groups of ``declaration_json``.

    Raises:
        DeclarationError: If the text was not written by ``declaration_json``; with every problem.
    """
    try:
        document = json.loads(text)
    except ValueError as error:
        raise DeclarationError(f"not a declaration of feature groups: not JSON: {error}") from error
    if (
        not isinstance(document, dict)
        or document.get("format") != FORMAT
        or not isinstance(document.get("groups"), list)
    ):
        raise DeclarationError(
            f"not a declaration of feature groups: an object with format {FORMAT!r} and an array of groups is required, "
            f"got {text[:80]!r}"
        )
    problems: list[str] = []
    groups = [_read_group(entry, f"groups[{i}]", problems) for i, entry in enumerate(document["groups"])]
    names = [group.table_name for group in groups if group is not None]
    problems += [f"table {name!r} is declared twice" for name in sorted({n for n in names if names.count(n) > 1})]
    if problems:
        raise DeclarationError("not a declaration of feature groups: " + "; ".join(problems))
    return tuple(group for group in groups if group is not None)


def _written(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        pairs = ((field, getattr(value, field.name)) for field in dataclasses.fields(value))
        return {field.name: _written(item) for field, item in pairs if item != field.default}
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    return [_written(item) for item in value] if isinstance(value, tuple) else value


def _read_group(entry: object, path: str, problems: list[str]) -> FeatureGroup | None:
    group: FeatureGroup | None = _read(
        FeatureGroup,
        entry,
        path,
        problems,
        {
            "entities": lambda value: _columns(Entity, value, f"{path}.entities", problems),
            "features": lambda value: _columns(Feature, value, f"{path}.features", problems),
            "ttl": _duration,
            "lead": _duration,
            "freshness": _duration,
            "tags": lambda value: tuple(_list(value)),
        },
    )
    return group


def _columns(kind: type[Entity | Feature], value: object, path: str, problems: list[str]) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise TypeError(f"must be an array, got {value!r}")
    found = []
    for i, entry in enumerate(value):
        type_ = entry.get("type") if isinstance(entry, Mapping) else None
        constant = _CONSTANTS.get(str(type_).partition("(")[0], _same)
        readers: Mapping[str, Callable[[Any], Any]] = {
            "minimum": constant,
            "maximum": constant,
            "allowed": lambda values, constant=constant: tuple(constant(item) for item in _list(values)),  # type: ignore[misc]
        }
        found.append(_read(kind, entry, f"{path}[{i}]", problems, readers))
    return tuple(column for column in found if column is not None)


def _read(
    kind: type[Any], entry: object, path: str, problems: list[str], readers: Mapping[str, Callable[[Any], Any]]
) -> Any:
    """Build one object; its ``__post_init__`` validates the values."""
    if not isinstance(entry, Mapping):
        problems.append(f"{path} must be an object, got {entry!r}")
        return None
    fields = {field.name: field for field in dataclasses.fields(kind)}
    before = len(problems)
    problems += [
        f"{path}.{name} is unknown; build and deploy with the same version" for name in entry if name not in fields
    ]
    missing = [n for n, field in fields.items() if field.default is dataclasses.MISSING and n not in entry]
    problems += [f"{path}.{name} is missing" for name in missing]
    arguments = {}
    for name in [name for name in entry if name in fields]:
        try:
            arguments[name] = readers.get(name, _same)(entry[name])
        except (TypeError, ValueError, OverflowError) as error:
            problems.append(f"{path}.{name}: {error}")
    if len(problems) > before:
        return None
    try:
        return kind(**arguments)
    except (FeatureGroupError, TypeError) as error:
        problems.append(f"{path}: {error}")
        return None


def _duration(value: Any) -> timedelta | None:
    return None if value is None else timedelta(seconds=value)


def _list(value: object) -> Sequence[Any]:
    if not isinstance(value, list):
        raise TypeError(f"must be an array, got {value!r}")
    return value


def _same(value: Any) -> Any:
    return value


def _decimal(value: Any) -> Any:
    try:
        return Decimal(value) if isinstance(value, str) else value
    except InvalidOperation as error:
        raise ValueError(f"{value!r} is not a decimal") from error


_CONSTANTS: Mapping[str, Callable[[Any], Any]] = {
    "date": date.fromisoformat,
    "timestamp": datetime.fromisoformat,
    "decimal": _decimal,
}
