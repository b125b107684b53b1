"""Training sets as one SQL statement for Spark and Athena, and explanations of builds."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal, get_args

import pyarrow.compute as pc

from mlops_runtime.contracts.features import PinnedTable
from mlops_runtime.features.column_type import ColumnType, ColumnTypeError, FeatureType
from mlops_runtime.features.engine_choice import EngineChoice
from mlops_runtime.features.feature_group import CREATED_TIME, EVENT_TIME, INGEST_ID
from mlops_runtime.features.iceberg_tables import feature_types
from mlops_runtime.features.join_plans import PlanChoice, Semantics
from mlops_runtime.features.point_in_time import explained
from mlops_runtime.features.table_pins import NO_SNAPSHOT
from mlops_runtime.features.table_types import arrow_types
from mlops_runtime.features.training_set import group_rows
from mlops_runtime.features.training_set_files import ROW_ID
from mlops_runtime.features.training_set_request import Load, Request, engine_of, located

Dialect = Literal["spark", "athena"]

_MILLISECOND = timedelta(milliseconds=1)
_MICROSECOND = timedelta(microseconds=1)
_LONGEST_NAME = 255  # Glue's maximum for tables and columns
_TYPES: dict[str, dict[str, str]] = {
    "spark": {
        "boolean": "boolean",
        "int": "int",
        "long": "bigint",
        "float": "float",
        "double": "double",
        "string": "string",
        "date": "date",
        "timestamp": "timestamp",
        "binary": "binary",
    },
    "athena": {
        "boolean": "boolean",
        "int": "integer",
        "long": "bigint",
        "float": "real",
        "double": "double",
        "string": "varchar",
        "date": "date",
        "timestamp": "timestamp(6) with time zone",
        "binary": "varbinary",
    },
}
_LOWEST: dict[str, str] = {
    "boolean": "false",
    "int": "0",
    "long": "0",
    "float": "0",
    "double": "0",
    "string": "''",
    "date": "'1970-01-01'",
    "timestamp": "'1970-01-01 00:00:00 UTC'",
    "decimal": "0",
}


_ARRAYS = {"spark": "array<{}>", "athena": "array({})"}


class SqlPlanError(ValueError):
    """A training set cannot be expressed in SQL; the message lists every problem."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlTable:
    """An Iceberg table at one of its snapshots."""

    database: str
    table: str
    snapshot_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlEntities:
    """Entity rows as a table."""

    table: SqlTable  # the table, with a unique `row_id` of type long
    timestamp: str  # the column with the time of a row
    # types of the selected columns, including keys and time, in order; `row_id` is always first
    columns: Mapping[str, FeatureType]


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlGroup:
    """A feature table and its selected columns."""

    name: str  # name of the group in messages
    table: SqlTable
    entities: Mapping[str, FeatureType]  # type of each key column, in order
    columns: Mapping[str, FeatureType]  # type of each selected feature, in order
    ttl: timedelta | None = None  # time to live of a value after its event time. Default: unlimited
    ttl_inclusive: bool = True  # whether a value still counts exactly `ttl` after its event time. Default: `True`
    # names of the columns in the result. Default: their own names
    names: Mapping[str, str] = field(default_factory=dict)
    # column of the entity rows, by key column. Default: the column of the same name
    keys: Mapping[str, str] = field(default_factory=dict)

    @property
    def key_pairs(self) -> list[tuple[str, str]]:
        """Pairs of a column of the entity rows and its key column, sorted by name."""
        return sorted((self.keys.get(name, name), name) for name in self.entities)

    def output(self, column: str) -> str:
        """Return the name of a column in the result."""
        return self.names.get(column, column)


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlPlan:
    """A training set to express in SQL.

    Raises:
        SqlPlanError: With every problem.

    Example:
        >>> labels = SqlTable(database="demand", table="labels_v1", snapshot_id=7)
        >>> stock = SqlTable(database="demand", table="stock_v1", snapshot_id=9)
        >>> plan = SqlPlan(
        ...     entities=SqlEntities(table=labels, timestamp="at", columns={"store_id": "string", "at": "timestamp"}),
        ...     groups=(SqlGroup(name="stock", table=stock, entities={"store_id": "string"}, columns={"on_hand": "long"}),),
        ... )
        >>> "for version as of 9" in render(plan, "athena")
        True
    """

    entities: SqlEntities  # the entity rows
    groups: tuple[SqlGroup, ...]  # the groups to join, in order
    semantics: Semantics = "known_at"  # whether a value counts from the time it was known or from its event time
    as_of: datetime | None = None  # feature rows created after this time are not read. Default: no limit
    # first and last time of the entity rows, if known, to skip feature rows that no entity row can match
    within: tuple[datetime, datetime] | None = None

    def __post_init__(self) -> None:
        problems = list(_problems(self))
        if problems:
            raise SqlPlanError("; ".join(problems))


