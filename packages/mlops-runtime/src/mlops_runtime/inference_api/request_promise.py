"""Request format that an API promises to accept: a JSON schema of draft-04, with which API Gateway validates bodies.

The schema is in git and independent of the live model. Candidates that would reject valid requests are found before traffic.
See: https://docs.aws.amazon.com/apigateway/latest/developerguide/models-mappings-models.html
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mlops_runtime.contracts.model import ModelSignature, SignatureColumn
from mlops_runtime.contracts.serving import PromisedColumn, PromisedKind, RequestPromise

DRAFT = "http://json-schema.org/draft-04/schema#"
# default maximum rows per call
MAX_ROWS = 100
# https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html: maximum bytes of an API's model
MAX_BYTES = 400_000

_LARGEST = 2**53  # up to it, 64-bit floats represent every integer
# the largest 32-bit float, which models get unless they pass values
_LARGEST_FLOAT = 3.4028234663852886e38
# schemas of keys, which are not limited to 64-bit floats; only the server validates dates
_KEYS: dict[str, dict[str, object]] = {
    "string": {"type": "string"},
    "int": {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1},
    "long": {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1},
    "date": {"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$"},
    "timestamp": {
        "type": "string",
        "pattern": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{3}|\.[0-9]{6})?(Z|[+-][0-9]{2}:[0-9]{2})$",
    },
}
_INTEGER_TEXT = "^-?(0|[1-9][0-9]*)$"
_NULL = "null"
_WORDS: dict[PromisedKind, str] = {
    "number": "a number",
    "integer": "an integer",
    "boolean": "true or false",
    "text": "text",
    "integer text": "an integer or its text",
}
# kinds that a model also accepts, by the kind of its column
_TAKES: dict[PromisedKind, tuple[PromisedKind, ...]] = {
    "number": ("number", "integer"),
    "text": ("text",),
    "integer text": ("integer text",),
}


class PromiseError(ValueError):
    """A schema is not a valid promise of an API; the message has every problem."""


def request_schema(signature: ModelSignature, *, max_rows: int = MAX_ROWS, arrays: bool = True) -> dict[str, object]:
    """Return the schema of a model's requests: ``{"instances": [...]}``, each row an object by column or an array in order.

    A column that is not nullable is required. Categories are not enumerated, because models accept unknown ones. If the model
    looks up features, the key columns are required, even those that are not inputs, and columns that are looked up may be
    omitted.

    Args:
        signature: The model's signature.
        max_rows: Maximum rows per call.
        arrays: Whether rows may be arrays; later models then cannot have additional columns. Default: they may. Ignored for a
            model with lookups, whose rows are always objects, because an array has every column.

    Raises:
        PromiseError: If ``max_rows`` is below 1.

    Example:
        >>> price = SignatureColumn(name="price", type="number")
        >>> schema = request_schema(ModelSignature(inputs=(price,), output="units"), arrays=False)
        >>> schema["properties"]["instances"]["items"]["required"]
        ['price']
    """
    if max_rows < 1:
        raise PromiseError(f"max_rows must be 1 or more, got {max_rows}")
    keys = _key_types(signature)
    required = [column.name for column in signature.inputs if not column.nullable and column.name not in keys]
    columns = {column.name: _column_schema(column, signature) for column in signature.inputs}
    row: dict[str, object] = {
        "type": "object",
        "properties": columns | {name: _key_schema(kind, is_input=name in columns) for name, kind in keys.items()},
        "additionalProperties": False,
    }
    if required or keys:  # draft-04 allows no empty list
        row["required"] = [*required, *keys]
    width = len(signature.inputs)
    items = [{"title": column.name, **_column_schema(column, signature)} for column in signature.inputs]
    listed = {"type": "array", "minItems": width, "maxItems": width, "items": items, "additionalItems": False}
    return {
        "$schema": DRAFT,
        "title": f"Rows for {signature.output}",
        "type": "object",
        "required": ["instances"],
        "properties": {
            "instances": {
                "type": "array",
                "minItems": 1,
                "maxItems": max_rows,
                "items": {"anyOf": [row, listed]} if arrays and not keys else row,
            }
        },
        "additionalProperties": False,
    }


def _key_types(signature: ModelSignature) -> dict[str, str]:
    """Return the key columns of requests that the model's lookups use, with their types."""
    if signature.lookup is None:
        return {}
    names, inputs = signature.lookup.keys, {column.name for column in signature.inputs}
    return {
        names.get(held, held): entity.type
        for group in signature.lookup.service.groups
        if any(f"{group.prefix}__{feature.name}" in inputs for feature in group.features)
        for entity in group.entities
        for held in (group.key_columns[entity.name],)
    }


def _key_schema(kind: str, *, is_input: bool) -> dict[str, object]:
    if kind == "long" and is_input:
        return {"type": "integer", "minimum": -_LARGEST, "maximum": _LARGEST}
    return dict(_KEYS[kind])


