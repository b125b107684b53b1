"""Propose how to use a table: role of each column, kind of the label and metric, split by time, blocks and baselines.

Only facts of the schema are stored: no row, no category of a column whose name suggests personal data, numbers with two digits.
"""

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mlops_runtime.contracts.model import Metric
from mlops_runtime.serving.field_names import resembles
from mlops_runtime.training_data.baseline_names import PREFIX, baseline_names
from mlops_runtime.training_data.table_file import (
    GATE_ROWS,
    TIME_KINDS,
    FileColumn,
    TableError,
    TableFile,
    as_time,
    first_of_holdout,
    open_table,
    quoted,
    usable_rows,
)

MOST_CATEGORIES = 200
MOST_CLASSES = 100  # the evaluation's limit
WEEK = "block_week"  # added column, if blocks are weeks
DAY = "cluster_day"  # added column, if days vary independently
_FEWEST_ROWS = 100
_FEWEST_BLOCKS = 12
_FEWEST_DAYS = 14
_LASTING = 1.5  # ratio: above it, the keys of one day recur on the next day more often than by their share
_MOST_LOST_TIMES = 0.01
_LEAK = 0.995
_SHOWN_CATEGORIES = 20
_RARE = 10  # rows: a category with fewer could identify a person
_PERSONAL = (
    *("name", "email", "phone", "address", "street", "birth", "iban", "passport", "gender", "sex", "age", "income"),
    *(
        "customer",
        "user",
        "patient",
        "person",
        "household",
        "employee",
        "member",
        "account",
        "client",
        "contact",
        "driver",
    ),
    *("student", "subscriber", "guest", "ssn", "postcode", "zip", "salary", "nationality", "religion", "ethnicity"),
    *("disability", "diagnosis"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class InputColumn:
    """An input column of the model.

    ``kind`` of a number is ``float``, ``integer`` or ``boolean``, of a category ``text`` or ``integer``. ``low`` and ``high`` are
    the approximate range of the numbers in the training part; ``categories`` are common ones, none for a personal column.
    """

    name: str
    type: Literal["number", "category"]
    kind: Literal["float", "integer", "boolean", "text"]
    nullable: bool
    low: float = 0.0
    high: float = 1.0
    categories: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """A column that is not an input, and the reason."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TableSchema:
    """Schema of a table, as ``mlops new`` records it.

    ``holdout_from`` is a given time; by default the holdout is a share. ``dropped`` rows lack label or time and are not counted
    in ``rows``. ``cluster`` is the column whose values monitors treat as independent: days, or the key if its values occur for
    some days and then stay away. Shops occur every day, so that a window of days does not sample them; a shopper's rows are all
    of one day. A subscriber's rows span a fortnight: consecutive days have the same subscribers, and are not independent samples.
    ``entities`` are the columns that, with the time, identify a row of a feature store, the key first, and ``holdout_days`` is
    the number of newest days that are held out of it; both are empty without a store.
    """

    label: str
    label_kind: Literal["number", "chance", "classes"]
    metric: Metric
    time: str
    block: str
    cluster: str
    baselines: tuple[str, ...]
    inputs: tuple[InputColumn, ...]
    left_out: tuple[LeftOut, ...]
    rows: int
    holdout_rows: int
    minimum_rows: int
    dropped: int = 0
    low: float = 0.0
    high: float = 1.0
    classes: tuple[str, ...] = ()
    key: str | None = None
    key_kind: Literal["text", "integer"] | None = None
    holdout_from: str | None = None
    known: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    entities: tuple[str, ...] = ()
    holdout_days: int | None = None
    format: Literal["mlops.table-schema/1"] = "mlops.table-schema/1"

    @property
    def kept(self) -> tuple[str, ...]:
        """Columns of the file that a training set has, in order."""
        others = (*self.entities, self.key, self.time, self.label)
        return tuple(dict.fromkeys([column.name for column in self.inputs] + [name for name in others if name]))

    @property
    def prediction_kind(self) -> Literal["number", "probability", "classes"]:
        """Meaning of a prediction, as a model's signature names it."""
        return "probability" if self.label_kind == "chance" else self.label_kind


def read_schema(
    path: Path,
    *,
    label: str,
    time: str | None,
    key: str | None = None,
    holdout_from: str | None = None,
    known: Sequence[str] = (),
    without: Sequence[str] = (),
) -> TableSchema:
    """Propose the role of each column of a file.

    Args:
        path: A Parquet or CSV file.
        label: The column to predict.
        time: The column with the time of prediction.
        key: The column whose values have separate histories, such as a store. Default: none.
        holdout_from: The first time of the holdout, ISO 8601. Default: the last 15 % of the rows, or 200 rows, at most half.
        known: Columns whose values are known at the time of prediction although they seem not to be.
        without: Columns to exclude.

    Raises:
        TableError: With every problem at once.
    """
    with open_table(path) as table:
        reading = _Reading(
            table, label=label, time=time, key=key, holdout_from=holdout_from, known=known, without=without
        )
        return reading.schema()


class _Reading:
    """Analysis of a file. Problems are collected, and raised together when the analysis cannot continue."""

    def __init__(
        self,
        table: TableFile,
        *,
        label: str,
        time: str | None,
        key: str | None,
        holdout_from: str | None,
        known: Sequence[str],
        without: Sequence[str],
    ) -> None:
        self._table, self._label, self._time, self._key = table, label, time or "", key
        self._holdout_from, self._known, self._without = holdout_from, tuple(known), tuple(without)
        self._problems: list[str] = []
        self._questions: list[str] = []
        self._left_out: list[LeftOut] = []

    def schema(self) -> TableSchema:
        self._require_columns()
        self._stop()
        self._rows = usable_rows(self._table, self._label, self._time)
        whole, self._count = (int(self._table.values(["count(*)"], part)[0]) for part in ("TRUE", self._rows))
        self._check_times()
        if self._count < _FEWEST_ROWS:
            self._problems.append(
                f"at least {_FEWEST_ROWS} rows must have the label {self._label!r} and the time {self._time!r}, got "
                f"{self._count} of {whole}"
            )
            self._stop()
        kind, classes = self._label_kind()
        self._cut = self._cut_time()
        self._stop()
        at = as_time(self._table.columns[self._time])
        self._held = f"{self._rows} AND {at} >= TIMESTAMP '{self._cut}'"
        self._trained = f"{self._rows} AND {at} < TIMESTAMP '{self._cut}'"
        self._holdout_count = int(self._table.values(["count(*)"], self._held)[0])
        self._check_label_of_both(kind, classes)
        key = self._key
        inputs = [column for name in self._table.columns if (column := self._input(name, kind)) is not None]
        if not any(column.name != key for column in inputs):
            why = "; ".join(f"{each.name}: {each.reason}" for each in self._left_out)
            beside = "" if key is None else f" beside the key {key!r}"
            self._problems.append(f"no column is left as an input{beside}; left out are {why or 'none'}")
        self._left_out += [
            LeftOut(name=name, reason="with --leave-out") for name in self._without if name in self._table.columns
        ]
        block = self._block()
        self._stop()
        low, high = self._bounds(self._label) if kind != "classes" else (0.0, 1.0)
        return TableSchema(
            label=self._label,
            label_kind=kind,
            metric=self._metric(kind),
            time=self._time,
            block=block,
            cluster=self._cluster(block),
            baselines=baseline_names(key, has_classes=kind == "classes", is_chance=kind == "chance"),
            inputs=tuple(inputs),
            left_out=tuple(self._left_out),
            rows=self._count,
            holdout_rows=self._holdout_count,
            minimum_rows=min(GATE_ROWS, self._holdout_count * 4 // 5),
            dropped=whole - self._count,
            low=low,
            high=high,
            classes=classes,
            key=key,
            key_kind=None if key is None else "integer" if self._table.columns[key].kind == "integer" else "text",
            holdout_from=self._holdout_from,
            known=self._known,
            without=self._without,
        )

    def _stop(self) -> None:
        if self._problems:
            raise TableError(self._problems, self._questions)

    def _require_columns(self) -> None:
        columns = self._table.columns
        there = ", ".join(columns)
        if all(re.fullmatch(r"column\d+", name) for name in columns):
            there += "; its first line must have column names"
        if len(columns) == 1 and re.search(r"[,;\t|]", there):
            there += "; a line of it has more or fewer columns"
        if not self._time:
            self._problems.append(
                "--time is required: without the time of prediction, training on the future is not detected; set it to the column"
            )
        for option, name in (("--label", self._label), ("--time", self._time), ("--key", self._key)):
            if name and name not in columns:
                self._problems.append(f"{option} must be a column of the file, got {name!r}; it has {there}")
        for option, names in (("--known", self._known), ("--leave-out", self._without)):
            self._problems += [
                f"{option} must be a column of the file, got {name!r}" for name in names if name not in columns
            ]
        roles = [name for name in (self._label, self._time, self._key) if name]
        if len(set(roles)) < len(roles):
            self._problems.append(f"--label, --time and --key must be different columns, got {', '.join(roles)}")
        reserved = [name for name in columns if name.startswith(PREFIX) or name in (WEEK, DAY)]
        if reserved:
            self._problems.append(
                f"column names must not begin with {PREFIX!r} or be {WEEK!r} or {DAY!r}, which the platform adds, got "
                f"{', '.join(map(repr, reserved))}; rename them"
            )
        if self._time in columns and columns[self._time].kind not in TIME_KINDS:
            self._problems.append(
                f"--time must have times, dates or integers that count them, got {columns[self._time].sql} in {self._time!r}; "
                "convert it"
            )
        if self._label in columns and columns[self._label].kind in ("time", "other"):
            self._problems.append(
                f"--label must have numbers or names of classes, got {columns[self._label].sql} in {self._label!r}"
            )
        if self._key in columns and columns[self._key].kind not in ("text", "integer"):
            self._problems.append(
                f"--key must have text or integers, got {columns[self._key].sql} in {self._key!r}; convert it"
            )

    def _check_times(self) -> None:
        """Report a time column with more than a few unreadable values, whose rows would be lost silently."""
        name, at = quoted(self._time), as_time(self._table.columns[self._time])
        text = f"CAST({name} AS VARCHAR)"
        given, read, example = self._table.values(
            [f"count({name})", f"count({at})", f"min({text}) FILTER ({name} IS NOT NULL AND {at} IS NULL)"]
        )
        if given - read > given * _MOST_LOST_TIMES:
            self._problems.append(
                f"--time: {given - read} of {given} values of {self._time!r} are not valid times, such as {example!r}; "
                "write ISO 8601, such as '2026-11-29' or '2026-11-29T08:30:00+01:00'"
            )
            self._stop()

    def _label_kind(self) -> tuple[Literal["number", "chance", "classes"], tuple[str, ...]]:
        column, name = self._table.columns[self._label], quoted(self._label)
        query = (
            f"SELECT DISTINCT CAST({name} AS VARCHAR) FROM rows WHERE {self._rows} ORDER BY 1 LIMIT {MOST_CLASSES + 1}"  # noqa: S608 - quoted
        )
        values = [value for (value,) in self._table.rows(query)]
        if len(values) < 2:
            self._problems.append(f"label {self._label!r} has one value in all {self._count} rows: nothing to predict")
            return "number", ()
        if column.kind == "boolean" or (column.kind != "text" and set(values) <= {"0", "1", "0.0", "1.0"}):
            return "chance", ()
        if len(values) == 2:
            self._problems.append(
                f"label {self._label!r} has the two values {' and '.join(map(repr, values))}: write 1 for the value whose "
                "probability is predicted and 0 for the other"
            )
            return "chance", ()
        if column.kind != "text":
            return "number", ()
        if len(values) > MOST_CLASSES:
            self._problems.append(
                f"label {self._label!r} has more than {MOST_CLASSES} different texts; predict a number or coarser classes"
                f"{self._almost(column)}"
            )
        return "classes", tuple(values)

    def _metric(self, kind: str) -> Metric:
        if kind == "classes":
            return "macro_log_loss"
        if kind == "chance":
            return "log_loss"
        lowest, highest = self._table.values([f"min({quoted(self._label)})", f"max({quoted(self._label)})"], self._rows)
        return "wape" if lowest >= 0 or highest <= 0 else "mae"  # no relative error if labels sum to about 0

    def _cut_time(self) -> str:
        try:
            return first_of_holdout(self._table, self._time, self._rows, self._holdout_from)
        except TableError as error:
            self._problems += error.problems
            return ""

    def _check_label_of_both(self, kind: str, classes: tuple[str, ...]) -> None:
        name = f"CAST({quoted(self._label)} AS VARCHAR)"
        if kind == "number":
            return
        found = [
            {value for (value,) in self._table.rows(f"SELECT DISTINCT {name} FROM rows WHERE {part}")}  # noqa: S608 - quoted
            for part in (self._trained, self._held)
        ]
        for where, values in zip(("training part", "holdout"), found, strict=True):
            absent = sorted(set(classes) - values) if kind == "classes" else []
            if absent:
                self._problems.append(
                    f"label {self._label!r}: {', '.join(map(repr, absent))} has no rows in the {where}; the holdout begins "
                    f"{self._cut}: choose another --holdout-from, or remove the class from the file"
                )
            if kind == "chance" and len(values) < 2:
                self._problems.append(
                    f"label {self._label!r} has one value in the {where}; the holdout begins {self._cut}: choose another "
                    "--holdout-from"
                )

    def _input(self, name: str, label_kind: str) -> InputColumn | None:
        """Return a column as an input; None if it is excluded, needs an answer or has another role."""
        column = self._table.columns[name]
        if name in (self._label, self._time, *self._without):
            return None
        nulls, held_nulls, distinct = self._counts(name)
        reason = self._reason(column, nulls, held_nulls, distinct)
        if reason is not None:
            if name != self._key:
                self._left_out.append(LeftOut(name=name, reason=reason))
            return None
        is_key = name == self._key
        if not is_key and name not in self._known and self._is_suspicious(column, distinct, label_kind):
            return None
        is_category = column.kind == "text" or (column.kind == "integer" and (is_key or _is_id(name)))
        low, high = (0.0, 1.0) if is_category else self._bounds(name)
        return InputColumn(
            name=name,
            type="category" if is_category else "number",
            kind=column.kind,  # type: ignore[arg-type] # times and others were left out
            nullable=nulls > 0,
            low=low,
            high=high,
            categories=self._common(name) if is_category else (),
        )

    def _counts(self, name: str) -> tuple[int, int, int]:
        column = quoted(name)
        given = f"isfinite({column})" if self._table.columns[name].kind == "float" else f"{column} IS NOT NULL"
        if self._table.columns[name].kind == "text":
            given = f"coalesce({column}, '') <> ''"
        counts = [f"count(*) FILTER (NOT coalesce({given}, FALSE))", f"count(DISTINCT {column}) FILTER ({given})"]
        nulls, distinct = self._table.values(counts, self._trained)
        return int(nulls), int(self._table.values(counts[:1], self._held)[0]), int(distinct)

    def _reason(self, column: FileColumn, nulls: int, held_nulls: int, distinct: int) -> str | None:
        trained = self._count - self._holdout_count
        if nulls == trained:
            return "null in every row of the training part"
        if column.kind == "time":
            return "a second time"
        if column.kind == "other":
            return f"of type {column.sql}"
        if distinct <= 1 and nulls == 0:
            return "one value"
        if held_nulls and not nulls:
            return f"null in {held_nulls} rows of the holdout and never in training"
        if column.name == self._key:
            if distinct > trained / 2:
                self._problems.append(
                    f"--key {column.name!r} is an identifier: {distinct} values in {trained} rows, so none has a history; "
                    "choose a column that repeats, such as a store, or omit --key"
                )
            if distinct * 20 >= trained:
                return "an identifier"
        if distinct > MOST_CATEGORIES and (column.kind == "text" or column.name == self._key or _is_id(column.name)):
            noun = "text" if column.kind == "text" else "identifier"
            return f"{noun} with {distinct} values, at most {MOST_CATEGORIES} can be categories{self._almost(column)}"
        if column.kind == "integer" and distinct == trained:
            return "a different integer in every row, an identifier"
        return None

    def _almost(self, column: FileColumn) -> str:
        """Return a hint, as the end of a message, for a text column whose values are mostly numbers."""
        name = quoted(column.name)
        other = f"{name} IS NOT NULL AND TRY_CAST(replace({name}, ',', '.') AS DOUBLE) IS NULL"
        if column.kind != "text":
            return ""
        given, others, example = self._table.values(
            [f"count({name})", f"count(*) FILTER ({other})", f"min({name}) FILTER ({other})"], self._rows
        )
        if others * 2 > given:
            return ""
        return f"; {given - others} of {given} are numbers" + (f", others are such as {example!r}" if others else "")

    def _is_suspicious(self, column: FileColumn, distinct: int, label_kind: str) -> bool:
        """Return whether a column may be derived from the label, or be later than the prediction; then ask the user."""
        name, label = quoted(column.name), quoted(self._label)
        reported = ""
        if column.kind != "text" and label_kind != "classes":
            pair = f"abs(corr(CAST({name} AS DOUBLE), CAST({label} AS DOUBLE)))"
            finite = f"{self._rows} AND isfinite(CAST({name} AS DOUBLE))"
            related = self._table.values([pair], finite)[0]
            if related is not None and related > _LEAK:
                reported = f"is almost a copy of the label (|r| = {related:.4f})"
        if not reported and label_kind != "number" and distinct <= MOST_CATEGORIES:
            pairs = self._table.rows(
                f"SELECT count(*) FROM (SELECT DISTINCT {name}, {label} FROM rows WHERE {self._trained} AND {name} IS NOT NULL)"  # noqa: S608 - quoted
            )
            if pairs[0][0] == distinct:
                reported = "determines the label (each value has one label)"
        if not reported and len(self._label) > 1 and resembles(column.name, self._label):
            reported = f"is named like the label {self._label!r}"
        if reported:
            self._questions.append(column.name)
            option = shlex.quote(column.name)
            self._problems.append(
                f"column {column.name!r} {reported}: --leave-out {option} excludes it, --known {option} keeps it if its values are "
                "known at the time of prediction"
            )
        return bool(reported)

    def _bounds(self, name: str) -> tuple[float, float]:
        column = f"CAST({quoted(name)} AS DOUBLE)"
        found = self._table.values(
            [f"quantile_cont({column}, 0.01)", f"quantile_cont({column}, 0.99)"],
            f"{self._trained} AND isfinite({column})",
        )
        low, high = (float(f"{value or 0:.2g}") for value in found)
        return low, high if high > low else low + 1.0

    def _common(self, name: str) -> tuple[str, ...]:
        if any(resembles(name, word) for word in _PERSONAL):
            return ()
        column = quoted(name)
        query = (
            f"SELECT CAST({column} AS VARCHAR), count(*) n FROM rows WHERE {self._trained} AND {column} IS NOT NULL "  # noqa: S608 - quoted
            f"GROUP BY 1 HAVING n >= {_RARE} AND length(CAST({column} AS VARCHAR)) > 0 ORDER BY n DESC, 1 LIMIT {_SHOWN_CATEGORIES}"
        )
        return tuple(sorted(value for value, _ in self._table.rows(query)))

    def _block(self) -> str:
        week = f"date_trunc('week', {as_time(self._table.columns[self._time])})"
        counted = [f"count(DISTINCT {week})"]
        if self._key is not None:
            counted += [f"count(DISTINCT {quoted(self._key)})", f"count(*) FILTER ({quoted(self._key)} IS NULL)"]
        weeks, *of_key = self._table.values(counted, self._held)
        if of_key and of_key[0] >= _FEWEST_BLOCKS and of_key[0] * 4 <= self._count and not of_key[1]:
            return str(self._key)
        if weeks >= _FEWEST_BLOCKS:
            return WEEK
        nulls = f", null in {of_key[1]} rows, which must be filled" if of_key and of_key[1] else ""
        keys = f", {of_key[0]} values of {self._key!r}{nulls}" if of_key else ""
        self._problems.append(
            f"no gate is possible: the holdout has {weeks} week{'' if weeks == 1 else 's'}{keys}, and needs {_FEWEST_BLOCKS} "
            "independent weeks or keys; choose another --key, an earlier --holdout-from, or add rows"
        )
        return ""

    def _cluster(self, block: str) -> str:
        """Return days, unless keys of one day recur on the next more often than on other days, so that days are dependent."""
        if block == WEEK:
            return DAY
        day = f"date_trunc('day', {as_time(self._table.columns[self._time])})"
        query = f"""
            WITH counted AS (SELECT dense_rank() OVER (ORDER BY {day}) AS day, {quoted(block)} AS value, count(*) AS n
                             FROM rows WHERE {self._trained} GROUP BY {day}, value),
                 days AS (SELECT day, sum(n) AS n FROM counted GROUP BY day),
                 of_value AS (SELECT value, sum(n) AS n FROM counted GROUP BY value)
            SELECT (SELECT count(*) FROM days),
                   (SELECT sum(a.n * b.n) FROM counted a JOIN counted b ON b.value = a.value AND b.day = a.day + 1)
                   / (SELECT sum(a.n * b.n) FROM days a JOIN days b ON b.day = a.day + 1),
                   ((SELECT sum(n * n) FROM of_value) - (SELECT sum(n * n) FROM counted))
                   / ((SELECT sum(n) * sum(n) - sum(n * n) FROM days))
        """  # noqa: S608 - quoted
        ((days, next_day, other_day),) = self._table.rows(query)
        is_lasting = bool(next_day and other_day and next_day > _LASTING * other_day)
        return block if days < _FEWEST_DAYS or is_lasting else DAY


def _is_id(name: str) -> bool:
    words = name.replace("-", "_").lower()
    return words in ("id", "key", "code") or words.endswith(("_id", "_key", "_code"))


def schema_lines(schema: TableSchema) -> Iterator[str]:
    """Yield a description of a schema for a person, line by line."""
    kinds = {"number": "a number", "chance": "a chance", "classes": f"one of {len(schema.classes)} classes"}
    yield f"label {schema.label}: {kinds[schema.label_kind]}, measured by {schema.metric}"
    yield f"{len(schema.inputs)} inputs: {', '.join(column.name for column in schema.inputs)}"
    yield from (f"left out {each.name}: {each.reason}" for each in schema.left_out)
    if schema.dropped:
        yield f"left out {schema.dropped} rows without label or time"
    blocks = "weeks" if schema.block == WEEK else schema.block
    if schema.entities:
        yield (
            f"feature store: features and labels by {', '.join(schema.entities)} and {schema.time}; a training holds out the "
            f"newest {schema.holdout_days} days"
        )
    yield (
        f"{schema.rows - schema.holdout_rows} rows to train and {schema.holdout_rows} held out; compared by {blocks} with "
        f"{', '.join(schema.baselines)}"
    )
    if schema.cluster not in (DAY, WEEK):
        yield (
            f"monitors treat all rows of one {schema.cluster} as a single observation: its values recur for days, or the rows span "
            f"fewer than {_FEWEST_DAYS} days; drift needs calls of many of them: set WINDOW in monitoring.py to a week"
        )
