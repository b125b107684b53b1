"""Which feature store a verb of ``mlops features`` works on: a folder of this machine, or that of a deployed unit."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlops_cli.account import Account, account
from mlops_cli.errors import UserError

if TYPE_CHECKING:
    from mlops_runtime.contracts.events import EventDetail
    from mlops_runtime.contracts.unit_entries import FeatureStoreEntry
    from mlops_runtime.features.store_client import FeatureStoreClient

Folder = Annotated[
    Path | None, typer.Option("--path", help="Feature store in a folder of this machine.", show_default=False)
]
Unit = Annotated[str | None, typer.Option(help="Business unit whose deployed feature store it is.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON alone.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A feature store that was found.

    Args:
        name: What people call it.
        client: Its client.
        now: What time it is there.
        unit: The business unit, of a deployed store.
        aws: The account, of a deployed store.
        entry: What the store says of itself, of a deployed one.
    """

    name: str
    client: "FeatureStoreClient"
    now: datetime
    unit: str | None = None
    aws: Account | None = None
    entry: "FeatureStoreEntry | None" = None


@contextmanager
def opened(
    path: Path | None, unit: str | None, profile: str | None, home: Path | None, *, may_make: bool = False
) -> Iterator[Place]:
    """Find a feature store; what it or AWS refuses in the block becomes one line.

    Args:
        path: A folder.
        unit: A business unit.
        profile: Profile of the AWS configuration.
        home: Folder of an embedded cloud.
        may_make: Whether a folder without a store gets one. Default: it is an error.

    Raises:
        UserError: If neither or both are given, there is no such store, or for an error in the block.
    """
    if (path is None) == (unit is None):
        raise UserError("say which feature store: --path FOLDER of this machine, or --unit NAME of a deployed one")
    try:
        from pyiceberg.exceptions import CommitFailedException

        from mlops_runtime.features.batch_delivery import AnnounceError
        from mlops_runtime.features.store_client import FeatureStoreClient
    except ImportError as error:
        raise UserError(f"mlops features needs {error.name}; run: pip install 'mlops-runtime[features]'") from error
    try:
        if path is not None:
            if profile is not None or home is not None:
                raise UserError("--profile and --home go with --unit; a folder needs no account")
            if not may_make and not (path / "catalog.db").is_file():
                raise UserError(
                    f"there is no feature store in {path}; mlops features ingest, or FeatureStoreClient.local, makes one"
                )
            now = datetime.now(UTC)
            yield Place(name=path.name, client=FeatureStoreClient.local(path, now=lambda: now), now=now)
            return
        with account(profile, home) as aws:
            yield _deployed(str(unit), aws)
    except (ValueError, OSError, CommitFailedException, AnnounceError) as error:
        raise UserError(" ".join(str(error).split())) from error


def _deployed(unit: str, aws: Account) -> Place:
    from mlops_cli.entries import Entries
    from mlops_runtime.features.batch_delivery import unit_bus
    from mlops_runtime.features.store_client import FeatureStoreClient

    entry = Entries(ssm=aws.client("ssm")).feature_store(unit)
    _, now = aws.caller()

    def announce(detail: "EventDetail") -> None:
        bus = Entries(ssm=aws.client("ssm")).unit(unit).bus
        unit_bus(aws.client("events"), bus=bus, unit=unit)(detail)

    client = FeatureStoreClient.glue(
        database=entry.database,
        environment=aws.environment(),
        now=lambda: now,
        announce=announce,
        manifests=f"s3://{entry.manifests_bucket}/manifests",
        training_sets=f"s3://{entry.training_sets_bucket}",
        s3=aws.client("s3"),
    )
    return Place(name=unit, client=client, now=now, unit=unit, aws=aws, entry=entry)


def package_groups(place: Place) -> list[str]:
    """Return the model package groups of a store's unit; none of a folder."""
    if place.aws is None or place.unit is None:
        return []
    from mlops_cli.entries import Entries

    ssm = place.aws.client("ssm")
    endpoints, pipelines = Entries(ssm=ssm).of_unit(place.unit)
    pages = ssm.get_paginator("get_parameters_by_path").paginate(Path=f"/mlops/{place.unit}/registry/")
    registered = [p["Name"].rpartition("/")[2] for page in pages for p in page["Parameters"]]
    return list(dict.fromkeys([*registered, *(e.group for e in endpoints), *(p.group for p in pipelines)]))
