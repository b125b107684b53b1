"""``mlops features ingest | latest``: rows into a feature group, and its newest ones out of it."""

import json
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlops_cli.account import Profile
from mlops_cli.errors import UserError
from mlops_cli.feature_arguments import load_groups, pairs, read_parquet
from mlops_cli.feature_place import AsJson, Folder, Unit, opened
from mlops_cli.local import Home
from mlops_cli.printed_tables import print_table

if TYPE_CHECKING:
    import pyarrow as pa

    from mlops_runtime.features.feature_group import FeatureGroup

Name = Annotated[
    str, typer.Argument(metavar="GROUP", help="Feature group of the declaration, or its table.", show_default=False)
]
Declaration = Annotated[
    str, typer.Option("--groups", metavar="MODULE:GROUPS", help="The declaration of the group.", show_default=False)
]


def ingest(
    name: Name,
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="Parquet file of the batch, with the group's columns.", show_default=False),
    ],
    *,
    groups: Declaration,
    key: Annotated[
        str | None,
        typer.Option(
            help="Idempotency key. Default: the hash of the rows, so that the same are written once.",
            show_default=False,
        ),
    ] = None,
    backfill: Annotated[
        bool,
        typer.Option("--backfill", help="Rows of the past, each with the created_time at which it could be known."),
    ] = False,
    correct: Annotated[bool, typer.Option("--correct", help="New versions of rows that are there.")] = False,
    path: Folder = None,
    unit: Unit = None,
    as_json: AsJson = False,
    profile: Profile = None,
    home: Home = None,
) -> None:
    """Check a batch and append it, once, in one commit; a folder without a store gets one, a unit's pipelines are told."""
    if backfill and correct:
        raise UserError("--backfill and --correct are two things: rows of the past, or new versions of rows; give one")
    group, rows = _declared(groups, name), read_parquet("FILE", file)
    with opened(path, unit, profile, home, may_make=True) as place:
        write = place.client.backfill if backfill else place.client.correct if correct else place.client.ingest
        done = write(group, rows, idempotency_key=key)
    if as_json:
        from mlops_runtime.contracts import to_dict

        typer.echo(json.dumps(to_dict(done), indent=2, sort_keys=True))
        return
    if done.duplicate:
        typer.echo(f"{done.table}: this batch is in snapshot {done.snapshot_id} already, nothing written")
    else:
        again = f", {done.repeated:,} that were the same as another left out" * bool(done.repeated)
        typer.echo(f"{done.table}: {done.rows:,} rows in snapshot {done.snapshot_id}{again}")
    if place.entry is not None and place.entry.online_table is not None:
        typer.echo(f"online table {place.entry.online_table} has them once OnlineStore.refresh was called")


def latest(
    name: Name,
    *,
    groups: Declaration,
    entity: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE", help="One entity, once for each column of the key. Default: all.", show_default=False
        ),
    ] = None,
    path: Folder = None,
    unit: Unit = None,
    as_json: AsJson = False,
    profile: Profile = None,
    home: Home = None,
) -> None:
    """Show the newest row that counts now, of each entity or of one."""
    group = _declared(groups, name)
    asked = None if entity is None else _asked(group, dict(pairs("--entity", entity)))
    with opened(path, unit, profile, home) as place:
        found = place.client.latest(group, asked)
    rows = [row for row in found.to_pylist() if row["ingest_id"] is not None]
    if as_json:
        typer.echo(json.dumps(rows, indent=2, default=_text))
    elif not rows:
        typer.echo(f"{group.table_name}: no row counts now" + (" for the entity" * (asked is not None)))
    else:
        names = [column.name for column in group.columns if column.name != "ingest_id"]
        print_table(tuple(names), [tuple(_text(row[each]) for each in names) for row in rows])


def _declared(groups: str, name: str) -> "FeatureGroup":
    _, declared = load_groups(groups)
    found = [group for group in declared if name in (group.name, group.table_name)]
    if len(found) != 1:
        there = ", ".join(group.table_name for group in declared)
        raise UserError(f"GROUP must name one of {there}, got {name!r}" + "; it has several versions" * bool(found))
    return found[0]


def _asked(group: "FeatureGroup", key: dict[str, str]) -> "pa.Table":
    import pyarrow as pa

    from mlops_runtime.features.iceberg_tables import arrow_schema

    if set(key) != set(group.entity_names):
        raise UserError(f"--entity must name {', '.join(group.entity_names)}, got {', '.join(key)}")
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
