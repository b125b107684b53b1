"""``mlops features ingest | latest | build | rebuild | diff``: ingest rows, read latest values, build and compare sets."""

import warnings
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mlops_cli.answers import AsJson, answer, print_json, print_table
from mlops_cli.aws_account import Profile, UserError, VerdictError
from mlops_cli.feature_location import (
    MIN_DIGITS,
    Folder,
    Place,
    Unit,
    full_id,
    load_groups,
    opened,
    pairs,
    read_parquet,
    table_of,
)
from mlops_cli.feature_sources import Kind, Query, Results, RowArguments, Workgroup, loaded_text
from mlops_cli.local import Home
from mlops_runtime.contracts import to_dict
from mlops_runtime.features.feature_group import RESERVED, FeatureGroup

if TYPE_CHECKING:
    import pyarrow as pa

    from mlops_runtime.features.group_join import GroupJoin
    from mlops_runtime.features.training_set_difference import Difference

Name = Annotated[str, typer.Argument(metavar="GROUP", help="Feature group of the declaration, or its table.")]
Declaration = Annotated[str, typer.Option("--groups", metavar="MODULE:GROUPS", help="Declaration of the group.")]

Id = Annotated[str, typer.Argument(help=f"Id of a training set, or at least its first {MIN_DIGITS} digits.")]


def ingest(
    name: Name,
    file: Annotated[
        str | None,
        typer.Argument(
            metavar="FILE",
            help="Parquet file of the batch, with the group's columns; or a folder or s3:// prefix of Parquet, CSV or JSON Lines.",
        ),
    ] = None,
    *,
    groups: Declaration,
    query: Query = None,
    workgroup: Workgroup = "primary",
    output: Results = None,
    kind: Kind = None,
    key: Annotated[
        str | None,
        typer.Option(help="Idempotency key. Default: the hash of the rows, so the same rows are written once."),
    ] = None,
    backfill: Annotated[
        bool,
        typer.Option(
            "--backfill", help="Backfill: historical rows, each with the created_time at which it became known."
        ),
    ] = False,
    correct: Annotated[bool, typer.Option("--correct", help="Correction: new versions of existing rows.")] = False,
    path: Folder = None,
    unit: Unit = None,
    as_json: AsJson = False,
    profile: Profile = None,
    home: Home = None,
) -> None:
    """Validate a batch and append it once, in one commit; many files or a query result take several commits.

    Creates a local store if needed; announces the ingest to the unit's pipelines.
    """
    if backfill and correct:
        raise UserError("give --backfill or --correct, not both: historical rows, or new versions of existing rows")
    group = _declared(groups, name)
    requested = RowArguments(place=file, query=query, workgroup=workgroup, output=output, kind=kind)
    if requested.is_source("FILE"):
        if correct or key is not None:
            raise UserError(
                "--correct and --key require a single Parquet file; rows of many files or of a query are deduplicated already"
            )
        with opened(path, unit, profile, home, may_make=True) as place:
            loaded = place.client.ingest_from(group, requested.source(place), backfill=backfill)

        answer(to_dict(loaded), loaded_text(loaded), as_json=as_json)
        return
    rows = read_parquet("FILE", Path(str(file)))
    with opened(path, unit, profile, home, may_make=True) as place:
        write = place.client.backfill if backfill else place.client.correct if correct else place.client.ingest
        done = write(group, rows, idempotency_key=key)
    if as_json:
        print_json(to_dict(done))
        return
    if done.duplicate:
        typer.echo(f"{done.table}: this batch is already in snapshot {done.snapshot_id}; nothing was written")
    else:
        again = f", {done.repeated:,} duplicate rows left out" * bool(done.repeated)
        typer.echo(f"{done.table}: {done.rows:,} rows in snapshot {done.snapshot_id}{again}")
    if place.entry is not None and place.entry.online_table is not None:
        how = "once the store's function has published them" if group.online else "after OnlineStore.refresh"
        typer.echo(f"online table {place.entry.online_table} contains them {how}")


def latest(
    name: Name,
    *,
    groups: Declaration,
    entity: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="One entity; repeat for each key column. Default: all."),
    ] = None,
    path: Folder = None,
    unit: Unit = None,
    as_json: AsJson = False,
    profile: Profile = None,
    home: Home = None,
) -> None:
    """Show the newest valid row of each entity, or of one."""
    group = _declared(groups, name)
    requested = None if entity is None else _entity_table(group, dict(pairs("--entity", entity)))
    with opened(path, unit, profile, home) as place:
        found = place.client.latest(group, requested)
    rows = [row for row in found.to_pylist() if row["ingest_id"] is not None]
    if as_json:
        print_json(rows)
    elif not rows:
        typer.echo(f"{group.table_name}: no current row" + (" for the entity" * (requested is not None)))
    else:
        names = [column.name for column in group.columns if column.name != "ingest_id"]
        print_table(tuple(names), [tuple(_text(row[each]) for each in names) for row in rows])


