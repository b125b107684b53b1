"""Adapt a table's schema and names to a feature store, and derive the groups of features and labels."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from mlops_runtime.features.feature_group import RESERVED, Entity, Feature, FeatureGroup
from mlops_runtime.training_data.table_file import (
    TableError,
    TableFile,
    as_time,
    first_of_holdout,
    open_table,
    quoted,
    usable_rows,
)
from mlops_runtime.training_data.table_schema import DAY, WEEK, InputColumn, TableSchema

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_TAKEN = (*RESERVED, "row_id", "split")  # reserved columns of tables and training sets
_DAY = timedelta(days=1)
_TYPES = {"float": "double", "integer": "long", "boolean": "boolean", "text": "string"}
_ADDED = {WEEK: "week of the row, by which models are compared", DAY: "day of the row, one observation to monitors"}
# letters with a common spelling in ASCII; all others lose their accents
_SPELLED = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d"})


def stored_schema(path: Path, schema: TableSchema, *, entities: Sequence[str] = ()) -> TableSchema:
    """Return a schema whose features are stored in a feature store, in which integer codes become text.

    Args:
        path: The file.
        schema: Schema of the file from `read_schema`.
        entities: Columns that, with the key, identify the rows of one time.

    Raises:
        TableError: With every problem.
    """
    if schema.key is None:
        raise TableError(["--feature-store needs --key: the entity column of the features, such as a store"])
    wanted = replace(
        schema,
        entities=tuple(dict.fromkeys((schema.key, *entities))),
        key_kind="text",
        inputs=tuple(replace(each, kind="text") if each.type == "category" else each for each in schema.inputs),
    )
    with open_table(path) as table:
        problems = [*_entity_problems(table, wanted), *_name_problems(wanted)]
        if not problems:
            problems = _row_problems(table, wanted)
        if problems:
            raise TableError(problems)
        return replace(wanted, holdout_days=_holdout_days(table, wanted))


def feature_groups(schema: TableSchema, *, name: str, owner: str) -> tuple[FeatureGroup, FeatureGroup]:
    """Return the group of the features and the group of the labels.

    Args:
        schema: A schema with entities.
        name: Prefix of the groups' names.
        owner: Team that owns them.
    """
    inputs = {column.name: column for column in schema.inputs}
    entities = tuple(
        Entity(
            each,
            "long" if each in inputs and inputs[each].type == "number" else "string",
            _column_text(inputs.get(each)),
        )
        for each in schema.entities
    )
    features = [
        Feature(each.name, _TYPES[each.kind], _column_text(each), nullable=each.nullable)
        for each in (_typed(column) for column in schema.inputs)
        if each.name not in schema.entities
    ]
    features += [Feature(each, "string", _ADDED[each]) for each in _added(schema)]
    label = Feature(
        schema.label,
        "string" if schema.label_kind == "classes" else "double",
        f"what is predicted, {schema.label_kind}",
    )
    return (
        FeatureGroup(
            name=f"{name}_features",
            entities=entities,
            event_time="time of the row",
            features=tuple(features),
            owner=owner,
            description="What is known at the time of prediction",
        ),
        FeatureGroup(
            name=f"{name}_labels",
            entities=entities,
            event_time="time of the row: the file does not say when a label became known",
            features=(Feature(schema.time, "timestamp", "time of prediction"), label),
            owner=owner,
            description="What is to be predicted",
        ),
    )


def plain_name(text: str, between: str = "-") -> str:
    """Return a name with only lower-case ASCII letters and digits.

    Args:
        text: The original name.
        between: Replacement for each run of other characters. Default: a hyphen.

    Example:
        >>> plain_name("Stückzahl (Woche)"), plain_name("Größe in m²", "_"), plain_name("Señal 1")
        ('stueckzahl-woche', 'groesse_in_m2', 'senal-1')
    """
    composed = unicodedata.normalize("NFC", text).casefold()
    letters = unicodedata.normalize("NFKD", composed.translate(_SPELLED)).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", between, letters).strip(between)


def _entity_problems(table: TableFile, schema: TableSchema) -> list[str]:
    problems = []
    usable = usable_rows(table, schema.label, schema.time)
    for name in schema.entities:
        option = "--key" if name == schema.key else "--row-key"
        column = table.columns.get(name)
        if column is None:
            problems.append(f"--row-key must be a column of the file, got {name!r}; it has {', '.join(table.columns)}")
        elif name in (schema.label, schema.time):
            problems.append(f"--row-key must be neither label nor time, got {name!r}")
        elif column.kind not in ("text", "integer"):
            problems.append(f"{option} must be text or integers, got {column.sql} in {name!r}")
        else:
            given = f"nullif(CAST({quoted(name)} AS VARCHAR), '')"
            absent = int(table.values([f"count(*) - count({given})"], usable)[0])
            if absent:
                problems.append(
                    f"--feature-store: {name!r} is null in {absent} rows, for which no feature can be stored; fill them"
                )
    return problems


def _name_problems(schema: TableSchema) -> list[str]:
    wrong = [name for name in schema.kept if not _NAME.fullmatch(name) or name in _TAKEN]
    if not wrong:
        return []
    renamed = ", ".join(f"{name!r} to {_renamed(name)!r}" for name in wrong)
    return [
        "--feature-store: columns of a feature store have lower-case letters, digits and _, begin with a letter, and are not "
        f"{', '.join(_TAKEN)}; rename in the file {renamed}, or omit --feature-store"
    ]


def _renamed(name: str) -> str:
    """Return a valid column name of a feature store.

    Example:
        >>> _renamed("Unit price (EUR)"), _renamed("2nd shelf"), _renamed("row_id")
        ('unit_price_eur', 'c_2nd_shelf', 'row_id_of_file')
    """
    slug = plain_name(name, "_")[:55]
    slug = slug if re.match("[a-z]", slug) else f"c_{slug}"
    return f"{slug}_of_file" if slug in _TAKEN else slug


def _row_problems(table: TableFile, schema: TableSchema) -> list[str]:
    """Return a problem if an entity has two values of a feature at one time, or no features."""
    if all(column.name in schema.entities for column in schema.inputs):
        return ["--feature-store: no input is left beside the entities; omit --feature-store"]
    usable, at = usable_rows(table, schema.label, schema.time), as_time(table.columns[schema.time])
    entities = [quoted(name) for name in schema.entities]

    def distinct(*names: str) -> int:
        query = f"SELECT count(*) FROM (SELECT DISTINCT {', '.join(names)} FROM rows WHERE {usable})"  # noqa: S608 - quoted
        return int(table.rows(query)[0][0])

    whole = distinct(*(quoted(name) for name in schema.kept))
    apart = distinct(*entities, at)
    if apart == whole:
        return []
    others = [
        name
        for name, column in table.columns.items()
        if column.kind in ("text", "integer") and name not in (*schema.entities, schema.label, schema.time)
    ]
    distinguishing = next((name for name in others if distinct(*entities, quoted(name), at) == whole), None)
    fix = (
        "set --row-key to the column that distinguishes them"
        if distinguishing is None
        else f"add --row-key {distinguishing}"
    )
    return [
        f"--feature-store: {whole} rows have only {apart} values of {', '.join(schema.entities)} and {schema.time}, but a feature "
        f"has one value for each of these; {fix}, or omit --feature-store"
    ]


def _holdout_days(table: TableFile, schema: TableSchema) -> int:
    """Return the number of whole days that contain at least the file's holdout."""
    usable, at = usable_rows(table, schema.label, schema.time), as_time(table.columns[schema.time])
    cut = first_of_holdout(table, schema.time, usable, schema.holdout_from)
    last, span = table.values([f"max({at})", f"max({at}) - TIMESTAMP '{cut}'"], usable)
    days = max(int(-(-span // _DAY)), 1)
    before, early = (
        int(table.values([f"count(*) FILTER ({at} < TIMESTAMP '{each}')"], usable)[0])
        for each in (cut, last - days * _DAY)
    )
    if early * 2 < before:
        raise TableError(
            [
                f"--feature-store: a store holds out whole days, and the last {days} of them leave {early} of {before} rows to "
                "train on; add earlier rows, or omit --feature-store"
            ]
        )
    return days


def _typed(column: InputColumn) -> InputColumn:
    """Return a column with its stored type: a nullable boolean is stored as a number."""
    is_number = column.type == "number" and column.kind == "boolean" and column.nullable
    return replace(column, kind="float") if is_number else column


def _added(schema: TableSchema) -> list[str]:
    return [name for name in _ADDED if name in (schema.block, schema.cluster)]


def _column_text(column: InputColumn | None) -> str:
    if column is None or column.type == "category":
        return "as in the file"
    return "yes or no" if column.kind == "boolean" else f"about {column.low:g} to {column.high:g}"
