"""Lineage of a package: the rows and code it was trained from, and the endpoints that served it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from botocore.exceptions import ClientError

from mlops_runtime.business_unit.deployed_chain import open_chain
from mlops_runtime.business_unit.deployed_entries import Entries, NotDeployedError
from mlops_runtime.console.http_message import Call, RefusedRequestError
from mlops_runtime.contracts.feature_service import FeatureServiceUse
from mlops_runtime.contracts.features import PinnedTable
from mlops_runtime.contracts.rollout import Outcome
from mlops_runtime.features.training_set_manifest import ManifestError, Manifests
from mlops_runtime.refused_calls import DENIED, refusal
from mlops_runtime.registry.package_approval import person_of
from mlops_runtime.registry.package_finder import PackageFinder, PackageNotFoundError

_RECORDS = 50  # newest ones of each endpoint
_CODE = ("code", "code_sha256", "execution")


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRead:
    """A table that a training set read; ``snapshot`` is a string, since JavaScript numbers cannot represent 64-bit integers."""

    table: str
    snapshot: str
    columns: tuple[str, ...]
    is_entities: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSetRead:
    """Sources of a training set, and the code that built it."""

    name: str
    rows: int
    split: Mapping[str, str]
    service: FeatureServiceUse | None
    engine: str
    source: Mapping[str, str]
    reads: tuple[TableRead, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Promotion:
    """An audit record of the package's promotion on an endpoint, with its time and requester."""

    endpoint: str
    sequence: int
    at: str
    who: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LineagePage:
    """The lineage of a package. ``code`` are the metadata entries that name its code and training run.

    ``training_set`` is null if it was not built from the unit's feature store; ``unread`` is why parts are not shown.
    """

    now: datetime
    package: str
    training_set_id: str | None
    training_set: TrainingSetRead | None
    code: Mapping[str, str]
    promotions: tuple[Promotion, ...]
    unread: tuple[str, ...]


def lineage(call: Call) -> LineagePage:
    """Return the lineage of a package.

    Raises:
        RefusedRequestError: If the package does not exist.
    """
    finder, group = PackageFinder(client=call.cloud.client), call.names["group"]
    try:
        description, _ = finder.described(f"{group}/{call.names['number']}")
    except PackageNotFoundError as error:
        raise RefusedRequestError(404, str(error)) from error
    metadata, arn = description.get("CustomerMetadataProperties", {}), str(description["ModelPackageArn"])
    entries = Entries(ssm=call.cloud.client("ssm"))
    unread: list[str] = []
    found = entries.endpoints_of(group)
    units = {each.unit for each in found}
    training_set = metadata.get("training_set_id")
    read = None
    if training_set is not None:
        read = next((one for unit in sorted(units) if (one := _set(call, entries, unit, training_set, unread))), None)
    promotions = []
    for endpoint in found:
        chain = open_chain(call.cloud.client, endpoint)
        promotions += [
            Promotion(endpoint=endpoint.endpoint, sequence=each.sequence, at=each.at, who=person_of(each.requested_by))
            for each in chain.newest(chain.table.read(), _RECORDS)
            if each.outcome is Outcome.PROMOTED and each.serving_package == arn
        ]
    return LineagePage(
        now=call.now,
        package=arn.partition(":model-package/")[2],
        training_set_id=training_set,
        training_set=read,
        code={name: metadata[name] for name in _CODE if name in metadata},
        promotions=tuple(promotions),
        unread=tuple(unread),
    )


def _set(call: Call, entries: Entries, unit: str, training_set: str, unread: list[str]) -> TrainingSetRead | None:
    """Return the sources of a training set in a unit's feature store; ``None`` if unknown, with the reason in ``unread``."""
    try:
        place = f"s3://{entries.feature_store(unit).manifests_bucket}/manifests"
        manifest = Manifests(place, s3=call.cloud.client("s3")).read(training_set)
    except NotDeployedError:  # the unit has no feature store
        return None
    except ManifestError as error:
        unread.append(f"training set: {error}")
        return None
    except ClientError as error:
        if error.response["Error"]["Code"] not in DENIED:
            raise
        unread.append(f"training set: {refusal(error.response['Error'], error.operation_name)}")
        return None
    rows = () if manifest.entities is None else (_read(manifest.entities, is_entities=True),)
    return TrainingSetRead(
        name=manifest.name,
        rows=manifest.output.rows,
        split=manifest.split,
        service=manifest.feature_service,
        engine=f"{manifest.build.engine} {manifest.build.engine_version}",
        source=manifest.build.source or {},
        reads=(*rows, *map(_read, manifest.features)),
    )


def _read(pinned: PinnedTable, *, is_entities: bool = False) -> TableRead:
    return TableRead(
        table=pinned.table, snapshot=str(pinned.snapshot_id), columns=pinned.columns, is_entities=is_entities
    )