def render(plan: SqlPlan, dialect: Dialect, *, catalog: str | None = None) -> str:
    """Return the statement: ``row_id``, the entity columns, then the features, ordered by ``row_id``.

    Args:
        plan: The training set.
        dialect: ``spark`` (3.4 or newer, with Iceberg) or ``athena`` (engine version 3).
        catalog: The catalog of the tables. Default: the session's, or Athena's own.

    Raises:
        SqlPlanError: If the dialect is unknown, or Athena cannot express a time to live: its intervals have milliseconds.
    """
    text = _Text(dialect, catalog)
    found = _timelines(plan)
    parts = [f"entity as ({_entity(plan, text)})"]
    parts += [f"picked{i} as ({_picked(plan, groups, text)})" for i, groups in enumerate(found)]
    columns = [f"entity.row_id as {text.name(ROW_ID)}"]
    columns += [f"entity.c{i} as {text.name(name)}" for i, name in enumerate(plan.entities.columns)]
    for group, timeline in enumerate(timeline_numbers(plan)):
        shown = _shown(plan, group, text, f"picked{timeline}", "entity.moment")
        columns += [f"{value} as {text.name(name)}" for name, value in shown.items()]
    joins = [f"left join picked{i} on entity.row_id = picked{i}.row_id" for i in range(len(found))]
    return "\n".join(
        [f"with {', '.join(parts)}", f"select {', '.join(columns)}", "from entity", *joins, "order by entity.row_id"]
    )


def pieces(plan: SqlPlan, dialect: Dialect, *, catalog: str | None = None) -> tuple[str, ...]:
    """Return a query for each timeline, of all groups with the same key, over entity rows in a view ``entity``.

    The view has ``row_id``, ``moment`` and the entity columns as ``c0``, ``c1`` and so on. Each query returns one row per row of
    the view, with the same columns: ``row_id``, ``timeline`` (its number), ``found<i>`` (whether a row of group i counts) and
    ``v<i>_<j>`` (column j of group i); columns of other timelines are null. Columns do not have the groups' names, because Spark's
    names are case-insensitive.
    """
    text = _Text(dialect, catalog)
    queries = []
    for number, groups in enumerate(_timelines(plan)):
        columns = ["row_id", f"{number} as timeline"]
        for i, group in enumerate(plan.groups):
            if i in groups:
                alive = f" and {text.alive(group, f'chosen{i}.event', 'moment')}"
                columns.append(f"chosen{i} is not null{alive} as found{i}")
                values: Iterable[str] = _shown(plan, i, text, "picked", "moment").values()
            else:
                columns.append(f"{text.literal('null', 'boolean')} as found{i}")
                values = [text.literal("null", kind) for kind in group.columns.values()]
            columns += [f"{value} as v{i}_{j}" for j, value in enumerate(values)]
        picked = _picked(plan, groups, text)
        queries.append(f"select {', '.join(columns)} from ({picked}) as picked")  # noqa: S608 - quoted
    return tuple(queries)


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlLabels:
    """Labels of a plan, of which the newest version of each key and event time counts."""

    table: SqlTable  # the table of the labels
    keys: Sequence[str]  # key columns, in order
    columns: Mapping[str, FeatureType]  # types of the selected columns, in order, including keys, labels and time
    labels: Sequence[str]  # the labels; rows with a null label do not count
    timestamp: str  # the time of a prediction; rows without it do not count


