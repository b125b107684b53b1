"""Validation errors of a body against its model, in the wording of ``$context.error.validationErrorString``.

API Gateway's messages are those of the Java library json-schema-validator.
"""

import json
from collections.abc import Callable
from typing import Any

from jsonschema import Draft4Validator
from referencing import Registry

_SHOWN = 20
_KINDS: tuple[tuple[type, str], ...] = (
    (bool, "boolean"), (int, "integer"), (float, "number"), (str, "string"), (list, "array"), (dict, "object"),
)  # fmt: skip


def is_json(body: bytes) -> bool:
    """Return whether a body is one JSON document in UTF-8; Python's own parser guesses encodings and accepts ``NaN``.

    Example:
        >>> is_json(b'{"rows": [1]}'), is_json(b"[NaN]"), is_json('{}'.encode("utf-16"))
        (True, False, False)
    """
    try:
        json.loads(body.decode(), parse_constant=_refuse)
    except (ValueError, RecursionError):
        return False
    return True


def _refuse(constant: str) -> None:
    # claim: gateway-reads-json-strictly
    raise ValueError(constant)


def text(schema: Any, body: bytes) -> str:
    """Return the validation errors of a body by a draft-04 schema; none if the schema is not an object.

    Example:
        >>> text({"type": "object", "required": ["rows"]}, b"{}")
        '[object has missing required properties (["rows"])]'
    """
    # claim: gateway-words-schema-problems
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return "[invalid JSON]"
    if not isinstance(schema, dict):
        return "[]"
    try:
        found = list(Draft4Validator(schema, registry=Registry()).iter_errors(document))  # which fetches no references
    except Exception:  # the library cannot resolve a reference to another model, or endless nesting
        return "[instance does not match the schema]"
    problems: dict[str, None] = {}
    for error in found:
        problems.setdefault(_WORDS.get(error.validator, _other)(error))
    return f"[{', '.join(list(problems)[:_SHOWN])}]"


def _missing(error: Any) -> str:
    wanted = sorted(name for name in error.validator_value if name not in error.instance)
    return f"object has missing required properties ({_list(wanted)})"


def _type(error: Any) -> str:
    kind = next((name for kind, name in _KINDS if isinstance(error.instance, kind)), "null")
    allowed = error.validator_value if isinstance(error.validator_value, list) else [error.validator_value]
    return f"instance type ({kind}) does not match any allowed primitive type (allowed: {_list(sorted(allowed))})"


def _additional(error: Any) -> str:
    known = error.schema.get("properties", {})
    return (
        "object instance has properties which are not allowed by the schema: "
        f"{_list(sorted(name for name in error.instance if name not in known))}"
    )


def _elements(error: Any) -> str:
    return f"{error.validator_value} elements but instance has {len(error.instance)} elements"


def _other(error: Any) -> str:
    return f"instance failed to match {error.validator}"


def _list(values: Any) -> str:
    return json.dumps(values, separators=(",", ":"))


_WORDS: dict[str, Callable[[Any], str]] = {
    "required": _missing,
    "type": _type,
    "additionalProperties": _additional,
    "minItems": lambda error: f"array is too short: must have at least {_elements(error)}",
    "maxItems": lambda error: f"array is too long: must have at most {_elements(error)}",
    "minimum": lambda error: (
        f"numeric instance is lower than the required minimum (minimum: {error.validator_value}, found: {error.instance})"
    ),
    "maximum": lambda error: (
        f"numeric instance is greater than the required maximum (maximum: {error.validator_value}, found: {error.instance})"
    ),
    "enum": lambda error: (
        f"instance value ({json.dumps(error.instance)}) not found in enum (possible values: {_list(error.validator_value)})"
    ),
}
