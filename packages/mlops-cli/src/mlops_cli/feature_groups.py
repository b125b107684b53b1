"""``mlops features list | show | who-used | catalog``: contents of a feature store, and the training sets that use them."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlops_cli.answers import AsJson, answer, print_json, print_table
from mlops_cli.aws_account import Profile, UserError, writing
from mlops_cli.feature_location import LOCK_FILE, Folder, Place, Unit, load_groups, opened, package_groups, table_of
from mlops_cli.local import Home
from mlops_runtime.contracts import to_dict
from mlops_runtime.features.feature_group import FeatureGroup
from mlops_runtime.features.lock_file import FeatureLock, FeatureLockError

if TYPE_CHECKING:
    from mlops_runtime.features.catalogue import Catalogue, GroupFacts
    from mlops_runtime.features.training_set_usage import Use

_NEWEST = 10  # snapshots that ``show`` lists

Group = Annotated[str, typer.Argument(help="Feature group, or its table if the group has several versions.")]


def list_(
    *, path: Folder = None, unit: Unit = None, as_json: AsJson = False, profile: Profile = None, home: Home = None
) -> None:
    """List feature groups: rows, newest event and its age, snapshots, training sets that read them."""
    with opened(path, unit, profile, home) as place:
        found = _collected(place)
    shown = [_as_json(found, group) for group in found.groups] if as_json else []
    unread = UserError("; ".join(found.problems), document={"groups": shown}) if found.problems else None
    if as_json:
        if unread:
            raise unread
        print_json(shown)
        return
    if not found.groups:
        if unread:
            raise unread
        typer.echo(f"feature store {found.name} has no group yet")
        _print_places(place)
        return
    print_table(
        ("table", "owner", "rows", "newest event", "age", "snapshots", "used by"),
        [
            (
                group.table,
                group.owner,
                f"{group.rows:,}",
                "" if group.newest_event is None else f"{group.newest_event:%Y-%m-%d %H:%M}",
                group.note if group.age is None else _age(group),
                str(len(group.snapshots)),
                str(len(found.users(group.table))),
            )
            for group in found.groups
        ],
    )
    _print_places(place)
    if unread:
        raise unread


def show(
    group: Group,
    *,
    path: Folder = None,
    unit: Unit = None,
    as_json: AsJson = False,
    profile: Profile = None,
    home: Home = None,
) -> None:
    """Show a feature group: columns with their ids, schema history, snapshots, and training sets that read it."""
    with opened(path, unit, profile, home) as place:
        table = table_of(place, group)
        place.client.table(table)  # raises if unreadable; unreadable other tables do not matter
        found = _collected(place)
        facts = next((each for each in found.groups if each.table == table), None)
    if facts is None:
        raise UserError(f"table {table} is not a feature table; list feature tables with: mlops features list")
    if as_json:
        shown = _as_json(found, facts) | {"columns": to_dict(facts.columns), "snapshots": to_dict(facts.snapshots)}
        used = [{"id": each.id, "name": each.name, "reads": to_dict(each.reads)} for each in found.users(table)]
        print_json(shown | {"schemas": to_dict(facts.schemas), "used_by": used})
        return
    typer.echo(f"{facts.table}, owned by {facts.owner or 'unknown'}: {facts.rows:,} rows, {facts.partition}")
    typer.echo(f"a value is valid {facts.ttl}; newest event {_age(facts) or facts.note}")
    print_table(
        ("id", "column", "type", "null", "description"),
        [
            (
                str(column.field_id),
                f"{column.name} (key)" if column.is_key else column.name,
                column.type,
                "no" if column.is_required else "yes",
                column.description,
            )
            for column in facts.columns
        ],
    )
    print_table(("schema", "changes"), [(str(schema.id), schema.changes) for schema in facts.schemas])
    print_table(
        ("snapshot", "at", "by", "added", "rows", "tags"),
        [
            (str(s.id), f"{s.at:%Y-%m-%d %H:%M}", s.operation, _number(s.added), _number(s.total), ", ".join(s.tags))
            for s in facts.snapshots[:_NEWEST]
        ],
    )
    if len(facts.snapshots) > _NEWEST:
        typer.echo(f"and {len(facts.snapshots) - _NEWEST} earlier snapshots; all of them with --json")
    users = found.users(table)
    if users:
        reads = [(each, read) for each in users for read in each.reads if read.table == table]
        print_table(
            ("training set", "name", "columns", "snapshot", "erased"),
            [
                (each.id, each.name, ", ".join(read.columns), str(read.snapshot_id), "yes" * each.is_erased)
                for each, read in reads
            ],
        )


def who_used(
    group: Group,
    *,
    snapshot: Annotated[
        int | None, typer.Option(help="Snapshot id: show the readers of its rows, from this or a later snapshot.")
    ] = None,
    column: Annotated[str | None, typer.Option(help="Name of a feature or key column.")] = None,
    path: Folder = None,
    unit: Unit = None,
    as_json: AsJson = False,
    profile: Profile = None,
    home: Home = None,
) -> None:
    """List the training sets that read a group, the rows of one snapshot, or one column."""
    with opened(path, unit, profile, home) as place:
        table = table_of(place, group)
        there = [field.name for field in place.client.table(table).schema().fields]
        if column is not None and column not in there:
            raise UserError(f"{table} has no column {column!r}, it has {', '.join(there)}")
        found: tuple[Use, ...] = place.client.who_used(table, snapshot=snapshot, column=column)
    if as_json:
        print_json(to_dict(found))
        return
    if not found:
        typer.echo(f"no training set used {table if column is None else f'{column} of {table}'}")
        return
    print_table(
        ("training set", "name", "columns", "snapshot", "erased"),
        [
            (use.manifest_id, use.name, ", ".join(use.columns), str(use.snapshot_id), "yes" * use.is_erased)
            for use in found
        ],
    )


def catalog(
    *,
    path: Folder = None,
    unit: Unit = None,
    output: Annotated[Path, typer.Option(help="HTML file to write.")] = Path("features.html"),
    groups: Annotated[
        str | None,
        typer.Option(
            metavar="MODULE:GROUPS",
            help="Declaration with descriptions, constraints and freshness. Default: only what the tables store.",
        ),
    ] = None,
    lock_file: Annotated[
        Path | None,
        typer.Option(
            "--lock",
            help="Lock file with the schema history. Default: the one next to the module of --groups, else the schemas of the "
            "tables.",
        ),
    ] = None,
    as_json: AsJson = False,
    profile: Profile = None,
    home: Home = None,
) -> None:
    """Write the catalogue as one self-contained HTML page: groups, history, freshness, quality, users and lineage."""
    declared, lock = _declared(groups, lock_file)
    with opened(path, unit, profile, home) as place:
        from mlops_runtime.features.catalogue_page import render
        from mlops_runtime.registry.package_registry import trained_packages

        models = () if place.aws is None else trained_packages(place.aws.client("sagemaker"), package_groups(place))
        found = _collected(place, declared=declared, lock=lock, models=models)
        text = render(found)
    with writing(output):
        output.write_text(text, encoding="utf-8")
    counts = {"groups": len(found.groups), "training_sets": len(found.sets), "packages": len(found.models)}
    counted = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items())
    text = "\n".join([f"{output}: {counted}", *(f"problem: {problem}" for problem in found.problems)])
    answer({"output": output, "problems": list(found.problems), **counts}, text, as_json=as_json)


def _declared(groups: str | None, lock_file: Path | None) -> tuple[tuple[FeatureGroup, ...], FeatureLock | None]:
    declared: tuple[FeatureGroup, ...] = ()
    if groups is not None:
        module, declared = load_groups(groups)
        beside = None if module.__file__ is None else Path(module.__file__).with_name(LOCK_FILE)
        if lock_file is None and beside is not None and beside.is_file():
            lock_file = beside
    try:
        return declared, None if lock_file is None else FeatureLock.read(lock_file)
    except FeatureLockError as error:
        raise UserError("\n".join(error.problems)) from error


def _collected(place: Place, **known: Any) -> "Catalogue":
    from mlops_runtime.features.catalogue import catalogue
    from mlops_runtime.features.table_description import FeatureTableError

    tables, unread = [], []
    for name in place.client.table_names():
        try:
            tables.append(place.client.table(name))
        except FeatureTableError as error:
            unread.append(f"{name} is not shown: {error}")
    found = catalogue(tables, place.client.manifests, name=place.name, now=place.now, **known)
    return replace(found, problems=(*unread, *found.problems))


def _as_json(found: "Catalogue", group: "GroupFacts") -> dict[str, Any]:
    return {
        "table": group.table,
        "group": group.group,
        "version": group.version,
        "owner": group.owner,
        "rows": group.rows,
        "newest_event": to_dict(group.newest_event),
        "age_seconds": None if group.age is None else int(group.age.total_seconds()),
        "snapshot_count": len(group.snapshots),
        "training_sets": len(found.users(group.table)),
        "note": group.note,
    }


def _age(group: "GroupFacts") -> str:
    from mlops_runtime.features.catalogue import duration_text

    if group.age is None:
        return ""
    span = duration_text(group.age, most=2)
    return f"in {span}" if group.age.total_seconds() < 0 else f"{span} ago"


def _print_places(place: Place) -> None:
    """Print the locations of a deployed store: the arguments of ``FeatureStoreClient.glue``."""
    entry = place.entry
    if entry is None:
        return
    typer.echo(f"database {entry.database}, tables in s3://{entry.data_bucket}")
    typer.echo(f"training_sets s3://{entry.training_sets_bucket}, manifests s3://{entry.manifests_bucket}/manifests")
    if entry.incoming_bucket is not None:
        typer.echo(f"batches s3://{entry.incoming_bucket}/incoming/<table>/<key>.parquet")
    if entry.online_table is not None:
        typer.echo(f"online table {entry.online_table}")


def _number(count: int | None) -> str:
    return "" if count is None else f"{count:,}"
