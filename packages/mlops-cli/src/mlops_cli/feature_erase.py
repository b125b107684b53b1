"""``mlops features erase``: erase an entity from tables, training sets and the online table, and list the copies that remain."""

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from mlops_cli.answers import AsJson, Yes, confirm, print_json
from mlops_cli.aws_account import Profile, UserError
from mlops_cli.feature_location import Folder, Place, Unit, full_id, opened, package_groups, pairs
from mlops_cli.local import Home
from mlops_runtime.business_unit.deployed_entries import Entries
from mlops_runtime.contracts import from_json, to_dict
from mlops_runtime.contracts.rollout import LivePointer

if TYPE_CHECKING:
    from mlops_runtime.contracts.features import Erasure

PENDING = 3  # exit code: an erasure is waiting for a training set build or for the online table


def erase(
    *,
    entity: Annotated[
        list[str],
        typer.Option(
            metavar="KEY=VALUE", help="Key of the entity to erase, as NAME=VALUE; repeat for each column of the key."
        ),
    ],
    reason: Annotated[
        str, typer.Option(help="Reason, stored in the records: a ticket number, never the entity itself.")
    ],
    in_use: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ID", help="Training set of a model in use. With --unit, those of the registry's models are added."
        ),
    ] = None,
    include_in_use: Annotated[
        bool, typer.Option("--include-in-use", help="Erase from these too; they can never be rebuilt.")
    ] = False,
    ended: Annotated[
        list[str] | None, typer.Option(metavar="BUILD", help="Pending build whose process is known to have ended.")
    ] = None,
    wait_seconds: Annotated[
        int, typer.Option(min=0, help="Longest wait for running training set builds, in seconds.")
    ] = 60,
    yes: Yes = False,
    path: Folder = None,
    unit: Unit = None,
    as_json: AsJson = False,
    profile: Profile = None,
    home: Home = None,
) -> None:
    """Remove an entity's rows from tables, their history and files, training sets and the online table.

    Lists the copies that remain. Exit code 3: a training set is still being built, or the online table is unavailable; to complete
    the erasure, run this command or mlops features maintain again afterwards.
    """
    key = dict(pairs("--entity", entity))
    _check_reason(reason, key)
    with opened(path, unit, profile, home, erases=True) as place:
        kept = [full_id(place, each) for each in in_use or ()]
        kept += _trained_from(place)
        whom = ", ".join(f"{name}={value}" for name, value in key.items())
        confirm(f"erase {whom} from {place.name} with its history, which cannot be undone", yes=yes)
        record = _erased(
            place, key, reason=reason, in_use=kept, include_in_use=include_in_use, wait=wait_seconds, ended=ended or ()
        )
    left = _left(place)
    if as_json:
        print_json(to_dict(record) | {"left": left})
        raise typer.Exit(PENDING if record.pending else 0)
    for table in record.tables:
        typer.echo(f"{table.table}: {len(table.snapshots)} snapshots and {len(table.files)} files removed")
    for name, count in record.online.items():
        typer.echo(f"{name}: {count} rows of the online store removed")
    for training_set_id in record.used_by:
        typer.echo(f"training set {training_set_id} contained the entity and cannot be rebuilt")
    if record.tables or record.used_by:
        typer.echo(f"erasure {record.id[:16]}: {record.reason}")
    elif not record.online:
        typer.echo("the store has no data of the entity")
    for line in left:
        typer.echo(f"not reached: {line}")
    if record.pending:
        print_pending(record)
        raise typer.Exit(PENDING)


def print_pending(erasure: "Erasure") -> None:
    """Print why an erasure is incomplete, and what to do."""
    for line in erasure.pending:
        typer.echo(f"pending: {line}", err=True)
    typer.echo(
        f"erasure {erasure.id[:16]} is not complete: run mlops features maintain when the builds have ended and the online table "
        "is available; for a build that writes to S3 and whose process was killed, give its id with --ended",
        err=True,
    )


def _check_reason(reason: str, key: dict[str, str]) -> None:
    if not reason.strip():
        raise UserError(f"--reason must not be empty, for example a ticket number, got {reason!r}")
    from mlops_runtime.features.erasure_arguments import named_in

    if named := named_in(reason, key):
        raise UserError(
            f"--reason contains the {', '.join(named)} to erase, and the reason stays in the records; "
            "give a ticket number instead"
        )


def _erased(
    place: Place,
    key: dict[str, str],
    *,
    reason: str,
    in_use: list[str],
    include_in_use: bool,
    wait: int,
    ended: Sequence[str],
) -> "Erasure":
    from mlops_runtime.features.entity_search import ErasureError

    try:
        return place.client.erase(
            key, reason=reason, in_use=in_use, include_in_use=include_in_use, wait=timedelta(seconds=wait), ended=ended
        )
    except ErasureError as error:
        raise UserError(str(error).replace("include_in_use=True", "--include-in-use")) from error


def _left(place: Place) -> list[str]:
    """Return the locations that may still contain the entity, each with what to do."""
    left = ["copies outside the store, including those of other units; ask every unit with read access"]
    if place.entry is not None and place.entry.incoming_bucket is not None:
        bucket, days = place.entry.incoming_bucket, place.entry.incoming_days
        left.insert(
            0,
            f"received batches, s3://{bucket}/incoming/, and reports, s3://{bucket}/rejected/, which expire after {days} days; "
            "to remove them sooner, delete all versions of the objects that contain the entity",
        )
    return left


def _trained_from(place: Place) -> list[str]:
    """Return the training sets of the unit's approved packages and of its live models."""
    if place.aws is None or place.unit is None:
        return []
    from mlops_runtime.registry.package_registry import training_sets_in_use
    from mlops_runtime.rollout.rollout_table import RolloutTable

    found = set(training_sets_in_use(place.aws.client("sagemaker"), package_groups(place)))
    endpoints, _ = Entries(ssm=place.aws.client("ssm")).of_unit(place.unit)
    for endpoint in endpoints:
        row = RolloutTable(place.aws.client("dynamodb"), endpoint.rollout_table, endpoint.endpoint).read()
        if row.live is not None:
            found.add(from_json(LivePointer, row.live).training_set_id)
    # a model may be trained from a set of another store, or without a set
    return sorted(found & set(place.client.manifests.ids()))
