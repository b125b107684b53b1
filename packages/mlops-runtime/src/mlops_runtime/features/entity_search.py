"""Search for an entity's rows, in tables by the types of their keys, and in files of training sets."""

import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyiceberg.expressions import BooleanExpression
from pyiceberg.table import Table

from mlops_runtime.contracts.features import TrainingSetManifest
from mlops_runtime.features.column_type import FeatureType
from mlops_runtime.features.iceberg_tables import feature_types, same_entity
from mlops_runtime.features.row_hashing import logical_type
from mlops_runtime.features.source import reading
from mlops_runtime.features.table_description import TableMeaning
from mlops_runtime.features.table_types import arrow_types
from mlops_runtime.features.training_set_manifest import Objects

_KINDS: Mapping[str, Callable[[str], object]] = {
    "date": date.fromisoformat,
    "datetime": datetime.fromisoformat,
    "int": int,
    "str": str,
}


class ErasureError(ValueError):
    """Nothing was erased; the message has the reason."""


def meaning(table: Table) -> TableMeaning:
    """Return the meaning of a feature table by its properties."""
    return TableMeaning.of(table.name()[-1], table.properties)


def conditions(tables: Sequence[Table], entity: Mapping[str, object]) -> dict[str, BooleanExpression]:
    """Return the condition for the entity's rows, by table whose keys have the types of the values, or of the values' strings.

    Raises:
        ErasureError: If no table has the keys, or not with the values' types.
    """
    having = [table for table in tables if entity and set(entity) <= set(meaning(table).entities)]
    if not having:
        known = "; ".join(f"{t.name()[-1]}: {', '.join(meaning(t).entities)}" for t in tables)
        raise ErasureError(f"no table has the key {', '.join(entity) or '(empty)'}; there are {known or 'no tables'}")
    found, others = {}, []
    for table in having:
        name, types = table.name()[-1], feature_types(table)
        keys = {key: _as_key(types[key], value) for key, value in entity.items()}
        wrong = [key for key, value in keys.items() if value is None]
        others += [f"{key!r} of {name} is {types[key]}, got {entity[key]!r}" for key in wrong]
        if not wrong:
            found[name] = same_entity(keys)
    if not found:
        raise ErasureError(f"keys compare exactly by type: {'; '.join(others)}; times need a zone")
    return found


def spelled(manifest: TrainingSetManifest, entity: Mapping[str, object]) -> list[Mapping[str, object]]:
    """Return the entity by the columns that may contain it in a set's files: key columns, and columns joined on instead."""
    others = [pinned.key_columns for pinned in manifest.features if pinned.keys and set(entity) <= set(pinned.entities)]
    return [entity, *({columns[name]: value for name, value in entity.items()} for columns in others)]


def respelled(entity: Mapping[str, object], joined: Iterable[Mapping[str, str]]) -> list[Mapping[str, object]]:
    """Return the entity by its keys, and by all columns that were ever joined on instead.

    Example:
        >>> respelled({"store_id": "7"}, [{"store_id": "home_store"}, {"sku": "article"}])
        [{'store_id': '7'}, {'home_store': '7'}]
    """
    others = [columns for columns in joined if set(columns) & set(entity)]
    return [entity, *({columns.get(name, name): value for name, value in entity.items()} for columns in others)]


def holds(objects: Objects, key: str | None, spellings: Iterable[Mapping[str, object]]) -> bool:
    """Return whether a Parquet file contains rows of an entity, by any of the given column names."""
    content = None if key is None else objects.get(key)
    if key is None or content is None:
        return False
    with reading(objects.uri(key)):
        rows = pq.read_table(io.BytesIO(content))
    return any(_is_in(rows, entity) for entity in spellings)


def _is_in(rows: pa.Table, entity: Mapping[str, object]) -> bool:
    if not set(entity) <= set(rows.column_names):
        return False
    mask = pa.scalar(True)
    for name, value in entity.items():
        column = rows[name]
        plain = logical_type(column.type)
        kind = arrow_types(pa.schema([(name, plain)])).get(name)
        wanted = None if kind is None else _as_key(kind, value)
        if wanted is None:
            return False
        mask = pc.and_(mask, pc.equal(column.cast(plain), pa.scalar(wanted, plain)))
    return bool(pc.any(mask).as_py())


def spelt(entity: Mapping[str, object]) -> dict[str, str]:
    """Return an entity as typed strings, which ``read`` converts back."""
    # also subclasses, such as values of numpy and pandas; datetime before date, its base class
    kinds = {str: "str", int: "int", datetime: "datetime", date: "date"}
    named = {name: next(kinds[kind] for kind in kinds if isinstance(value, kind)) for name, value in entity.items()}
    return {name: f"{named[name]}:{value}" for name, value in entity.items()}


def read(spelling: Mapping[str, str]) -> dict[str, object]:
    """Return the entity from the strings of ``spelt``.

    Example:
        >>> read(spelt({"store_id": 7, "day": date(2017, 1, 1)}))
        {'store_id': 7, 'day': datetime.date(2017, 1, 1)}
    """
    parts = {name: text.partition(":") for name, text in spelling.items()}
    return {name: _KINDS[kind](value) for name, (kind, _, value) in parts.items()}


def _as_key(kind: FeatureType, value: object) -> object | None:
    """Return a value, or its string, as a key of a type; ``None`` if it is not one."""
    if isinstance(value, str) and kind != "string":
        reads: dict[str, Callable[[str], object]] = {"date": date.fromisoformat, "timestamp": datetime.fromisoformat}
        try:
            value = reads.get(kind, int)(value)
        except ValueError:
            return None
    if isinstance(value, datetime):
        fits = kind == "timestamp" and value.utcoffset() is not None
    elif isinstance(value, int) and not isinstance(value, bool):
        bits = {"int": 31, "long": 63}.get(kind, 0)
        fits = bits > 0 and -(2**bits) <= value < 2**bits
    else:
        fits = (kind == "date" and isinstance(value, date)) or (kind == "string" and isinstance(value, str))
    return value if fits else None
