"""``mlops features build | rebuild | diff``: training sets."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mlops_cli.account import Profile
from mlops_cli.errors import UserError
from mlops_cli.feature_arguments import MIN_DIGITS, full_id, pairs, read_parquet, table_of
from mlops_cli.feature_place import AsJson, Folder, Place, Unit, opened
from mlops_cli.local import Home

if TYPE_CHECKING:
    from mlops_runtime.features.training_set_usage import Difference

Id = Annotated[
    str, typer.Argument(help=f"Id of a training set, or at least {MIN_DIGITS} of its first digits.", show_default=False)
]


def build(
    *,
    entities: Annotated[
        Path, typer.Option(help="Parquet file of entity rows: keys of all groups, and a time.", show_default=False)
    ],
    features: Annotated[
        list[str],
        typer.Option(
            metavar="GROUP[:COLUMN],...",
            help="Features; a group alone means all of its. May be repeated.",
            show_default=False,
        ),
    ],
    name: Annotated[str, typer.Option(help="Name of the training set.", show_default=False)],
    timestamp: Annotated[str, typer.Option(help="Time column of the entity rows.")] = "event_timestamp",
    semantics: Annotated[
        str, typer.Option(metavar="known_at|event_time", help="Whether a value counts from when it was known.")
    ] = "known_at",
    as_of: Annotated[
        str | None,
        typer.Option(
            help="Rows created later are not read: a time with its zone. Default: all are.", show_default=False
        ),
    ] = None,
    snapshot: Annotated[
        list[str] | None,
        typer.Option(
            metavar="GROUP=ID", help="Snapshot to read of a group. Default: the current one.", show_default=False
        ),
    ] = None,
    path: Folder = None,
    unit: Unit = None,
    as_json: AsJson = False,
    profile: Profile = None,
    home: Home = None,
) -> None:
    """Build a training set: tag what is read, write files and manifest, print its id."""
    meaning = _semantics(semantics)
    cutoff = None if as_of is None else _time(as_of)
    pinned = {group: _whole(value) for group, value in pairs("--snapshot", snapshot or ())}
    rows = read_parquet("--entities", entities)
    with opened(path, unit, profile, home) as place:
        built = place.client.training_set(
            rows,
            _columns(place, features),
            name=name,
            timestamp=timestamp,
            semantics=meaning,
            as_of=cutoff,
            snapshots=pinned,
        )
        lies = place.client.manifests.copies(built.id)
    if as_json:
        found = {"id": built.id, "name": name, "rows": built.rows.num_rows, "columns": built.rows.column_names}
        typer.echo(json.dumps(found | {"places": list(lies), "files": sorted(built.files)}, indent=2, sort_keys=True))
        return
    typer.echo(built.id)
    typer.echo(f"{built.rows.num_rows:,} rows of {', '.join(built.rows.column_names)}")
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
    """Build a training set again from its manifest, and compare; exit 1 unless it is identical."""
    with opened(path, unit, profile, home) as place:
        full = full_id(place, training_set)
        again = place.client.rebuild(full)
    is_identical = again.verdict.value == "IDENTICAL"
    if as_json:
        found = {"id": full, "verdict": again.verdict.value, "reason": again.reason, "same_bytes": again.same_bytes}
        typer.echo(json.dumps(found, indent=2, sort_keys=True))
        if not is_identical:
            raise typer.Exit(1)
        return
    if not is_identical:
        raise UserError(f"{again.verdict.value} {full}: {again.reason}")
    same = "the same bytes" if again.same_bytes else "other bytes, as other versions of Arrow write"
    typer.echo(f"{again.verdict.value} {full}: {again.reason}, {same}")


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
    """Compare two training sets, from what was asked down to single values; both are built again for it."""
    with opened(path, unit, profile, home) as place:
        found = place.client.diff(full_id(place, a), full_id(place, b))
    if as_json:
        from mlops_runtime.contracts import to_dict

        typer.echo(json.dumps(to_dict(found) | {"is_none": found.is_none}, indent=2, sort_keys=True))
        return
    for line in _difference_lines(found):
        typer.echo(line)


def _columns(place: Place, features: Sequence[str]) -> dict[str, list[str]]:
    """Return columns by group, in the order given; of a group that is named alone, all that are features."""
    from mlops_runtime.features.feature_group import RESERVED

    wanted: dict[str, list[str]] = {}
    for part in (part.strip() for each in features for part in each.split(",")):
        group, colon, column = part.partition(":")
        if not group or (colon and not column):
            raise UserError(f"--features must be GROUP:COLUMN or GROUP, separated by commas, got {part!r}")
        columns = [column]
        if not colon:
            table = place.client.table(table_of(place, group))
            keys = table.properties.get("mlops.entities", "").split(",")
            columns = [field.name for field in table.schema().fields if field.name not in (*keys, *RESERVED)]
        wanted[group] = list(dict.fromkeys([*wanted.get(group, []), *columns]))
    return wanted


def _semantics(value: str) -> "Literal['known_at', 'event_time']":
    if value == "known_at":
        return "known_at"
    if value == "event_time":
        return "event_time"
    raise UserError(f"--semantics must be known_at or event_time, got {value!r}")


def _time(value: str) -> datetime:
    try:
        time = datetime.fromisoformat(value)
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise UserError(f"--as-of must be a time with its zone, such as 2017-08-07T00:00:00Z, got {value!r}")
    return time.astimezone(UTC)


def _whole(value: str) -> int:
    try:
        return int(value)
    except ValueError:
        raise UserError(f"--snapshot must be GROUP=ID, a whole number, got {value!r}") from None


def _difference_lines(found: "Difference") -> list[str]:
    lines = [f"{name}: {before} became {after}" for name, (before, after) in found.asked.items()]
    lines += [f"{table}: snapshot {before} became {after}" for table, (before, after) in found.snapshots.items()]
    lines += [f"column {name} added" for name in found.columns_added]
    lines += [f"column {name} removed" for name in found.columns_removed]
    if found.rows[0] != found.rows[1]:
        lines.append(f"{found.rows[0]:,} rows became {found.rows[1]:,}")
    lines += [f"column {name}: {count:,} rows have another value" for name, count in found.changed.items()]
    if found.only_a is not None and found.only_b is not None:
        lines.append(f"by the columns that both have, {found.only_a:,} rows are gone and {found.only_b:,} are new")
    if found.is_none:
        lines.append("both hold the same rows and columns")
    return lines
