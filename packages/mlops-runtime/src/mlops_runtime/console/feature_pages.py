"""Operations on a unit's feature store: search features, and list the training sets that read a table or column."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from mlops_runtime.business_unit.deployed_entries import Entries
from mlops_runtime.console.http_message import Call, RefusedRequestError
from mlops_runtime.features.catalogue_search import search
from mlops_runtime.features.deployed_tables import DeployedTables
from mlops_runtime.features.feature_service import FeatureServiceError, FeatureServices
from mlops_runtime.features.table_description import FeatureTableError
from mlops_runtime.features.training_set_manifest import ManifestError, Manifests
from mlops_runtime.features.training_set_usage import who_used


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureHit:
    """A group or service that contains every word, in the places of ``matches``; as printed by `mlops features find --json`."""

    kind: Literal["group", "service"]
    name: str
    owner: str
    description: str
    matches: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureUse:
    """A training set that read a table; ``snapshot`` is a string, since JavaScript numbers cannot represent 64-bit integers."""

    manifest: str
    name: str
    columns: tuple[str, ...]
    snapshot: str
    is_erased: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FeaturesPage:
    """Search results. ``problems`` name tables and services that cannot be read."""

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
    """Find groups and services by words."""
    store = _Store(call)
    found, problems = store.tables.all(), []
    try:
        services = FeatureServices(store.manifests.objects).all()
    except FeatureServiceError as error:
        services, problems = (), [str(error)]
    return FeaturesPage(
        now=call.now,
        unit=store.unit,
        hits=tuple(
            FeatureHit(
                kind=hit.kind, name=hit.name, owner=hit.owner, description=hit.description, matches=tuple(hit.matches)
            )
            for hit in search(call.query["text"], found.tables, services)
        ),
        problems=(*found.problems, *problems),
    )


def users(call: Call) -> UsersPage:
    """List the training sets that read a table, or one column of it.

    Raises:
        RefusedRequestError: If the table or column does not exist, or a manifest cannot be read.
    """
    store, name = _Store(call), call.names["table"]
    try:
        found = who_used(store.manifests, store.tables.describe(name), column=call.query.get("column"))
    except FeatureTableError as error:
        raise RefusedRequestError(404, str(error)) from error
    except ManifestError as error:  # the list would be incomplete
        raise RefusedRequestError(502, str(error)) from error
    return UsersPage(
        now=call.now,
        unit=store.unit,
        table=name,
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


class _Store:
    """The feature store of a call's unit, read only with boto3."""

    def __init__(self, call: Call) -> None:
        self.unit, client = call.names["unit"], call.cloud.client
        entry = Entries(ssm=client("ssm")).feature_store(self.unit)
        s3 = client("s3")
        self.tables = DeployedTables(entry.database, glue=client("glue"), s3=s3)
        self.manifests = Manifests(f"s3://{entry.manifests_bucket}/manifests", s3=s3)