def _declared(groups: str, name: str) -> FeatureGroup:
    _, declared = load_groups(groups)
    found = [group for group in declared if name in (group.name, group.table_name)]
    if len(found) != 1:
        there = ", ".join(group.table_name for group in declared)
        raise UserError(f"GROUP must name one of {there}, got {name!r}" + "; it has several versions" * bool(found))
    return found[0]


def _entity_table(group: FeatureGroup, key: dict[str, str]) -> "pa.Table":
    import pyarrow as pa

    from mlops_runtime.features.table_types import arrow_schema

    if set(key) != set(group.entity_names):
        raise UserError(f"--entity must give {', '.join(group.entity_names)}, got {', '.join(key)}")
    columns, problems = {}, []
    for name in group.entity_names:
        wanted = arrow_schema(group).field(name).type
        try:
            columns[name] = pa.array([key[name]], pa.string()).cast(wanted)
        except pa.ArrowInvalid:
            problems.append(f"{name} is {wanted}, got {key[name]!r}")
    if problems:
        raise UserError(f"--entity: {'; '.join(problems)}")
    return pa.table(columns)


def _text(value: object) -> str:
    if isinstance(value, date | datetime):
        return value.isoformat()
    return "" if value is None else str(value)


def build(
    name: Annotated[str, typer.Argument(metavar="SET", help="Name of the training set.")],
    *,
    features: Annotated[
        list[str],
        typer.Option(
            metavar="[NAME=]GROUP[:COLUMN],...",
            help="GROUP:COLUMN, or GROUP for all its features; with NAME= if a group is used twice. May be repeated.",
        ),
    ],
    entities: Annotated[
        str | None,
        typer.Option(
            help="Parquet file of entity rows, with the keys of all groups and a time; or a folder or s3:// prefix of files."
        ),
    ] = None,
    query: Query = None,
    workgroup: Workgroup = "primary",
    output: Results = None,
    kind: Kind = None,
    timestamp: Annotated[str, typer.Option(help="Time column of the entity rows.")] = "event_timestamp",
    time_zone: Annotated[
        str | None, typer.Option(help="Zone of times without one, such as Europe/Berlin. Default: reject them.")
    ] = None,
    semantics: Annotated[
        str,
        typer.Option(
            metavar="known_at|event_time",
            help="known_at uses a value from the time at which it became known, event_time from the time of its event.",
        ),
    ] = "known_at",
    as_of: Annotated[
        str | None, typer.Option(help="Ignore rows created after this time, with zone. Default: read all.")
    ] = None,
    snapshot: Annotated[
        list[str] | None,
        typer.Option(metavar="GROUP=ID", help="Snapshot of a group to read. Default: the current one."),
    ] = None,
    on: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME.KEY=COLUMN",
            help="Column of the entity rows with a key of the group. Default: the column with the key's name.",
        ),
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option(
            metavar="duckdb|spark",
            help="Build on this machine (duckdb), or with the store's Glue job (spark). Default: duckdb if it fits in memory.",
        ),
    ] = None,
    path: Folder = None,
    unit: Unit = None,
    as_json: AsJson = False,
    profile: Profile = None,
    home: Home = None,
) -> None:
    """Build a training set: tag the snapshots read, write files and manifest, print its id."""
    meaning = _semantics(semantics)
    cutoff = None if as_of is None else _time(as_of)
    pinned = {group: _whole(value) for group, value in pairs("--snapshot", snapshot or ())}
    requested = RowArguments(place=entities, query=query, workgroup=workgroup, output=output, kind=kind)
    rows = None if requested.is_source("--entities") else read_parquet("--entities", Path(str(entities)))
    with opened(path, unit, profile, home) as place, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # printed below
        by = _engine(engine, place)
        built = place.client.training_set(
            requested.source(place) if rows is None else rows,
            _uses(place, features, on or ()),
            name=name,
            timestamp=timestamp,
            time_zone=time_zone,
            semantics=meaning,
            as_of=cutoff,
            snapshots=pinned,
            engine=by,
        )
        lies = place.client.manifests.copies(built.id)
    # rows built by Spark may not fit in memory, so they are not read
    written, is_here = built.manifest.output, built.manifest.build.engine == "duckdb"
    columns = built.rows.column_names if is_here else list(written.columns)
    if as_json:
        found = {"id": built.id, "name": name, "rows": written.rows, "columns": columns}
        found |= {"engine": built.manifest.build.engine}
        found |= {"matched": dict(built.matched), "warnings": list(built.warnings)}
        print_json(found | {"places": list(lies), "files": sorted(built.files)})
        return
    typer.echo(built.id)
    typer.echo(f"{written.rows:,} rows of {', '.join(columns)}{'' if is_here else ', built by Spark'}")
    for table, count in built.matched.items():
        typer.echo(f"{count:,} of them have a matching row in {table}")
    for text in built.warnings:
        typer.echo(f"mlops: warning: {text}", err=True)
    for each in lies:
        for file in sorted(built.files):
            typer.echo(f"{each}/{file}")