def _column_schema(column: SignatureColumn, signature: ModelSignature) -> dict[str, object]:
    null = [{"type": _NULL}] if column.nullable else []
    if column.type == "category" and column.kind == "integer":
        whole = {"type": "integer"}
        return {"anyOf": [whole, {"type": "string", "pattern": _INTEGER_TEXT}, *null]}
    if column.kind == "boolean":
        # also as numbers, which is how data sets store booleans
        return {"anyOf": [{"type": "boolean"}, {"type": "integer", "minimum": 0, "maximum": 1}, *null]}
    if column.type == "number" and column.kind == "integer":
        return {"type": _or_null("integer", column), "minimum": -_LARGEST, "maximum": _LARGEST}
    if column.type == "category":
        return {"type": _or_null("string", column)}
    is_narrow = signature.passes != "values"
    bounds = {"minimum": -_LARGEST_FLOAT, "maximum": _LARGEST_FLOAT} if is_narrow else {}
    return {"type": _or_null("number", column), **bounds}


def _or_null(kind: str, column: SignatureColumn) -> str | list[str]:
    return [kind, _NULL] if column.nullable else kind


def read_promise(content: str | bytes, name: str) -> tuple[dict[str, object], RequestPromise]:
    """Read a schema from a file and return it with its promise.

    It may be narrower than the output of `request_schema`: bounds and enumerations of a column are allowed.

    Raises:
        PromiseError: With every problem of the schema.
    """
    try:
        schema = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise PromiseError(f"{name} is not JSON: {error}") from error
    problems: list[str] = []
    promise = _promise(schema, name, problems)
    if len(content) > MAX_BYTES:
        problems.append(f"it has {len(content)} bytes, API Gateway accepts {MAX_BYTES}")
    if problems or promise is None:
        raise PromiseError(f"{name} is not a promise of requests as written by mlops api schema: {'; '.join(problems)}")
    return schema, promise


def _promise(schema: Any, name: str, problems: list[str]) -> RequestPromise | None:
    if not isinstance(schema, dict):
        problems.append("it must be a JSON object")
        return None
    if schema.get("$schema") != DRAFT:
        problems.append(f"$schema must be {DRAFT!r}, which API Gateway supports, got {schema.get('$schema')!r}")
    if schema.get("required") != ["instances"]:
        problems.append(f"required must be ['instances'], got {schema.get('required')!r}")
    if schema.get("type") != "object":
        problems.append(f"type must be 'object', got {schema.get('type')!r}")
    found = schema.get("properties")
    instances = found.get("instances") if isinstance(found, dict) else None
    if not isinstance(instances, dict) or instances.get("type") != "array":
        problems.append("properties.instances must have type 'array'")
        return None
    most = instances.get("maxItems")
    if type(most) is not int or most < 1:
        problems.append(f"maxItems of instances must be the maximum rows of a call, got {most!r}")
    if type(instances.get("minItems")) is not int or instances["minItems"] < 1:
        problems.append(f"minItems of instances must be 1 or more, got {instances.get('minItems')!r}")
    items = instances.get("items")
    forms = items.get("anyOf", [items]) if isinstance(items, dict) else []
    rows = [form for form in forms if isinstance(form, dict) and form.get("type") == "object"]
    lists = [form for form in forms if isinstance(form, dict) and form.get("type") == "array"]
    if len(rows) != 1 or len(lists) > 1 or len(rows) + len(lists) != len(forms):
        problems.append("items of instances must be an object, or anyOf an object and an array")
        return None
    columns = tuple(_columns(rows[0], problems))
    arrays = tuple(_array_names(lists[0], {column.name for column in columns}, problems)) if lists else None
    return None if problems else RequestPromise(name=name, columns=columns, arrays=arrays, max_rows=int(most or 0))


def _columns(row: Mapping[str, Any], problems: list[str]) -> Iterator[PromisedColumn]:
    properties, required = row.get("properties"), row.get("required", [])
    if row.get("additionalProperties") is not False:
        problems.append("additionalProperties of a row must be false: a model rejects unknown columns")
    if not isinstance(properties, dict) or not properties:
        problems.append("properties of a row must be its columns")
        return
    if not isinstance(required, list) or any(name not in properties for name in required):
        problems.append(f"required of a row must have names of columns, got {required!r}")
        return
    for name, schema in properties.items():
        kind, is_nullable = _kind(schema)
        if kind is None:
            problems.append(f"column {name!r} must be a number, an integer, a boolean or a string, got {schema!r}")
        else:
            yield PromisedColumn(name=name, kind=kind, is_nullable=is_nullable, is_required=name in required)


def _kind(schema: Any) -> tuple[PromisedKind | None, bool]:
    """Return the kind of values that a column's schema allows, None if unsupported, and whether null is allowed."""
    if not isinstance(schema, dict):
        return None, False
    parts = schema.get("anyOf", [schema])
    types: set[str] = set()
    for part in parts if isinstance(parts, list) else ():
        given = part.get("type") if isinstance(part, dict) else None
        types |= {str(each) for each in (given if isinstance(given, list) else [given])}
    is_nullable = _NULL in types
    kinds: dict[frozenset[str], PromisedKind] = {
        frozenset({"number"}): "number",
        frozenset({"integer"}): "integer",
        frozenset({"number", "integer"}): "number",
        frozenset({"boolean"}): "boolean",
        frozenset({"boolean", "integer"}): "boolean",
        frozenset({"string"}): "text",
        frozenset({"string", "integer"}): "integer text",
    }
    return kinds.get(frozenset(types - {_NULL})), is_nullable


