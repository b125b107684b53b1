"""Look up features by key in a model server. Columns of a request take precedence; missing features are null and counted."""

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as LateError
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Literal

from mlops_runtime.contracts.feature_service import FeatureLookup, ServedGroup
from mlops_runtime.contracts.model import ModelSignature, SignatureColumn
from mlops_runtime.features.column_type import ColumnType
from mlops_runtime.features.online_items import (
    EPOCH,
    MICROSECOND,
    ROW,
    Item,
    OnlineRows,
    OnlineStoreError,
    counts,
    json_value,
    key_problem,
    whole_key,
)
from mlops_runtime.serving.request_payload import PayloadError
from mlops_runtime.serving.served_model import ModelError

_CALLS = 64
_SECOND = 1_000_000  # in microseconds
_INTEGERS = {"int": 31, "long": 63}  # bits without the sign
_FORMS = {
    "string": "text",
    "int": "a 32-bit integer",
    "long": "a 64-bit integer",
    "date": "a date such as 2017-01-02",
    "timestamp": "a time with a zone such as 2017-01-02T00:00:00Z",
}
_INPUTS = ("boolean", "int", "long", "float", "double", "decimal", "string")

_log = logging.getLogger("mlops.serving")


class LookupUnavailableError(TimeoutError):
    """Features were not read in time, and the model does not accept nulls."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LookedUp:
    """Instances with their features; ``missing`` counts pairs of instance and group without valid features."""

    instances: list[Any]
    missing: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Group:
    """A group prepared for lookups; ``columns`` are name in the model, name in the group and type."""

    table: str
    keys: tuple[tuple[str, str], ...]  # names in requests, and types
    columns: tuple[tuple[str, str, str], ...]
    ttl: int | None
    bound: Literal["inclusive", "exclusive"]

    def lacks(self, instance: Mapping[str, Any]) -> bool:
        """Return whether an instance omits a column of the group."""
        return any(column not in instance for column, _, _ in self.columns)


class FeatureLookups:
    """Look up the features of a model's feature service for the instances of a request.

    Args:
        lookup: Lookup of the model's signature.
        signature: The model's signature.
        rows: The online store.
        clock: Seconds since 1970, which decide whether rows have expired. Default: the system's.

    Raises:
        ModelError: If a column cannot be looked up, with every problem.
    """

    def __init__(
        self,
        lookup: FeatureLookup,
        signature: ModelSignature,
        rows: OnlineRows,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        problems = lookup_problems(lookup, signature)
        if problems:
            raise ModelError("; ".join(problems))
        self._rows, self._clock = rows, clock
        self._seconds, self._allows_nulls = lookup.budget_milliseconds / 1000, lookup.allows_nulls
        inputs = {column.name for column in signature.inputs}
        found = (_group(group, lookup.keys, inputs) for group in lookup.service.groups)
        self._groups = [group for group in found if group.columns]
        # keys that are not model inputs are not passed to the model
        self._extra = {name for group in self._groups for name, _ in group.keys} - inputs
        self._pool = ThreadPoolExecutor(_CALLS, "features")

    @classmethod
    def dynamodb(cls, lookup: FeatureLookup, signature: ModelSignature, table: str) -> "FeatureLookups":
        """Create lookups in a DynamoDB table, with the credentials and the region of the process.

        Args:
            lookup: Lookup of the model's signature.
            signature: The model's signature.

        Raises:
            ModelError: As in the class.
        """
        # imported here because they take as long to load as everything else, and most servers look nothing up
        import boto3  # noqa: PLC0415
        from botocore.config import Config  # noqa: PLC0415

        from mlops_runtime.features.online_rows import DynamoRows  # noqa: PLC0415

        limits = Config(connect_timeout=1, read_timeout=1, retries={"max_attempts": 1}, max_pool_connections=_CALLS)
        return cls(lookup, signature, DynamoRows(boto3.client("dynamodb", config=limits), table))

    def fill(self, instances: list[Any]) -> LookedUp:
        """Return instances with omitted columns filled in; arrays always have all columns and are not changed.

        Raises:
            PayloadError: 400 if a key has another type.
            LookupUnavailableError: If features could not be read, or not in time, and nulls are not allowed.
        """
        requested: list[tuple[dict[str, Any], _Group, str | None]] = []
        filled: list[Any] = []
        problems: list[str] = []
        for index, instance in enumerate(instances):
            if not isinstance(instance, dict):
                filled.append(instance)
                continue
            whole = {name: value for name, value in instance.items() if name not in self._extra}
            filled.append(whole)
            place = f"instances[{index}]"
            requested += [(whole, g, _key(g, instance, place, problems)) for g in self._groups if g.lacks(instance)]
        if not problems:
            problem = key_problem([key for _, _, key in requested if key is not None])
            problems += [] if problem is None else [problem]
        if problems:
            raise PayloadError(400, problems)
        found = self._read(list(dict.fromkeys(key for _, _, key in requested if key is not None)))
        instant, missing = int(self._clock() * _SECOND), 0
        for whole, group, key in requested:
            item = None if key is None else found.get(key)
            if item is not None and not counts(item, instant, group.ttl, group.bound):
                item = None
            missing += item is None
            cells: Mapping[str, Any] = {} if item is None else item[ROW]["M"]
            for column, name, kind in group.columns:
                if column not in whole:
                    value = json_value(kind, cells[name]) if name in cells else None
                    whole[column] = float(value) if isinstance(value, bool) else value
        return LookedUp(instances=filled, missing=missing)

    def _read(self, keys: Sequence[str]) -> dict[str, Item]:
        if not keys:
            return {}
        reading = self._pool.submit(self._rows.read, keys, consistent=False)
        try:
            return reading.result(self._seconds)
        except LateError:
            problem = f"features were not read within {self._seconds * 1000:g} ms"
        except OnlineStoreError as error:
            problem = f"features were not read: {error}"
        reading.cancel()
        _log.warning("%s", problem)
        if self._allows_nulls:
            return {}
        raise LookupUnavailableError(problem.partition(":")[0])


def lookup_problems(lookup: FeatureLookup, signature: ModelSignature) -> list[str]:
    """Return every problem of a signature's lookup."""
    spec = lookup.service
    offered = {f"{g.prefix}__{f.name}": f for g in spec.groups for f in g.features}
    inputs = {column.name: column for column in signature.inputs}
    name = f"feature service {spec.name!r} version {spec.version}"
    problems = []
    if not set(offered) & set(inputs):
        problems.append(f"the model takes no column of {name}: {', '.join(offered)}")
    for column in (column for column in signature.inputs if column.name in offered):
        kind = offered[column.name].type
        problem = _type_problem(kind, column)
        problems += [] if problem is None else [f"column {column.name!r} is looked up, and {problem}"]
        if not column.nullable:
            problems.append(f'column {column.name!r} is looked up, so it may be missing; set "nullable": true')
    keys = {column for group in spec.groups for column in group.key_columns.values()}
    unknown = sorted(set(lookup.keys) - keys)
    problems += [f"lookup names key {key!r}, {name} has {', '.join(sorted(keys))}" for key in unknown]
    if lookup.budget_milliseconds < 1:
        problems.append(f"budget_milliseconds must be at least 1, got {lookup.budget_milliseconds}")
    return problems


