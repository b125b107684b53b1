"""Declarations of feature groups: entities, features with their constraints, and time to live. Standard library only."""

import operator
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Literal
from zoneinfo import ZoneInfo

from mlops_runtime.features.column_type import ColumnType, ColumnTypeError, FeatureType


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """Type of a declared field, its wording in messages, and whether ``None`` is allowed."""

    type: type
    wording: str
    is_optional: bool = False

    def holds(self, value: object) -> bool:
        """Return whether a value has the field's type; a bool is not an int."""
        if value is None:
            return self.is_optional
        return isinstance(value, self.type) and (self.type is bool or not isinstance(value, bool))


TEXT = Kind(type=str, wording="a str")
OPTIONAL_TEXT = Kind(type=str, wording="a str", is_optional=True)
FLAG = Kind(type=bool, wording="True or False")
VERSION = Kind(type=int, wording="a whole number, at least 1")
SPAN = Kind(type=timedelta, wording="a timedelta such as timedelta(days=14)")
OPTIONAL_SPAN = Kind(type=timedelta, wording=SPAN.wording, is_optional=True)


def wrong_fields(declared: object, kinds: Mapping[str, Kind]) -> dict[str, str]:
    """Return a problem for each field whose value has another type, by name of the field.

    Example:
        >>> wrong_fields(timedelta(1), {"days": TEXT, "seconds": VERSION})
        {'days': 'days must be a str, got 1'}
    """
    values = {name: getattr(declared, name) for name in kinds}
    return {
        name: f"{name} must be {kind.wording}, got {values[name]!r}" + ("; omit it for none" * kind.is_optional)
        for name, kind in kinds.items()
        if not kind.holds(values[name])
    }


def tuple_problem(name: str, value: object, kind: type) -> str | None:
    """Return a problem unless the value is a tuple of a type; the comma of a one-element tuple is easily forgotten.

    Example:
        >>> tuple_problem("entities", 5, int), tuple_problem("entities", (5,), int)
        ('entities must be a tuple of int, got one int without a comma; write entities=(int(...),)', None)
    """
    if isinstance(value, kind):
        return (
            f"{name} must be a tuple of {kind.__name__}, got one {kind.__name__} without a comma; "
            f"write {name}=({kind.__name__}(...),)"
        )
    if not isinstance(value, tuple):
        fix = (
            f"; write {name}=({kind.__name__}(...), ...)" if not isinstance(value, list) else "; write (...), not [...]"
        )
        return f"{name} must be a tuple of {kind.__name__}, got {_short(value)}{fix}"
    others = [_short(each) for each in value if not isinstance(each, kind)]
    if others:
        return f"{name} must contain only {kind.__name__}(...), got {', '.join(others)}"
    return None


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:79]}…"


Bound = int | float | Decimal | date | datetime
Value = bool | int | float | Decimal | str | date | datetime

EVENT_TIME = "event_time"
CREATED_TIME = "created_time"
INGEST_ID = "ingest_id"
RESERVED = (EVENT_TIME, CREATED_TIME, INGEST_ID)
VECTOR = "mlops.vector."  # prefix of the table property that stores the length of a vector
_ROW_ID = "row_id"
_LONGEST = timedelta(days=36_525)  # a longer span could reach years that datetime does not support