def _array_names(form: Mapping[str, Any], columns: set[str], problems: list[str]) -> Iterator[str]:
    items = form.get("items")
    names = [str(each.get("title")) for each in items if isinstance(each, dict)] if isinstance(items, list) else []
    if set(names) != columns or len(names) != len(columns):
        problems.append("items of an array row must have each column once, with its name as title")
        return
    if (form.get("minItems"), form.get("maxItems")) != (len(names), len(names)):
        problems.append(f"minItems and maxItems of an array row must be {len(names)}")
    yield from names


def promise_problems(promise: RequestPromise, signature: ModelSignature) -> list[str]:
    """Return every reason why a model would reject a request that the promise allows; empty if it accepts all of them.

    Example:
        >>> old = ModelSignature(inputs=(SignatureColumn(name="price", type="number"),), output="units")
        >>> new = ModelSignature(inputs=(*old.inputs, SignatureColumn(name="stock", type="number")), output="units")
        >>> schema = json.dumps(request_schema(old, arrays=False))
        >>> promise_problems(read_promise(schema, "units.schema.json")[1], new)
        ["units.schema.json does not require column 'stock', which the model needs; publish v2"]
    """
    name, keys = promise.name, _key_types(signature)
    promised = {column.name: column for column in promise.columns}
    inputs = {column.name: column for column in signature.inputs}
    found = [
        f"{name} allows column {each!r}, which the model does not have; publish v2"
        for each in promised
        if each not in inputs and each not in keys
    ]
    for each, column in inputs.items():
        if each not in keys:
            found += _column_problems(promised.get(each), column, name)
    for each, kind in keys.items():
        found += _key_problems(promised.get(each), each, kind, name)
    if promise.arrays is not None and promise.arrays != tuple(inputs):
        found.append(_array_problem(promise.arrays, tuple(inputs), name))
    return found


def broken_promises(promises: Sequence[RequestPromise], signature: ModelSignature | None) -> list[str]:
    """Return every reason why a candidate would reject requests that the endpoint's APIs allow; empty if it accepts all.

    Args:
        promises: Promises of the endpoint's APIs.
        signature: The candidate's. Default: its evaluation has none, so that nothing can be compared.

    Example:
        >>> broken_promises([], None)
        []
    """
    if signature is not None:
        return [problem for promise in promises for problem in promise_problems(promise, signature)]
    names = ", ".join(promise.name for promise in promises)
    return [f"its evaluation has no signature to compare with {names}; train or register it again"] if names else []


def _column_problems(promised: PromisedColumn | None, column: SignatureColumn, name: str) -> Iterator[str]:
    is_missing = promised is None or not promised.is_required
    if not column.nullable and is_missing:
        yield f"{name} does not require column {column.name!r}, which the model needs; publish v2"
    if promised is None:
        return
    if not column.nullable and promised.is_nullable:
        yield f"{name} allows null in column {column.name!r}, which the model rejects; publish v2"
    kind = _kind_of(column)
    if promised.kind not in _TAKES.get(kind, (kind,)):
        yield f"{name} declares column {column.name!r} as {_WORDS[promised.kind]}, the model takes {_WORDS[kind]}; publish v2"


def _key_problems(promised: PromisedColumn | None, key: str, kind: str, name: str) -> Iterator[str]:
    if promised is None or not promised.is_required:
        yield f"{name} does not require column {key!r}, by which the model looks features up; publish v2"
    if promised is None:
        return
    if promised.is_nullable:
        yield f"{name} allows null in column {key!r}, by which the model looks features up; publish v2"
    wanted: PromisedKind = "integer" if _KEYS[kind]["type"] == "integer" else "text"
    if promised.kind != wanted:
        message = f"{name} declares column {key!r} as {_WORDS[promised.kind]}"
        yield f"{message}, the model looks features up by {_WORDS[wanted]}; publish v2"


def _kind_of(column: SignatureColumn) -> PromisedKind:
    if column.type == "category":
        return "integer text" if column.kind == "integer" else "text"
    return column.kind if column.kind in ("integer", "boolean") else "number"


def _array_problem(promised: Sequence[str], inputs: Sequence[str], name: str) -> str:
    if len(promised) != len(inputs):
        return f"{name} allows rows as arrays of {len(promised)} values, the model takes {len(inputs)}; publish v2"
    at = next(place for place, pair in enumerate(zip(promised, inputs, strict=True)) if pair[0] != pair[1])
    return (
        f"{name} allows rows as arrays with {promised[at]!r} as value {at + 1}, the model takes {inputs[at]!r} there; "
        "keep the order of columns, or publish v2"
    )