def newest_labels(labels: SqlLabels, known_by: datetime, *, catalog: str | None = None) -> str:
    """Return Spark's query for the labels that were known at a time: ``c0``, ``c1`` and so on, ``event`` and ``available``."""
    text = _Text("spark", catalog)
    event, created, ingest = map(text.name, (EVENT_TIME, CREATED_TIME, INGEST_ID))
    shown = [f"{text.name(name)} as c{i}" for i, name in enumerate(labels.columns)]
    newest = [f"{created} desc", f"{ingest} desc"]
    for name in (*labels.labels, labels.timestamp):
        value = text.name(name)
        # NaN sorts after all numbers and nulls last, as in Arrow
        newest.append(f"{value} is null")
        newest += [f"isnan({value})"] if labels.columns[name] in ("float", "double") else []
        newest.append(f"{value} desc")
    by, until = ", ".join([*map(text.name, labels.keys), event]), text.moment(known_by)
    places = list(labels.columns)
    known = " and ".join(f"c{places.index(name)} is not null" for name in (*labels.labels, labels.timestamp))
    return (
        f"select {', '.join(f'c{i}' for i in range(len(places)))}, event, available from (select {', '.join(shown)}, "  # noqa: S608 - quoted
        f"{event} as event, greatest({event}, {created}) as available, "
        f"row_number() over (partition by {by} order by {', '.join(newest)}) as version "
        f"from {text.table(labels.table)} where {created} <= {until} and {event} <= {until}) as versions "
        f"where version = 1 and {known}"
    )


def moment(time: datetime) -> str:
    """Return a time as a Spark literal.

    Example:
        >>> moment(datetime(2017, 1, 2, tzinfo=UTC))
        "cast('2017-01-02 00:00:00.000000 UTC' as timestamp)"
    """
    return _Text("spark", None).moment(time)


def timeline_numbers(plan: SqlPlan) -> list[int]:
    """Return the number of each group's timeline in ``pieces``."""
    numbers = {group: i for i, groups in enumerate(_timelines(plan)) for group in groups}
    return [numbers[group] for group in range(len(plan.groups))]


def _timelines(plan: SqlPlan) -> list[list[int]]:
    """Return the groups of each timeline: those with the same key share one, so that their rows are sorted once."""
    found: dict[tuple[str, ...], list[int]] = {}
    for i, group in enumerate(plan.groups):
        found.setdefault(tuple(column for column, _ in group.key_pairs), []).append(i)
    return list(found.values())


def _shown(plan: SqlPlan, number: int, text: "_Text", picked: str, moment: str) -> dict[str, str]:
    """Return the columns of a group by name, null if its row is older than its time to live."""
    group, chosen = plan.groups[number], f"{picked}.chosen{number}"
    alive = text.alive(group, f"{chosen}.event", moment)
    values = {group.output(column): f"{chosen}.v{j}" for j, column in enumerate(group.columns)}
    if group.ttl is None:
        return values
    return {name: f"case when {alive} then {value} end" for name, value in values.items()}


def precondition(plan: SqlPlan, dialect: Dialect, *, catalog: str | None = None) -> str:
    """Return a query for one row: ``entity_rows``, ``row_ids`` (distinct), ``incomplete`` (rows without a time).

    The statement of ``render`` is only valid if the first two are equal and the third is 0; it then returns that number of rows.
    """
    text = _Text(dialect, catalog)
    absent = f"{text.name(plan.entities.timestamp)} is null"
    return (
        f"select count(*) as entity_rows, count(distinct {text.name(ROW_ID)}) as row_ids, "  # noqa: S608 - quoted
        f"count(case when {absent} then 1 end) as incomplete from {text.table(plan.entities.table)}"
    )