_ENTITY_TYPES = ("string", "int", "long", "date", "timestamp")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_CHOICES = {
    "ttl_bound": ("inclusive", "exclusive"),
    "finer_times": ("refuse", "truncate"),
    "partition": ("month", "day"),
}
_FIELDS = {
    "name": TEXT,
    "owner": TEXT,
    "description": TEXT,
    "event_time": TEXT,
    "ttl": OPTIONAL_SPAN,
    "version": VERSION,
    "time_zone": OPTIONAL_TEXT,
    "lead": SPAN,
    "freshness": OPTIONAL_SPAN,
    "online": FLAG,
}
_ENTITY_FIELDS = {"name": TEXT, "description": TEXT}
_FEATURE_FIELDS = _ENTITY_FIELDS | {"nullable": FLAG}
_TAG = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_VERSION_SUFFIX = re.compile(r"_v\d+$")
_BOUNDED = ("int", "long", "float", "double", "decimal", "date", "timestamp")
_LISTED = ("boolean", "string", *_BOUNDED)  # types that support a list of allowed values
# Syntax of Python's re that RE2, which checks batches, does not support: https://github.com/google/re2/wiki/Syntax
_NOT_IN_RE2 = re.compile(
    r"""(?P<syntax> \\[1-9ZuUN] | \(\?(?:P=|<[=!]|[=!>(\#]|[a-zA-Z-]*[aLux]) | [*+?}]\+ | \{(?:\d*,)?(?!1000\D)\d{4,} )
    | \\. | \[\^?\]?(?:\\.|[^\]\\])*\]        # escaped characters and classes are not syntax""",
    re.VERBOSE | re.DOTALL,
)

# Properties of every feature table: merge the manifests of small batches, limit the log of previous metadata files, and write small
# row groups, most of which a lookup of few keys skips because rows are sorted by key.
# See: https://iceberg.apache.org/docs/latest/configuration/#table-behavior-properties
WRITE_PROPERTIES = {
    "commit.manifest-merge.enabled": "true",
    "commit.manifest.min-count-to-merge": "8",
    "write.metadata.previous-versions-max": "16",
    "write.parquet.row-group-limit": "131072",
}


class FeatureGroupError(ValueError):
    """A feature group's declaration is invalid; the message lists every problem."""


@dataclass(frozen=True, slots=True)
class Entity:
    """One column of a group's key. Never null.

    Args:
        name: Column name, lower case.
        type: ``string``, ``int``, ``long``, ``date`` or ``timestamp``; equality of floats is too unreliable for a key.
        description: What it identifies.
    """

    name: str
    type: FeatureType
    description: str


