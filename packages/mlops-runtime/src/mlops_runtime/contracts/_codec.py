"""Convert frozen dataclasses to and from JSON, and derive their JSON schemas.

Other programs and later versions of this library read these contracts. Unknown fields are ignored, because a later version only
adds optional ones. A missing or mistyped field is an error, and the error lists every problem at once.
"""

import dataclasses
import hashlib
import json
import types
import typing
from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import Enum
from functools import cache
from typing import Any, TypeVar, get_args, get_origin

T = TypeVar("T")

# arrays of these types, such as a thousand counts, are copied without visiting each item
_PLAIN = {int, float, str, bool, type(None)}
_SCALARS: dict[Any, str] = {str: "string", int: "integer", float: "number", bool: "boolean"}


class ContractError(ValueError):
    """A document does not follow its contract; the message lists every problem with its path.

    Args:
        message: Description of the error.
        problems: Each problem with its path. Default: only the message describes them.
    """

    def __init__(self, message: str, problems: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems)


def to_dict(value: Any) -> Any:
    """Return the JSON value of a contract: dataclasses as objects, tuples as arrays.

    A field that is ``None`` is omitted if ``None`` is its default, and written as ``null`` if it has no default.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        pairs = ((f, getattr(value, f.name)) for f in dataclasses.fields(value))
        return {_json_name(f): to_dict(item) for f, item in pairs if item is not None or f.default is not None}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, Mapping):
        return {str(key): to_dict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return list(value) if _PLAIN.issuperset(map(type, value)) else [to_dict(item) for item in value]
    return value


def canonical_json(value: Any) -> bytes:
    """Return the canonical JSON of a contract, the input of content hashes: sorted keys, no spaces, UTF-8, no NaN."""
    text = json.dumps(to_dict(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()


def content_hash(value: Any) -> str:
    """Return the SHA-256 of the canonical JSON, in lower-case hexadecimal."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def from_dict(kind: type[T], document: object) -> T:
    """Build a contract from parsed JSON.

    Raises:
        ContractError: With every missing, mistyped or disallowed field.
    """
    problems: list[str] = []
    value = _read(kind, document, "$", problems)
    if problems:
        raise ContractError(f"not a valid {kind.__name__}: " + "; ".join(problems), problems)
    return typing.cast(T, value)


def from_json(kind: type[T], text: str | bytes) -> T:
    """Build a contract from JSON text.

    Raises:
        ContractError: If the text is not JSON or does not follow the contract.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:  # RecursionError: brackets without end
        raise ContractError(f"not a valid {kind.__name__}: not JSON: {error}") from error
    return from_dict(kind, document)


def json_schema(kind: type) -> dict[str, Any]:
    """Return the JSON schema (draft 2020-12) of a contract."""
    definitions: dict[str, Any] = {}
    _schema(kind, definitions)
    own = definitions.pop(kind.__name__)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **own, "$defs": definitions}


def _json_name(field: dataclasses.Field[Any]) -> str:
    return str(field.metadata.get("name", field.name))


@cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _read(kind: Any, value: object, path: str, problems: list[str]) -> Any:
    origin, args = get_origin(kind), get_args(kind)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in args:
            return None
        return _read(next(a for a in args if a is not type(None)), value, path, problems)
    if origin is typing.Literal:
        if value not in args:
            problems.append(f"{path} must be one of {', '.join(map(repr, args))}, got {value!r}")
        return value
    if origin is tuple:
        if not isinstance(value, list | tuple):
            problems.append(f"{path} must be an array, got {value!r}")
            return ()
        if args[0] in (int, float) and {args[0]}.issuperset(map(type, value)):
            return tuple(value)
        return tuple(_read(args[0], item, f"{path}[{i}]", problems) for i, item in enumerate(value))
    if origin in (Mapping, dict):
        if not isinstance(value, Mapping):
            problems.append(f"{path} must be an object, got {value!r}")
            return {}
        return {str(key): _read(args[1], item, f"{path}.{key}", problems) for key, item in value.items()}
    if dataclasses.is_dataclass(kind):
        return _read_object(typing.cast(type, kind), value, path, problems)
    return _read_scalar(kind, value, path, problems)


def _read_object(kind: type, value: object, path: str, problems: list[str]) -> Any:
    if not isinstance(value, Mapping):
        problems.append(f"{path} must be an object, got {value!r}")
        return None
    before = len(problems)
    arguments: dict[str, Any] = {}
    for field in dataclasses.fields(kind):
        name = _json_name(field)
        if name in value:
            arguments[field.name] = _read(_hints(kind)[field.name], value[name], f"{path}.{name}", problems)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            problems.append(f"{path}.{name} is missing")
    if len(problems) > before:
        return None
    try:
        return kind(**arguments)
    except ValueError as error:
        problems.append(f"{path}: {error}")
        return None


def _read_scalar(kind: Any, value: object, path: str, problems: list[str]) -> Any:
    if kind is Any or kind is object:
        return value
    if isinstance(kind, type) and issubclass(kind, Enum):
        try:
            return kind(value)
        except ValueError:
            problems.append(f"{path} must be one of {', '.join(repr(m.value) for m in kind)}, got {value!r}")
            return None
    if kind is datetime:
        try:
            return datetime.fromisoformat(str(value))
        except ValueError:
            problems.append(f"{path} must be an ISO 8601 time, got {value!r}")
            return None
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            problems.append(f"{path} must be a number that a double can hold, got {len(str(value))} digits")
            return value
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        name = _SCALARS.get(kind, kind.__name__)
        problems.append(f"{path} must be {'an' if name == 'integer' else 'a'} {name}, got {value!r}")
    elif isinstance(value, str) and not _is_unicode(value):
        problems.append(f"{path} must be text without lone surrogates, got {value!r}")
    return value


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _schema(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    origin, args = get_origin(kind), get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return {"anyOf": [_schema(next(a for a in args if a is not type(None)), definitions), {"type": "null"}]}
    if origin is typing.Literal:
        return {"enum": list(args)}
    if origin is tuple:
        return {"type": "array", "items": _schema(args[0], definitions)}
    if origin is not None:
        return {"type": "object", "additionalProperties": _schema(args[1], definitions)}
    if dataclasses.is_dataclass(kind):
        name = typing.cast(type, kind).__name__
        if name not in definitions:
            definitions[name] = {}
            fields = dataclasses.fields(kind)
            definitions[name] = {
                "title": name,
                "type": "object",
                "properties": {
                    _json_name(f): _schema(_hints(typing.cast(type, kind))[f.name], definitions)
                    | f.metadata.get("schema", {})
                    for f in fields
                },
                "required": [
                    _json_name(f)
                    for f in fields
                    if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
                ],
            }
        return {"$ref": f"#/$defs/{name}"}
    if isinstance(kind, type) and issubclass(kind, Enum):
        return {"enum": [member.value for member in kind]}
    if kind is datetime:
        return {"type": "string", "format": "date-time"}
    return {"type": _SCALARS[kind]} if kind in _SCALARS else {}