def rebuild(
    training_set: Id,
    *,
    path: Folder = None,
    unit: Unit = None,
    as_json: AsJson = False,
    profile: Profile = None,
    home: Home = None,
) -> None:
    """Rebuild a training set from its manifest and compare it. Exit 3 unless it is identical."""
    with opened(path, unit, profile, home) as place:
        full = full_id(place, training_set)
        again = place.client.rebuild(full)
    found = {"id": full, "verdict": again.verdict.value, "reason": again.reason, "same_bytes": again.same_bytes}
    if again.verdict.value != "IDENTICAL":
        raise VerdictError(f"{again.verdict.value} {full}: {again.reason}", document=found)
    same = "the same bytes" if again.same_bytes else "different bytes, as written by another version of Arrow"
    answer(found, f"{again.verdict.value} {full}: {again.reason}, {same}", as_json=as_json)


def diff(
    a: Id,
    b: Id,
    *,
    path: Folder = None,
    unit: Unit = None,
    as_json: AsJson = False,
    profile: Profile = None,
    home: Home = None,
) -> None:
    """Compare two training sets, from their requests to single values. Both are rebuilt for the comparison."""
    with opened(path, unit, profile, home) as place:
        found = place.client.diff(full_id(place, a), full_id(place, b))
    if as_json:
        print_json(to_dict(found) | {"is_none": found.is_none})
        return
    for line in _difference_lines(found):
        typer.echo(line)


def _uses(place: Place, features: Sequence[str], on: Sequence[str]) -> "list[GroupJoin]":
    """Return the joined groups in the given order; a group without columns stands for all its features."""
    from mlops_runtime.features.group_join import GroupJoin

    wanted: dict[tuple[str | None, str], list[str]] = {}
    for part in (part.strip() for each in features for part in each.split(",")):
        name, equals, named = part.partition("=")
        group, colon, column = (named if equals else part).partition(":")
        if not group or (colon and not column) or (equals and not name):
            raise UserError(f"--features must be GROUP:COLUMN or GROUP, separated by commas, got {part!r}")
        columns = [column]
        if not colon:
            table = place.client.table(table_of(place, group))
            keys = table.properties.get("mlops.entities", "").split(",")
            columns = [field.name for field in table.schema().fields if field.name not in (*keys, *RESERVED)]
        use = (name if equals else None, group)
        wanted[use] = list(dict.fromkeys([*wanted.get(use, []), *columns]))
    held: dict[str, dict[str, str]] = {name or group: {} for name, group in wanted}
    for key, column in pairs("--on", on):
        use_name, dot, key_name = key.partition(".")
        if not dot or use_name not in held:
            raise UserError(f"--on must be NAME.KEY=COLUMN with one of {', '.join(held)}, got {key!r}")
        held[use_name][key_name] = column
    return [
        GroupJoin(group=group, name=name, on=held[name or group], columns=tuple(columns))
        for (name, group), columns in wanted.items()
    ]


def _engine(value: str | None, place: Place) -> "Literal['duckdb', 'spark'] | None":
    if value is None:
        return None
    if value == "duckdb":
        return "duckdb"
    if value != "spark":
        raise UserError(f"--engine must be duckdb or spark, got {value!r}")
    if place.entry is None or place.entry.training_set_job is None:
        raise UserError(
            f"--engine spark: {place.name} has no Glue job; define a TrainingSetJob for the deployed store in its stack, or omit "
            "--engine"
        )
    return "spark"


def _semantics(value: str) -> "Literal['known_at', 'event_time']":
    if value == "known_at":
        return "known_at"
    if value == "event_time":
        return "event_time"
    raise UserError(f"--semantics must be known_at or event_time, got {value!r}")


def _time(value: str) -> datetime:
    try:
        time = datetime.fromisoformat(value)
        if time.tzinfo is not None:
            return time.astimezone(UTC)
    except (OverflowError, ValueError):  # an OverflowError for years that UTC does not have, such as 0
        pass
    raise UserError(f"--as-of must be a time with a zone, such as 2017-08-07T00:00:00Z, got {value!r}")


def _whole(value: str) -> int:
    try:
        return int(value)
    except ValueError:
        raise UserError(f"the ID in --snapshot GROUP=ID must be an integer, got {value!r}") from None


def _difference_lines(found: "Difference") -> list[str]:
    lines = [f"{name}: {before} became {after}" for name, (before, after) in found.request.items()]
    lines += [f"{table}: snapshot {before} became {after}" for table, (before, after) in found.snapshots.items()]
    lines += [f"column {name} added" for name in found.columns_added]
    lines += [f"column {name} removed" for name in found.columns_removed]
    if found.rows[0] != found.rows[1]:
        lines.append(f"{found.rows[0]:,} rows became {found.rows[1]:,}")
    lines += [f"column {name}: {count:,} rows have another value" for name, count in found.changed.items()]
    if found.only_a is not None and found.only_b is not None:
        lines.append(f"by their common columns, {found.only_a:,} rows were removed and {found.only_b:,} added")
    if found.is_none:
        lines.append("both have the same rows and columns")
    return lines