@dataclass(frozen=True, slots=True)
class Feature:
    """One feature, or one label.

    Args:
        name: Column name, lower case.
        type: ``boolean``, ``int`` (32 bits), ``long``, ``float`` (32 bits), ``double``, ``string``, ``date``, ``timestamp`` (UTC,
            in microseconds), ``binary``, ``decimal(p,s)`` of up to 38 digits, ``list<type>`` of one of the types before ``binary``,
            with nullable elements, or ``vector(n)`` of n 32-bit floats, such as an embedding.
        description: What it measures, with its unit.
        nullable: Whether the value may be null. Default: ``False``. Null satisfies every constraint, NaN none.
        minimum: Least value: a number for numeric types, a ``Decimal`` or ``int`` for decimals, a ``date`` for dates, a
            ``datetime`` with a time zone for timestamps; not supported for binary, lists and vectors. Default: no bound.
        maximum: Greatest value, as ``minimum``. Default: no bound.
        allowed: The allowed values, of the feature's type; not supported for binary, lists and vectors. Default: all values.
        pattern: Regular expression that the whole string must match, in the syntax that Python and RE2 share; its classes of digits
            and letters are ASCII. Default: any string.
    """

    name: str
    type: FeatureType
    description: str
    nullable: bool = field(default=False, kw_only=True)
    minimum: Bound | None = field(default=None, kw_only=True)
    maximum: Bound | None = field(default=None, kw_only=True)
    allowed: tuple[Value, ...] | None = field(default=None, kw_only=True)
    pattern: str | None = field(default=None, kw_only=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of a group's table, in the order of the table."""

    name: str
    type: FeatureType
    required: bool
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureGroup:
    """Features of the same entities that are computed together and stored in one append-only table.

    Each row also has ``event_time`` (when the value became true), ``created_time`` (when the platform could first know it) and
    ``ingest_id`` (the batch that wrote it). A later row with the same entities and event time restates the earlier one.

    Args:
        name: Lower-case name; the table is ``<name>_v<version>``.
        entities: The key, in order.
        features: The features, in order. Append new ones at the end, nullable.
        owner: Team that is responsible for it.
        description: What the group contains.
        event_time: Meaning of a row's event time. Default: "when the value became true".
        ttl: Time to live of a value after its event time, to the microsecond, at most a century. Zero: valid only at its event
            time. Default: unlimited.
        ttl_bound: Whether the last instant of ``ttl`` counts (``inclusive``) or not (``exclusive``). Default: ``inclusive``.
        version: Incremented for a change that breaks readers. Default: 1.
        time_zone: IANA name of the zone of times without one, such as ``America/New_York``. Default: such times are rejected.
        finer_times: Treatment of times finer than a microsecond: ``refuse``, or ``truncate`` towards the past. Default: ``refuse``.
        lead: How far event times may be ahead of the store's clock, at most a century. Default: zero. Planned values do not need
            it: the event time of a plan is when it was announced.
        freshness: Maximum age of the newest event before an alarm, in whole seconds. Default: no alarm.
        partition: Granularity of the partitions by event time, ``month`` or ``day``. Default: ``month``.
        online: Whether each ingest also publishes its rows to the online store. Default: ``False``; rows are published on request.
        tags: Keywords for ``mlops features find``: lower-case letters, digits, ``-`` and ``_``. Default: none.

    Raises:
        FeatureGroupError: With every problem of the declaration.

    Example:
        >>> from datetime import date, datetime, timedelta
        >>> group = FeatureGroup(
        ...     name="demand_history",
        ...     entities=(Entity("store_id", "string", "store"),),
        ...     features=(Feature("units_lag_1", "double", "units sold in the last week"),),
        ...     owner="demand",
        ...     description="weekly sales",
        ...     ttl=timedelta(days=14),
        ... )
        >>> group.table_name
        'demand_history_v1'
        >>> [column.name for column in group.columns]
        ['store_id', 'event_time', 'created_time', 'ingest_id', 'units_lag_1']
    """

    name: str
    entities: tuple[Entity, ...]
    features: tuple[Feature, ...]
    owner: str
    description: str
    event_time: str = "when the value became true"
    ttl: timedelta | None = None
    version: int = 1
    ttl_bound: Literal["inclusive", "exclusive"] = "inclusive"
    time_zone: str | None = None
    finer_times: Literal["refuse", "truncate"] = "refuse"
    lead: timedelta = timedelta(0)
    freshness: timedelta | None = None
    partition: Literal["month", "day"] = "month"
    online: bool = False
    tags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        problems = list(_problems(self))
        if problems:
            raise FeatureGroupError(f"feature group {self.name!r}: " + "; ".join(problems))

    @property
    def table_name(self) -> str:
        """The table's name, ``<group>_v<version>``."""
        return f"{self.name}_v{self.version}"

    @property
    def entity_names(self) -> tuple[str, ...]:
        """Names of the entities, in the order of the key."""
        return tuple(entity.name for entity in self.entities)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the features, in order."""
        return tuple(feature.name for feature in self.features)

    @property
    def columns(self) -> tuple[Column, ...]:
        """Every column of the table: entities, times, ingest id, features."""
        return (
            *(Column(name=e.name, type=e.type, required=True, description=e.description) for e in self.entities),
            Column(name=EVENT_TIME, type="timestamp", required=True, description=self.event_time),
            Column(name=CREATED_TIME, type="timestamp", required=True, description="when the row could first be known"),
            Column(name=INGEST_ID, type="string", required=True, description="batch that brought the row"),
            *(
                Column(name=f.name, type=f.type, required=not f.nullable, description=f.description)
                for f in self.features
            ),
        )

    @property
    def properties(self) -> dict[str, str]:
        """Table properties with the key, time to live and description, for readers without this declaration."""
        values = {
            "mlops.group": self.name,
            "mlops.version": str(self.version),
            "mlops.entities": ",".join(self.entity_names),
            "mlops.owner": self.owner,
            "mlops.description": self.description,
        }
        if self.tags:
            values["mlops.tags"] = ",".join(self.tags)
        for feature in self.features:
            if length := ColumnType.of(feature.type).length:  # an Iceberg list does not store its length
                values[f"{VECTOR}{feature.name}"] = str(length)
        if self.ttl is not None:
            values["mlops.ttl-seconds"] = f"{self.ttl.total_seconds():.6f}".rstrip("0").rstrip(".")
            if self.ttl_bound == "exclusive":
                values["mlops.ttl-bound"] = self.ttl_bound
        return values


def _problems(group: FeatureGroup) -> Iterable[str]:
    wrong = wrong_fields(group, _FIELDS)
    yield from wrong.values()
    if "name" not in wrong and (not _NAME.fullmatch(group.name) or _VERSION_SUFFIX.search(group.name)):
        yield f"name must match {_NAME.pattern} and not end in _v<number>, got {group.name!r}"
    if "version" not in wrong and group.version < 1:
        yield f"version must be {VERSION.wording}, got {group.version}"
    if group.owner == "":
        yield "owner must name the team responsible for the group, got ''"
    yield from _time_problems(group, wrong)
    yield from _tag_problems(group.tags)
    for word, allowed in _CHOICES.items():
        value = getattr(group, word)
        if value not in allowed:
            yield f"{word} must be {' or '.join(map(repr, allowed))}, got {value!r}"
    names: list[str] = []
    columns: tuple[tuple[str, str, type], ...] = (("entity", "entities", Entity), ("feature", "features", Feature))
    for word, several, kind in columns:
        found = getattr(group, several)
        problem = tuple_problem(several, found, kind)
        if problem is not None:
            yield problem
            continue
        yield from _column_problems(word, found)
        names += [column.name for column in found if isinstance(column.name, str)]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"column {name!r} is declared {names.count(name)} times; give each its own name"


def _tag_problems(tags: object) -> Iterable[str]:
    if not isinstance(tags, tuple):
        yield f"tags must be a tuple of words, got {tags!r}; write tags=('stock',)"
        return
    for tag in tags:
        if not isinstance(tag, str) or not _TAG.fullmatch(tag):
            yield f"tag must match {_TAG.pattern}, got {tag!r}"


def is_time_zone(name: object) -> bool:
    """Return whether a value is the IANA name of a time zone.

    Example:
        >>> is_time_zone("America/New_York"), is_time_zone("EST5PDT"), is_time_zone(5)
        (True, False, False)
    """
    try:
        return isinstance(name, str) and ZoneInfo(name) is not None
    except (KeyError, ValueError, OSError):
        return False


def _time_problems(group: FeatureGroup, wrong: Collection[str]) -> Iterable[str]:
    none = timedelta(0)
    if "ttl" in wrong:
        pass  # reported already
    elif group.ttl is not None:
        if group.ttl < none:
            yield f"ttl must not be negative, got {group.ttl!r}; leave it out for no limit"
        elif group.ttl > _LONGEST:
            yield f"ttl must be at most {_LONGEST.days} days, got {group.ttl!r}; leave it out for no limit"
        elif group.ttl == none and group.ttl_bound == "exclusive":
            yield "ttl of zero with an exclusive bound lets no value be used; set ttl_bound='inclusive' or a longer ttl"
    elif group.ttl_bound == "exclusive":
        yield "ttl_bound is 'exclusive' and there is no ttl; set one, or leave ttl_bound out"
    if "lead" in wrong:
        pass
    elif group.lead < none:
        yield f"lead must not be negative, got {group.lead!r}; omit it for no lead"
    elif group.lead > _LONGEST:
        yield f"lead must be at most {_LONGEST.days} days, got {group.lead!r}"
    if (
        "freshness" not in wrong
        and group.freshness is not None
        and (group.freshness <= none or group.freshness.microseconds)
    ):
        yield f"freshness must be a positive whole number of seconds, got {group.freshness!r}; leave it out for no alarm"
    if "time_zone" not in wrong and group.time_zone is not None and not is_time_zone(group.time_zone):
        yield f"time_zone must be an IANA name such as 'UTC' or 'America/New_York', got {group.time_zone!r}"


def _column_problems(word: str, columns: Sequence[Entity | Feature]) -> Iterable[str]:
    if not columns:
        yield f"at least one {word} is needed, got none"
    for column in columns:
        wrong = wrong_fields(column, _FEATURE_FIELDS if isinstance(column, Feature) else _ENTITY_FIELDS)
        yield from (f"{word} {column.name!r}: {problem}" for problem in wrong.values())
        if "name" not in wrong and not _NAME.fullmatch(column.name):
            yield f"{word} {column.name!r} must match {_NAME.pattern}"
        if column.name in RESERVED:
            yield f"{word} {column.name!r} is added to every table; rename yours"
        if column.name == _ROW_ID:
            yield f"{word} {column.name!r} is the order of a training set; rename yours"
        if isinstance(column, Feature):
            try:
                kind = ColumnType.of(column.type)
            except ColumnTypeError as error:
                yield f"{word} {column.name!r} has {error}"
                continue
            problems = (*_bound_problems(column, kind), *_allowed_problems(column, kind), *_pattern_problems(column))
            yield from (f"{word} {column.name!r}: {problem}" for problem in problems)
        elif column.type not in _ENTITY_TYPES:
            yield f"{word} {column.name!r} has type {column.type!r}, allowed are {', '.join(_ENTITY_TYPES)}"


def _bound_problems(feature: Feature, kind: ColumnType) -> Iterable[str]:
    sound = True
    for word, bound in (("minimum", feature.minimum), ("maximum", feature.maximum)):
        if bound is None:
            continue
        if kind.base not in _BOUNDED:
            sound = False
            yield f"{word} is for {', '.join(_BOUNDED)}, got {bound!r} on {feature.type}; leave it out"
        elif not kind.holds(bound):
            sound = False
            yield f"{word} must be {kind.form}, got {bound!r}; leave it out for no bound"
    low, high = feature.minimum, feature.maximum
    if sound and low is not None and high is not None and operator.lt(high, low):
        yield f"minimum must be at most maximum, got {low!r} and {high!r}"


def _allowed_problems(feature: Feature, kind: ColumnType) -> Iterable[str]:
    allowed = feature.allowed
    if allowed is None:
        return
    if kind.base not in _LISTED:
        yield f"allowed is for {', '.join(_LISTED)}, got {allowed!r} on {feature.type}; leave it out"
        return
    if not isinstance(allowed, tuple) or not allowed:
        yield f"allowed must be a tuple of at least one value, got {allowed!r}; leave it out to allow all"
        return
    others = [value for value in allowed if not kind.holds(value)]
    if others:
        yield f"allowed values must each be {kind.form}, got {', '.join(map(repr, others))}"
        return
    twice = sorted({repr(value) for value in allowed if allowed.count(value) > 1})
    if twice:
        yield f"allowed names {', '.join(twice)} more than once"
    for word, outside in (("minimum", operator.lt), ("maximum", operator.gt)):
        bound = getattr(feature, word)
        if bound is None or kind.base not in _BOUNDED or not kind.holds(bound):
            continue
        wrong = [value for value in allowed if outside(value, bound)]
        if wrong:
            yield f"allowed contains {', '.join(map(repr, wrong))} beyond {word} {bound!r}"


def _pattern_problems(feature: Feature) -> Iterable[str]:
    pattern = feature.pattern
    if pattern is None:
        return
    if feature.type != "string":
        yield f"pattern is for string, got {pattern!r} on {feature.type}; leave it out"
        return
    if not isinstance(pattern, str):
        yield f"pattern must be a str, got {pattern!r}"
        return
    try:
        compiled = re.compile(pattern, re.ASCII)
    except (re.error, ValueError, OverflowError) as error:
        yield f"pattern must be a regular expression, got {pattern!r}: {error}"
        return
    unknown = [found["syntax"] for found in _NOT_IN_RE2.finditer(pattern) if found["syntax"]]
    if unknown:
        yield f"pattern {pattern!r} uses {', '.join(unknown)}, which RE2 does not support; rewrite it without"
    elif isinstance(feature.allowed, tuple):
        wrong = [v for v in feature.allowed if isinstance(v, str) and not compiled.fullmatch(v)]
        if wrong:
            yield f"allowed contains {', '.join(map(repr, wrong))}, which pattern {pattern!r} does not match"
