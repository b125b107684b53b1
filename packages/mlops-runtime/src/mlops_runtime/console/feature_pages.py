"""Search of a unit's features, and who read one: what is this column, and which training sets have it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from mlops_runtime.console.http_message import Call, RefusedRequestError


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureHit:
    """A group or a service in which every word occurs; ``matches`` says where. As `mlops features find --json` prints it."""

    kind: Literal["group", "service"]
    name: str
    owner: str
    description: str
    matches: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureUse:
    """A training set that read a table; ``snapshot`` is a string, as browsers cannot hold so long an integer."""

    manifest: str
    name: str
    columns: tuple[str, ...]
    snapshot: str
    is_erased: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FeaturesPage:
    """What was found. ``problems`` name tables that cannot be read."""

    now: datetime
    unit: str
    hits: tuple[FeatureHit, ...]
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class UsersPage:
    """Training sets that read a table, or one column of it."""

    now: datetime
    unit: str
    table: str
    users: tuple[FeatureUse, ...]


def find(call: Call) -> FeaturesPage:
    """Find groups and services by words.

    Raises:
        RefusedRequestError: If this installation has no libraries of the feature store.
    """
    try:
        from mlops_runtime.features.catalogue import catalogue  # noqa: PLC0415 - pyarrow
        from mlops_runtime.features.catalogue_search import search  # noqa: PLC0415
        from mlops_runtime.features.deployed_store import descriptions, open_store  # noqa: PLC0415
    except ImportError as error:
        raise _missing(error) from error
    unit, client = call.names["unit"], call.cloud.client
    store, entry = open_store(client, call.cloud.environment(), unit=unit, now=call.now)
    tables = [store.table(name) for name in store.table_names()]
    found = catalogue(tables, store.manifests, name=unit, now=call.now)
    about = descriptions(client, entry.database)
    hits = search(call.query["text"], found.groups, store.services.all(), descriptions=about)
    return FeaturesPage(
        now=call.now,
        unit=unit,
        hits=tuple(
            FeatureHit(
                kind=hit.kind,
                name=hit.name,
                owner=hit.owner,
                description=hit.description,
                matches=tuple(hit.matches),
            )
            for hit in hits
        ),
        problems=tuple(found.problems),
    )


def users(call: Call) -> UsersPage:
    """List the training sets that read a table, or one column of it.

    Raises:
        RefusedRequestError: If there is no such table or column, or this installation has no libraries of the feature store.
    """
    try:
        from mlops_runtime.features.deployed_store import open_store  # noqa: PLC0415 - pyarrow
        from mlops_runtime.features.iceberg_tables import FeatureTableError  # noqa: PLC0415
    except ImportError as error:
        raise _missing(error) from error
    unit, table = call.names["unit"], call.names["table"]
    store, _ = open_store(call.cloud.client, call.cloud.environment(), unit=unit, now=call.now)
    try:
        found = store.who_used(table, column=call.query.get("column"))
    except FeatureTableError as error:
        raise RefusedRequestError(404, str(error)) from error
    return UsersPage(
        now=call.now,
        unit=unit,
        table=table,
        users=tuple(
            FeatureUse(
                manifest=use.manifest_id,
                name=use.name,
                columns=tuple(use.columns),
                snapshot=str(use.snapshot_id),
                is_erased=use.is_erased,
            )
            for use in found
        ),
    )


def _missing(error: ImportError) -> RefusedRequestError:
    return RefusedRequestError(
        503,
        f"features need {error.name}, which is not where this console runs; use mlops console after: "
        "pip install 'mlops-runtime[features]'",
    )
