"""``mlops features find | services``: search a feature store, and list its feature services."""

from typing import TYPE_CHECKING, Annotated

import typer

from mlops_cli.answers import AsJson, print_json, print_table
from mlops_cli.aws_account import Profile, UserError
from mlops_cli.feature_location import Folder, Place, Unit, opened
from mlops_cli.local import Home
from mlops_runtime.contracts import to_dict

if TYPE_CHECKING:
    from mlops_runtime.features.table_description import TableDescription


def find(
    text: Annotated[
        str,
        typer.Argument(
            help="Words that must all occur in the name, description, owner, tags or columns of a group or service; any case."
        ),
    ],
    *,
    path: Folder = None,
    unit: Unit = None,
    as_json: AsJson = False,
    profile: Profile = None,
    home: Home = None,
) -> None:
    """Find feature groups and services by words, and show where the words occur."""
    if not text.strip():
        raise UserError(f"TEXT must contain at least one word, got {text!r}")
    with opened(path, unit, profile, home) as place:
        from mlops_runtime.features.catalogue_search import search

        tables, unread = _tables(place)
        hits = search(text, tables, place.client.services.all())
    for problem in unread:
        typer.echo(f"not searched: {problem}", err=True)
    if as_json:
        print_json([to_dict(hit) for hit in hits])
        return
    if not hits:
        typer.echo(f"no group or service of {place.name} has {text!r}; list all groups with: mlops features list")
        return
    print_table(
        ("found", "owner", "where", "description"),
        [
            (
                hit.name if hit.kind == "group" else f"service {hit.name}",
                hit.owner,
                ", ".join(hit.matches),
                hit.description,
            )
            for hit in hits
        ],
    )


def services(
    *, path: Folder = None, unit: Unit = None, as_json: AsJson = False, profile: Profile = None, home: Home = None
) -> None:
    """List feature services: versions, columns, and the training sets that were built for them."""
    with opened(path, unit, profile, home) as place:
        from mlops_runtime.features.feature_service import service_columns, service_use

        found = place.client.services.all()
        uses = [place.client.manifests.read(each).feature_service for each in place.client.manifests.ids()]
        users = {spec: uses.count(service_use(spec)) for spec in found}
    if as_json:
        print_json(
            [{**to_dict(spec), "sha256": service_use(spec).sha256, "training_sets": users[spec]} for spec in found]
        )
        return
    if not found:
        typer.echo(f"feature store {place.name} has no service yet; building a training set of a service stores it")
        return
    print_table(
        ("service", "version", "groups", "columns", "training sets"),
        [
            (
                spec.name,
                str(spec.version),
                ", ".join(group.table for group in spec.groups),
                ", ".join(service_columns(spec)),
                str(users[spec]),
            )
            for spec in found
        ],
    )


def _tables(place: Place) -> "tuple[tuple[TableDescription, ...], tuple[str, ...]]":
    """Return the descriptions of a store's tables, and why some cannot be read."""
    if place.aws is not None and place.entry is not None:
        from mlops_runtime.features.deployed_tables import DeployedTables

        client = place.aws.client
        found = DeployedTables(place.entry.database, glue=client("glue"), s3=client("s3")).all()
        return found.tables, found.problems
    from mlops_runtime.features.iceberg_tables import described

    return tuple(described(place.client.table(name)) for name in place.client.table_names()), ()
