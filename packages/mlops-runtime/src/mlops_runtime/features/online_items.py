"""Items of the online store: keys, order and values. Standard library only, for readers without pyarrow."""

import json
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

from mlops_runtime.features.column_type import ColumnType, FeatureType
from mlops_runtime.features.feature_group import CREATED_TIME, EVENT_TIME, INGEST_ID

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

Item: TypeAlias = dict[str, "AttributeValueTypeDef"]
KEY, ORDER, ROW, EXPIRES = "entity", "version", "row", "expires"
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html
MAXIMUM_KEY_BYTES = 2048
SECOND = 1_000_000  # in microseconds
MICROSECOND = timedelta(microseconds=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# key prefixes of items that are not of entities; no feature table has such a name
PUBLISHED = "#published"  # a table's publication mark
ERASED = (
    "#erased"  # a table's generation, changed by each erasure so that the store rejects rows that were read before it
)
_NULL = {"NULL": True}
_LOWEST = 1 << 63  # shifts 64-bit times to non-negative numbers, whose digits sort in the same order


class OnlineStoreError(ValueError):
    """Rows, keys or the online table are invalid, or a request failed; the message lists every problem."""


class ErasedMeanwhileError(OnlineStoreError):
    """An erasure rewrote the table after the rows were read; none of them was written. Read the rows again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """The generation of a table's rows, which ends with an erasure. Read it before the rows."""

    key: str
    value: str | None

    @classmethod
    def of(cls, table: str, item: Item | None) -> "Generation":
        """Return the generation stored in an item; without an item no erasure has occurred."""
        return cls(key=generation_key(table), value=None if item is None else item[ORDER]["S"])


def generation_key(table: str) -> str:
    """Return the key of the item that stores a table's generation."""
    return f"{ERASED}/{table}"


class OnlineRows(Protocol):
    """Storage of items: DynamoDB or a file. Thread-safe."""

    def read(self, keys: Sequence[str], *, consistent: bool) -> dict[str, Item]:
        """Return the existing items of distinct keys."""

    def put(self, items: Sequence[Item], generation: Generation | None = None) -> int:
        """Write items, each unless its key has an item with the same or a later order; return the number of written items.

        With ``generation``, nothing is written after its end.

        Raises:
            ErasedMeanwhileError: If the generation has ended.
        """

    def replace(self, item: Item) -> None:
        """Write an item, replacing an existing one."""

    def lower(self, key: str, order: str) -> None:
        """Lower the order of an item if its order is later; a missing item is ignored."""

    def delete(self, key: str, *, order: str | None = None, before: str | None = None) -> bool:
        """Delete an item; with ``order`` only if it has this order, with ``before`` only if its ingest id sorts before.

        Return whether an item was deleted.
        """

    def all_keys(self) -> Iterator[str]:
        """Yield the keys of all items."""

    def settle(self) -> None:
        """Ensure that no file contains deleted items."""


def whole_key(table: str, values: Sequence[object]) -> str:
    """Return the item key of a feature table's row, from all values of its key."""
    return f"{table}/{json.dumps(values, ensure_ascii=False, separators=(',', ':'))}"


def is_of(key: str, values: Sequence[object]) -> bool:
    """Return whether an item's key has the given values; ``None`` matches any value."""
    parts = json.loads(key.partition("/")[2])
    return len(parts) == len(values) and all(v is None or v == part for v, part in zip(values, parts, strict=True))


def key_problem(keys: Sequence[str]) -> str | None:
    """Return the problem of keys that exceed DynamoDB's maximum length, if there are any."""
    too_long = [key for key in keys if len(key) > MAXIMUM_KEY_BYTES // 4 and len(key.encode()) > MAXIMUM_KEY_BYTES]
    if not too_long:
        return None
    return f"{len(too_long)} keys have more than {MAXIMUM_KEY_BYTES} bytes, one is {too_long[0][:80]!r}..."


def order_of(event: int, created: int, ingest: str) -> str:
    """Return a string whose byte order is that of (event time, created time, ingest id)."""
    return f"{event + _LOWEST:020d}/{created + _LOWEST:020d}/{ingest}"


def ingests_after(sequence: int) -> str:
    """Return a string that sorts after the ids of ingests up to a sequence number, and not after later ones."""
    return f"{sequence + 1:019d}"


def expiry(event: int, ttl: int) -> "AttributeValueTypeDef":
    """Return the TTL attribute of an item, the second after its last valid one; reads check exactly."""
    return {"N": str((event + ttl) // SECOND + 1)}


def attribute(kind: FeatureType, value: Any) -> Mapping[str, Any]:
    """Return the attribute of a plain value: times as microseconds since 1970, dates as days, floats as their bits."""
    if value is None:
        return _NULL
    column_type = ColumnType.of(kind)
    if column_type.base == "list":
        return {"L": [attribute(column_type.element, each) for each in value]}
    if column_type.base == "vector":
        return {"B": struct.pack(f">{column_type.length}i", *value)}
    return _ATTRIBUTES[column_type.base](value)


_ATTRIBUTES: dict[str, Callable[[Any], dict[str, object]]] = {
    "boolean": lambda value: {"BOOL": value},
    "int": lambda value: {"N": str(value)},
    "long": lambda value: {"N": str(value)},
    "date": lambda value: {"N": str(value)},
    "timestamp": lambda value: {"N": str(value)},
    "string": lambda value: {"S": value},
    "binary": lambda value: {"B": value},
    "decimal": lambda value: {"N": str(value)},
    "float": lambda bits: {"B": struct.pack(">i", bits)},
    "double": lambda bits: {"B": struct.pack(">q", bits)},
}


def plain_value(kind: FeatureType, cell: Mapping[str, Any]) -> Any:
    """Return the plain value of an attribute; supports values written before a column was widened."""
    if "NULL" in cell:
        return None
    column_type = ColumnType.of(kind)
    if column_type.base == "list":
        return [plain_value(column_type.element, each) for each in cell["L"]]
    if column_type.base == "vector":
        return list(struct.unpack(f">{column_type.length}i", bytes(cell["B"])))
    if column_type.base == "binary":
        return bytes(cell["B"])
    if column_type.base == "decimal":
        return Decimal(cell["N"])
    if "B" not in cell:
        return next(iter(cell.values())) if kind in ("boolean", "string") else int(cell["N"])
    content = bytes(cell["B"])
    if kind == "double" and len(content) == 4:
        content = struct.pack(">d", struct.unpack(">f", content)[0])
    return struct.unpack(">i" if len(content) == 4 else ">q", content)[0]


def json_value(kind: FeatureType, cell: Mapping[str, Any]) -> Any:
    """Return a boolean, number or string for a model's request; NaN and infinities as floats.

    Example:
        >>> json_value("double", {"B": struct.pack(">d", 0.5)}), json_value("decimal(4,2)", {"N": "1.25"})
        (0.5, 1.25)
    """
    if "NULL" in cell:
        return None
    if "B" in cell:
        content = bytes(cell["B"])
        return struct.unpack(">f" if len(content) == 4 else ">d", content)[0]
    if "N" in cell:
        return float(cell["N"]) if kind.startswith("decimal") else int(cell["N"])
    return next(iter(cell.values()))


def counts(item: Item, instant: int, ttl: int | None, bound: Literal["inclusive", "exclusive"]) -> bool:
    """Return whether an item counts at a time: visible, and not older than the time to live; times are in microseconds."""
    event, created = int(item[EVENT_TIME]["N"]), int(item[CREATED_TIME]["N"])
    if max(event, created) > instant:
        return False
    if ttl is None:
        return True
    age = instant - event
    return age <= ttl if bound == "inclusive" else age < ttl


def microseconds(at: datetime) -> int:
    """Return a time in microseconds since 1970.

    Raises:
        OnlineStoreError: If it has no time zone.
    """
    if at.tzinfo is None:
        raise OnlineStoreError(f"now must have a time zone, got {at!r}")
    return (at - EPOCH) // MICROSECOND


def mark_item(table: str, uuid: str, sequence: int) -> Item:
    """Return the item that stores up to which sequence number a table's rows are published."""
    return {KEY: {"S": mark_key(table)}, ORDER: {"S": mark_order(sequence)}, INGEST_ID: {"S": uuid}}


def mark_key(table: str) -> str:
    """Return the key of a table's mark."""
    return f"{PUBLISHED}/{table}"


def mark_order(sequence: int) -> str:
    """Return the order of a mark, which sorts like the sequence number."""
    return f"{sequence:019d}"


def mark_of(item: Item | None, uuid: str) -> int:
    """Return the sequence number of a table's mark; 0 without a mark, or if the table was recreated since."""
    return 0 if item is None or item[INGEST_ID]["S"] != uuid else int(item[ORDER]["S"])
