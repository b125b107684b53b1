"""Items of the online store: their keys, order and values, for what has pyarrow and what has not. Standard library only."""

import json
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal, Protocol

from mlops_runtime.features.column_type import ColumnType, FeatureType
from mlops_runtime.features.feature_group import CREATED_TIME, EVENT_TIME, INGEST_ID

Item = dict[str, Any]
KEY, ORDER, ROW, EXPIRES = "entity", "version", "row", "expires"
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html
MAXIMUM_KEY_BYTES = 2048
SECOND = 1_000_000  # in microseconds
MICROSECOND = timedelta(microseconds=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# of what is out already, beside the items of entities: no feature table has such a name
PUBLISHED = "#published"
# changed by each erasure, by which the store refuses the rows of who read the table before
ERASED = "#erased"
_NULL = {"NULL": True}
_LOWEST = 1 << 63  # makes 64-bit times count from zero, so that digits sort as they do


class OnlineStoreError(ValueError):
    """Rows, keys or the online table are not as needed; the message lists every problem."""


class ErasedMeanwhileError(OnlineStoreError):
    """An erasure rewrote the table after the rows were read; none of them was written. Read them again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """What a table's rows are read in, from one erasure to the next. It is read before the rows."""

    key: str
    value: str | None

    @classmethod
    def of(cls, table: str, item: Item | None) -> "Generation":
        """Return the generation that an item says; without one no erasure was there yet."""
        return cls(key=generation_key(table), value=None if item is None else item[ORDER]["S"])


def generation_key(table: str) -> str:
    """Return the key of the item that says a table's generation."""
    return f"{ERASED}/{table}"


class OnlineRows(Protocol):
    """Where items lie: DynamoDB, or a file. Safe to use from several threads."""

    def read(self, keys: Sequence[str], *, consistent: bool) -> dict[str, Item]:
        """Return the items that there are of some keys, each given once."""

    def put(self, items: Sequence[Item], generation: Generation | None = None) -> int:
        """Write items, each unless there is one of its key with the same order or a later one; return how many were written.

        With ``generation`` none is written after it has ended.

        Raises:
            ErasedMeanwhileError: If it has.
        """

    def replace(self, item: Item) -> None:
        """Write an item, also over one that is there."""

    def lower(self, key: str, order: str) -> None:
        """Give an item another order if its own sorts after that; a missing one is ignored."""

    def delete(self, key: str, *, order: str | None = None, before: str | None = None) -> bool:
        """Delete an item, with ``order`` only if it has this one, with ``before`` if its ingest id sorts before that.

        Return whether it was there.
        """

    def all_keys(self) -> Iterator[str]:
        """Return the keys of all items."""

    def settle(self) -> None:
        """Make sure that nothing of what was deleted is left in any file."""


def whole_key(table: str, values: Sequence[object]) -> str:
    """Return the key of an item of a feature table from all values of its key."""
    return f"{table}/{json.dumps(values, ensure_ascii=False, separators=(',', ':'))}"


def is_of(key: str, values: Sequence[object]) -> bool:
    """Return whether an item's key has the values, wherever one is given."""
    parts = json.loads(key.partition("/")[2])
    return len(parts) == len(values) and all(v is None or v == part for v, part in zip(values, parts, strict=True))


def key_problem(keys: Sequence[str]) -> str | None:
    """Return what is wrong with keys that are longer than DynamoDB takes."""
    too_long = [key for key in keys if len(key) > MAXIMUM_KEY_BYTES // 4 and len(key.encode()) > MAXIMUM_KEY_BYTES]
    if not too_long:
        return None
    return f"{len(too_long)} keys have more than {MAXIMUM_KEY_BYTES} bytes, one is {too_long[0][:80]!r}..."


def order_of(event: int, created: int, ingest: str) -> str:
    """Return a text that sorts, by its bytes, as (event time, created time, ingest id) do."""
    return f"{event + _LOWEST:020d}/{created + _LOWEST:020d}/{ingest}"


def ingests_after(sequence: int) -> str:
    """Return what sorts after the ids of ingests up to a sequence number, and not after later ones."""
    return f"{sequence + 1:019d}"


def expiry(event: int, ttl: int) -> dict[str, str]:
    """Return the second after the last one in which an item counts; reads decide exactly."""
    return {"N": str((event + ttl) // SECOND + 1)}


def attribute(kind: FeatureType, value: Any) -> Mapping[str, Any]:
    """Return the attribute of a plain value: times as microseconds since 1970, dates as days, floats as their bits."""
    if value is None:
        return _NULL
    said = ColumnType.of(kind)
    if said.base == "list":
        return {"L": [attribute(said.element, each) for each in value]}
    if said.base == "vector":
        return {"B": struct.pack(f">{said.length}i", *value)}
    return _ATTRIBUTES[said.base](value)


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
    """Return what ``attribute`` took; a column that was widened since reads what was written before."""
    if "NULL" in cell:
        return None
    said = ColumnType.of(kind)
    if said.base == "list":
        return [plain_value(said.element, each) for each in cell["L"]]
    if said.base == "vector":
        return list(struct.unpack(f">{said.length}i", bytes(cell["B"])))
    if said.base == "binary":
        return bytes(cell["B"])
    if said.base == "decimal":
        return Decimal(cell["N"])
    if "B" not in cell:
        return next(iter(cell.values())) if kind in ("boolean", "string") else int(cell["N"])
    content = bytes(cell["B"])
    if kind == "double" and len(content) == 4:
        content = struct.pack(">d", struct.unpack(">f", content)[0])
    return struct.unpack(">i" if len(content) == 4 else ">q", content)[0]


def json_value(kind: FeatureType, cell: Mapping[str, Any]) -> Any:
    """Return a boolean, number or text as a request to a model has it; NaN and infinities as they are.

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
    """Return whether an item counts at a time: it is visible, and not older than the time to live.

    Args:
        item: The item.
        instant: The time, in microseconds since 1970.
        ttl: The time to live in microseconds. ``None``: no limit.
        bound: Whether its last instant counts.
    """
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
    """Return the item that says up to which sequence number the rows of a table are out."""
    return {KEY: {"S": mark_key(table)}, ORDER: {"S": mark_order(sequence)}, INGEST_ID: {"S": uuid}}


def mark_key(table: str) -> str:
    """Return the key of a table's mark."""
    return f"{PUBLISHED}/{table}"


def mark_order(sequence: int) -> str:
    """Return the order of a mark, which sorts as the sequence number does."""
    return f"{sequence:019d}"


def mark_of(item: Item | None, uuid: str) -> int:
    """Return the sequence number that a mark says of a table; 0 without one, and where the table was made again since."""
    return 0 if item is None or item[INGEST_ID]["S"] != uuid else int(item[ORDER]["S"])