@dataclass(frozen=True, slots=True)
class _Text:
    """Syntax that differs between the dialects."""

    dialect: Dialect
    catalog: str | None

    def __post_init__(self) -> None:
        if self.dialect not in get_args(Dialect):
            raise SqlPlanError(f"dialect must be one of {', '.join(get_args(Dialect))}, got {self.dialect!r}")

    def name(self, name: str) -> str:
        mark = "`" if self.dialect == "spark" else '"'
        return mark + name.replace(mark, mark * 2) + mark

    def table(self, table: SqlTable) -> str:
        path = [*([] if self.catalog is None else [self.catalog]), table.database, table.table]
        version = "version as of" if self.dialect == "spark" else "for version as of"
        return f"{'.'.join(map(self.name, path))} {version} {table.snapshot_id}"

    def literal(self, text: str, kind: FeatureType) -> str:
        return f"cast({text} as {self.type(kind)})"

    def type(self, kind: FeatureType) -> str:
        column_type, names = ColumnType.of(kind), _TYPES[self.dialect]
        if column_type.element:
            return _ARRAYS[self.dialect].format(names[column_type.element])
        return kind if column_type.base == "decimal" else names[kind]

    def moment(self, time: datetime) -> str:
        return self.literal(f"'{time.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f} UTC'", "timestamp")

    def row(self, fields: Mapping[str, tuple[str, FeatureType]]) -> str:
        if self.dialect == "spark":
            pairs = ", ".join(f"'{name}', {value}" for name, (value, _) in fields.items())
            return f"named_struct({pairs})"
        kinds = ", ".join(f"{name} {self.type(kind)}" for name, (_, kind) in fields.items())
        return f"cast(row({', '.join(value for value, _ in fields.values())}) as row({kinds}))"

    def alive(self, group: SqlGroup, event: str, moment: str) -> str:
        if group.ttl is None:
            return "true"
        bound = "<=" if group.ttl_inclusive else "<"
        if self.dialect == "spark":
            # timestamp plus interval would count days in the session's zone, an hour off across clock changes
            return f"unix_micros({moment}) - unix_micros({event}) {bound} {group.ttl // _MICROSECOND}"
        if group.ttl % _MILLISECOND:
            raise SqlPlanError(f"ttl of {group.name} must be whole milliseconds for Athena, got {group.ttl!r}")
        seconds, rest = divmod(group.ttl // _MILLISECOND, 1000)
        return f"{moment} {bound} {event} + interval '{seconds}.{rest:03}' second"


def _entity(plan: SqlPlan, text: _Text) -> str:
    columns = [f"{text.name(name)} as c{i}" for i, name in enumerate(plan.entities.columns)]
    rows = f"select {text.name(ROW_ID)} as row_id, {text.name(plan.entities.timestamp)} as moment, {', '.join(columns)}"
    return f"{rows} from {text.table(plan.entities.table)}"


def _picked(plan: SqlPlan, groups: Sequence[int], text: _Text) -> str:
    """Return the query for the best visible row of each group for each entity row; the groups have the same key."""
    columns = [column for column, _ in plan.groups[groups[0]].key_pairs]
    keys = [f"k{i}" for i in range(len(columns))]
    places = list(plan.entities.columns)
    entity_keys = [f"c{places.index(column)} as {key}" for key, column in zip(keys, columns, strict=True)]
    rows = {i: _row(plan.groups[i], text) for i in groups}
    parts = [f"select {', '.join(entity_keys)}, moment, 1 as kind, row_id, {_cells(rows, None)} from entity"]  # noqa: S608 - quoted
    for i in groups:
        group = plan.groups[i]
        event, created = map(text.name, (EVENT_TIME, CREATED_TIME))
        visible = f"greatest({event}, {created})" if plan.semantics == "known_at" else event
        feature_keys = ", ".join(text.name(name) for _, name in group.key_pairs)
        where = " and ".join(_kept(plan, group, text)) or "true"
        parts.append(
            f"select {feature_keys}, {visible}, 0, null, {_cells(rows, i)} "  # noqa: S608 - quoted
            f"from {text.table(group.table)} where {where}"
        )
    chosen = ", ".join(f"max_by(w{i}, b{i}) over w as chosen{i}" for i in groups)
    joined = "\n            union all\n            ".join(parts)
    return f"""
    select row_id, moment, {", ".join(f"chosen{i}" for i in groups)} from (
        select row_id, kind, moment, {chosen}
        from (
            {joined}
        ) as timeline
        window w as (
            partition by {", ".join(keys)} order by moment, kind rows between unbounded preceding and current row
        )
    ) as carried where kind = 1"""  # noqa: S608 - names are quoted, numbers are numbers


def _cells(rows: Mapping[int, tuple[str, str]], own: int | None) -> str:
    """Return the cells of a timeline row for each group: values and rank for its own group, nulls for others."""
    cells = []
    for i, (whole, rank) in rows.items():
        here = i == own
        cells.append(f"{whole if here else 'null'} as w{i}, {rank if here else 'null'} as b{i}")
    return ", ".join(cells)


def _row(group: SqlGroup, text: _Text) -> tuple[str, str]:
    """Return the values of a group's row, and its rank among rows of the same key."""
    event, created, ingest = map(text.name, (EVENT_TIME, CREATED_TIME, INGEST_ID))
    values = {f"v{i}": (text.name(name), kind) for i, (name, kind) in enumerate(group.columns.items())}
    # a total order also among rows to which other writers gave the same ingest id: null, then NaN, then the greatest value
    ranks: list[tuple[str, FeatureType]] = [(event, "timestamp"), (created, "timestamp"), (ingest, "string")]
    for value, kind in values.values():
        if not ColumnType.of(kind).is_ordered:
            continue
        odd = f"{value} is null"
        ranks.append((odd, "boolean"))
        if kind in ("float", "double"):
            is_nan = f"coalesce({'isnan' if text.dialect == 'spark' else 'is_nan'}({value}), false)"
            odd = f"{odd} or {is_nan}"
            ranks.append((is_nan, "boolean"))
        ranks.append(
            (f"case when {odd} then {text.literal(_LOWEST[ColumnType.of(kind).base], kind)} else {value} end", kind)
        )
    return text.row({"event": (event, "timestamp"), **values}), text.row({f"r{i}": r for i, r in enumerate(ranks)})


def _kept(plan: SqlPlan, group: SqlGroup, text: _Text) -> Iterator[str]:
    event = text.name(EVENT_TIME)
    if plan.as_of is not None:
        yield f"{text.name(CREATED_TIME)} <= {text.moment(plan.as_of)}"
    if plan.within is not None:
        first, last = plan.within
        yield f"{event} <= {text.moment(last)}"
        if group.ttl is not None:
            yield f"{event} >= {text.moment(first - group.ttl)}"


def _problems(plan: SqlPlan) -> Iterator[str]:
    if plan.semantics not in get_args(Semantics):
        yield f"semantics must be known_at or event_time, got {plan.semantics!r}"
    for time in (plan.as_of, *(plan.within or ())):
        if time is not None and time.tzinfo is None:
            yield f"{time!r} has no time zone; set one"
    entities = plan.entities
    if entities.columns.get(entities.timestamp) != "timestamp":
        yield f"column {entities.timestamp!r} of the entity rows must be a timestamp and among their columns"
    if ROW_ID in entities.columns:
        yield f"{ROW_ID!r} is added automatically; omit it from the entity columns"
    yield from _table_problems("the entity rows", entities.table, entities.columns)
    if not plan.groups:
        yield "at least one group is required, got none"
    taken = dict.fromkeys([ROW_ID, *entities.columns], "the entity rows")
    for group in plan.groups:
        yield from _group_problems(entities, group)
        for name in map(group.output, group.columns):
            if name in taken:
                yield f"column {name!r} of {group.name} clashes with {taken[name]}; omit one of them"
            taken[name] = group.name


def _group_problems(entities: SqlEntities, group: SqlGroup) -> Iterator[str]:
    yield from _table_problems(group.name, group.table, {**group.entities, **group.columns})
    for name in group.names.values():
        yield from _name_problems(group.name, name)
    if not group.entities or not group.columns:
        yield f"{group.name} needs at least one key and one column"
    if group.ttl is not None and (group.ttl < timedelta(0) or not (group.ttl or group.ttl_inclusive)):
        yield f"ttl of {group.name} must not be negative, and must be positive if it is exclusive, got {group.ttl!r}"
    for name, kind in group.entities.items():
        column = group.keys.get(name, name)
        given = entities.columns.get(column, "missing")
        if not {given, kind} <= {"int", "long"} and given != kind:
            yield f"key {column!r} is {given} in the entity rows and {kind} in {group.name}; give both one type"


def _table_problems(owner: str, table: SqlTable, columns: Mapping[str, FeatureType]) -> Iterator[str]:
    if isinstance(table.snapshot_id, bool) or not isinstance(table.snapshot_id, int):
        yield f"snapshot of {owner} must be a whole number, got {table.snapshot_id!r}"
    for name in (table.database, table.table, *columns):
        yield from _name_problems(owner, name)
    for name, kind in columns.items():
        try:
            ColumnType.of(kind)
        except ColumnTypeError as error:
            yield f"column {name!r} of {owner} has {error}"


def _name_problems(owner: str, name: str) -> Iterator[str]:
    if not 0 < len(name) <= _LONGEST_NAME or not name.isprintable() or "." in name:
        yield f"{name!r} of {owner} is not a name: use 1 to {_LONGEST_NAME} printable characters without a dot"


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Explanation of how a training set would be built; nothing was tagged or written."""

    engine: EngineChoice  # the engine, why, and the amount of data to read
    plans: Mapping[str, PlanChoice]  # DuckDB's plan and the reason, by alias or table; empty for another engine
    tables: tuple[PinnedTable, ...]  # the tables to read, pinned
    types: Mapping[str, Mapping[str, FeatureType]]  # types of columns by table; those of the entity rows under `""`
    request: Request

    def sql(self, dialect: Dialect, entities: SqlTable, *, catalog: str | None = None) -> str:
        """Return the statement that builds the same rows in Spark or Athena.

        Args:
            dialect: ``spark`` or ``athena``.
            entities: The entity rows as an Iceberg table, with a ``row_id``.
            catalog: The catalog of the tables. Default: the session's, or Athena's own.

        Raises:
            SqlPlanError: If the dialect cannot express it.
        """
        if not isinstance(entities, SqlTable):
            raise SqlPlanError(f"entities must be a SqlTable, the Iceberg table of the entity rows, got {entities!r}")
        columns = {name: kind for name, kind in self.types[""].items() if name != ROW_ID}
        odd = [field for field in self.request.rows.schema if field.name not in (*columns, ROW_ID)]
        if odd:
            types = "; ".join(f"column {field.name!r} of the entity rows is {field.type}" for field in odd)
            raise SqlPlanError(f"{types}, which is not a type of feature tables; cast it, or omit it")
        empty = [pinned.table for pinned in self.tables if pinned.snapshot_id == NO_SNAPSHOT]
        if empty:
            raise SqlPlanError(f"no rows yet in {', '.join(empty)}, so there is no snapshot to name; ingest some first")
        times = self.request.rows[self.request.timestamp]
        plan = SqlPlan(
            entities=SqlEntities(table=entities, timestamp=self.request.timestamp, columns=columns),
            groups=tuple(sql_group(pinned, self.types[pinned.table]) for pinned in self.tables),
            semantics=self.request.semantics,
            as_of=self.request.as_of,
            within=(pc.min(times).as_py(), pc.max(times).as_py()) if len(times) else None,
        )
        return render(plan, dialect, catalog=catalog)


def sql_group(pinned: PinnedTable, types: Mapping[str, FeatureType]) -> SqlGroup:
    """Return a pinned table as a group of a statement."""
    return SqlGroup(
        name=pinned.group if pinned.alias is None else f"{pinned.group} as {pinned.alias}",
        table=SqlTable(database=pinned.database, table=pinned.table, snapshot_id=pinned.snapshot_id),
        entities={name: types[name] for name in pinned.entities},
        columns={name: types[name] for name in pinned.columns},
        ttl=None if pinned.ttl_seconds is None else timedelta(seconds=pinned.ttl_seconds),
        ttl_inclusive=pinned.ttl_bound != "exclusive",
        names=dict(zip(pinned.columns, pinned.names or pinned.columns, strict=True)),
        keys=pinned.key_columns,
    )


def explain(load: Load, tables: Sequence[str], request: Request) -> Explanation:
    """Explain how a training set would be built.

    Raises:
        TrainingSetError: If groups, columns or snapshots are missing.
        EngineError: If there is no such engine.
    """
    found = located(load, tables, request)
    engine, pinned = engine_of(found, request), found.pinned()
    by_name, plans = found.tables, {}
    if engine.engine == "duckdb":
        oldest = pc.min(request.rows[request.timestamp]).as_py()
        for group in pinned:
            rows = group_rows(by_name[group.table], group, oldest=oldest, created_by=request.as_of)
            plans[group.use] = explained(request.rows, request.timestamp, rows)
    types = {name: feature_types(table) for name, table in by_name.items()}
    return Explanation(
        engine=engine,
        plans=plans,
        tables=pinned,
        types={**types, "": arrow_types(request.rows.schema)},
        request=request,
    )