def _type_problem(kind: str, column: SignatureColumn) -> str | None:
    base = ColumnType.of(kind).base
    if base not in _INPUTS:
        return f"a {kind} cannot be an input of a model; use one of {', '.join(_INPUTS)}"
    wanted = _INTEGERS if column.type == "category" and column.kind == "integer" else ("string",)
    is_category = column.type == "category"
    if (is_category and base in wanted) or (not is_category and base != "string"):
        return None
    return f"a {kind} is not a {column.type}"


def _group(group: ServedGroup, keys: Mapping[str, str], inputs: set[str]) -> _Group:
    held = group.key_columns
    columns = ((f"{group.prefix}__{feature.name}", feature) for feature in group.features)
    return _Group(
        table=group.table,
        keys=tuple((keys.get(held[entity.name], held[entity.name]), entity.type) for entity in group.entities),
        columns=tuple((column, feature.name, feature.type) for column, feature in columns if column in inputs),
        ttl=None if group.ttl_seconds is None else round(group.ttl_seconds * _SECOND),
        bound=group.ttl_bound or "inclusive",
    )


def _key(group: _Group, instance: Mapping[str, Any], place: str, problems: list[str]) -> str | None:
    """Return an instance's item key; None if part of it is missing."""
    values = []
    for name, kind in group.keys:
        value = instance.get(name)
        if value is not None:
            plain = _plain(kind, value)
            if plain is None:
                problems.append(f"{place}.{name} must be {_FORMS[kind]}, got {json.dumps(value)[:60]}")
            values.append(plain)
    return whole_key(group.table, values) if len(values) == len(group.keys) and None not in values else None


def _plain(kind: str, value: Any) -> str | int | None:
    """Return a key's value as item keys store it; None if it has another type."""
    if kind in _INTEGERS:
        is_whole = isinstance(value, int) and not isinstance(value, bool)
        return value if is_whole and -(2 ** _INTEGERS[kind]) <= value < 2 ** _INTEGERS[kind] else None
    if not isinstance(value, str):
        return None
    if kind == "string":
        return value
    try:
        if kind == "date":
            return (date.fromisoformat(value) - EPOCH.date()).days
        at = datetime.fromisoformat(value)
    except ValueError:
        return None
    return None if at.utcoffset() is None else (at - EPOCH) // MICROSECOND
