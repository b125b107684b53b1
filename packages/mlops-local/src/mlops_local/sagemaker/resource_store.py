"""SageMaker's resources: one in-memory store per account and Region, in order of creation.

A record is the response of Describe. The running parts of a resource (a process, a fleet) belong to the module that runs them.
"""

import base64
import json
import re
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ministack.core.responses import get_account_id, get_region

from mlops_local import clock
from mlops_local.sagemaker.api_shapes import Record, ServiceError, output_shape, validation, wire
from mlops_local.saved_state import kept_stores


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of resource: the members of its name and ARN, the ARN's resource type, and AWS's error messages."""

    name: str
    arn: str
    resource: str
    missing: str
    exists: Callable[[str], ServiceError]


def _already(what: str) -> Callable[[str], ServiceError]:
    # public reports of the service's wording, for instance github.com/aws/sagemaker-python-sdk/issues/101
    return lambda arn: validation(f'Cannot create already existing {what} "{arn}".')


def _job_exists(arn: str) -> ServiceError:
    return ServiceError(
        "ResourceInUse",
        f"Job name must be unique within an AWS account and region, and a job with this name already exists ({arn})",
    )


def _in_use(what: str) -> Callable[[str], ServiceError]:
    return lambda arn: ServiceError("ResourceInUse", f"{what} {arn} already exists.")


def _exists(what: str) -> Callable[[str], ServiceError]:
    return lambda arn: validation(f"{what} {arn} already exists.")


def _kind(what: str, missing: str, exists: Callable[[str], ServiceError], *, name: str = "", arn: str = "") -> Kind:
    """Return a kind; the names of its members and the resource type of its ARN follow from its own name, if not given."""
    resource = re.sub("(?<=[a-z])(?=[A-Z])", "-", what).lower()
    return Kind(name=name or f"{what}Name", arn=arn or f"{what}Arn", resource=resource, missing=missing, exists=exists)


_NO_JOB = "Could not find requested job with name: {name}"
KINDS: dict[str, Kind] = {
    "Model": _kind("Model", 'Could not find model "{arn}".', _already("model")),
    "EndpointConfig": _kind(
        "EndpointConfig", 'Could not find endpoint configuration "{arn}".', _already("endpoint configuration")
    ),
    "Endpoint": _kind("Endpoint", 'Could not find endpoint "{arn}".', _already("endpoint")),
    # github.com/aws/sagemaker-python-sdk/issues/326
    "TrainingJob": _kind("TrainingJob", "Requested resource not found.", _job_exists),
    "ProcessingJob": _kind("ProcessingJob", _NO_JOB, _job_exists),
    "TransformJob": _kind("TransformJob", _NO_JOB, _job_exists),
    "ModelPackageGroup": _kind(
        "ModelPackageGroup",
        "ModelPackageGroup {arn} does not exist.",
        lambda arn: validation(f"Model Package Group already exists: {arn}"),
    ),
    # artifacts are stored by ARN, like versions of packages
    "Artifact": _kind("Artifact", "Artifact {arn} does not exist.", _exists("Artifact"), name="ArtifactArn"),
    "Action": _kind("Action", "Action {arn} does not exist.", _exists("Action")),
    "Context": _kind("Context", "Context {arn} does not exist.", _exists("Context")),
    # AWS identifies associations only by their two ends
    "Association": _kind(
        "Association",
        "Association {arn} does not exist.",
        _exists("Association"),
        name="AssociationKey",
        arn="AssociationKey",
    ),
    **{
        f"{what}JobDefinition": _kind(
            f"{what}JobDefinition",
            "Job definition {arn} not found.",
            _in_use("Job definition"),
            name="JobDefinitionName",
            arn="JobDefinitionArn",
        )
        for what in ("DataQuality", "ModelQuality", "ModelBias", "ModelExplainability")
    },
    "MonitoringSchedule": _kind(
        "MonitoringSchedule", "Monitoring schedule {arn} not found.", _in_use("Monitoring schedule")
    ),
    # AWS identifies executions only by schedule and time
    "MonitoringExecution": _kind(
        "MonitoringExecution",
        "Monitoring execution {arn} not found.",
        _in_use("Monitoring execution"),
        name="ExecutionKey",
        arn="ExecutionKey",
    ),
    "ModelPackage": _kind(
        "ModelPackage",
        "ModelPackage {arn} does not exist.",
        lambda arn: validation(f"ModelPackage already exists: {arn}"),
        name="ModelPackageArn",
    ),
}


@kept_stores.record
@dataclass(slots=True)
class Store:
    """The records of one account and Region."""

    records: dict[str, dict[str, Record]] = field(default_factory=lambda: {kind: {} for kind in KINDS})
    tags: dict[str, dict[str, str]] = field(default_factory=dict)


LOCK = threading.RLock()
_STORES: dict[tuple[str, str], Store] = kept_stores.keep(__name__, "_STORES", {})


def store() -> Store:
    """Return the store of the calling account and Region."""
    with LOCK:
        return _STORES.setdefault((get_account_id(), get_region()), Store())


def stores() -> dict[tuple[str, str], Store]:
    """Return the stores of all accounts and Regions."""
    with LOCK:
        return dict(_STORES)


def all_records(kind: str) -> list[Record]:
    """Return the records of a kind in all accounts and Regions."""
    return [record for known in stores().values() for record in known.records[kind].values()]


def arn(kind: str, name: str) -> str:
    """Return the ARN of a resource in the calling account and Region; SageMaker's ARNs are lower case."""
    if name.startswith("arn:"):  # package versions are stored by ARN
        return name
    return f"arn:aws:sagemaker:{get_region()}:{get_account_id()}:{KINDS[kind].resource}/{name.lower()}"


def name_of(kind: str, text: str) -> str:
    """Return the name of a resource given by name or ARN; looked up, because an ARN loses the name's case."""
    if not text.startswith("arn:"):
        return text
    records = store().records[kind].items()
    return next((name for name, record in records if record[KINDS[kind].arn] == text), text.rsplit("/", 1)[-1])


def add(kind: str, name: str, record: Record, tags: Iterable[dict[str, str]] | None = None) -> Record:
    """Store a new record under its name and ARN, with its times.

    Raises:
        ServiceError: If a resource of that name exists.
    """
    # claim: names-are-unique-by-kind
    spec, identity = KINDS[kind], arn(kind, name)
    with LOCK:
        records = store().records[kind]
        if name in records:
            raise spec.exists(identity)
        now = clock.utcnow()
        records[name] = record | {spec.name: name, "CreationTime": now, "LastModifiedTime": now} | {spec.arn: identity}
        set_tags(identity, [] if tags is None else tags)
        return records[name]


def get(kind: str, name: str) -> Record:
    """Return a record.

    Raises:
        ServiceError: ``ValidationException`` in AWS's wording for that kind, if it does not exist.
    """
    # claim: names-are-unique-by-kind
    found = store().records[kind].get(name)
    if found is None:
        raise validation(KINDS[kind].missing.format(name=name, arn=arn(kind, name)))
    return found


def update(record: Record, **changes: Any) -> None:
    """Change members of a record and its modification time; ``None`` removes a member."""
    with LOCK:
        record.update(changes, LastModifiedTime=clock.utcnow())
        for name in [name for name, value in changes.items() if value is None]:
            del record[name]


def remove(kind: str, name: str) -> Record:
    """Remove a record and its tags, and return it."""
    with LOCK:
        record = get(kind, name)
        del store().records[kind][name]
        store().tags.pop(record[KINDS[kind].arn], None)
        return record


def tags_of(identity: str) -> dict[str, str]:
    """Return the tags of a resource by ARN; empty for a missing resource."""
    return dict(store().tags.get(identity, {}))


def set_tags(identity: str, tags: Iterable[dict[str, str]]) -> None:
    """Add tags to a resource, replacing values of existing keys."""
    with LOCK:
        store().tags.setdefault(identity, {}).update({tag["Key"]: tag["Value"] for tag in tags})


def describe(kind: str, request: Record) -> Record:
    """Serve the Describe operation of a kind."""
    return get(kind, request[KINDS[kind].name])


def list_all(kind: str, request: Record, *, descending: bool) -> Record:
    """Serve the List operation of a kind without filters of its own."""
    return listing(f"List{kind}s", request, store().records[kind].values(), descending=descending)


def delete(kind: str, request: Record) -> Record:
    """Serve the Delete operation of a kind."""
    remove(kind, request[KINDS[kind].name])
    return {}


def listing(name: str, request: Record, rows: Iterable[Record], *, descending: bool) -> Record:
    """Return the response of a List operation: common filters, sort orders and pagination.

    Args:
        name: The operation; its output shape determines the summary's members.
        rows: Records of the kind, after the operation's own filters.
        descending: Default sort order, as documented for ``SortOrder`` in botocore.
    """
    listed = name.removeprefix("List").removesuffix("s")
    kind, status = KINDS[listed], f"{listed}Status"
    found = [row for row in rows if _selected(row, request, kind, status)]
    by = {"Name": kind.name, "Status": status, "CreationTime": "CreationTime", "LastModifiedTime": "LastModifiedTime"}
    wanted = request.get("SortBy", "CreationTime")
    member = by.get(wanted, wanted)  # associations have further sort members

    def position(row: Record) -> tuple[str | float, str]:
        value = row.get(str(member), "")
        return value.timestamp() if isinstance(value, datetime) else str(value), str(row[kind.arn])

    reverse = request["SortOrder"] == "Descending" if "SortOrder" in request else descending
    found.sort(key=position, reverse=reverse)
    if "NextToken" in request:
        last = _read_token(request["NextToken"])
        found = [row for row in found if (position(row) < last if reverse else position(row) > last)]
    size = request.get("MaxResults", 10 if name in ("ListEndpoints", "ListTransformJobs") else 100)
    page = found[:size]
    output = output_shape(name)
    summaries = next(m for m, shape in output.members.items() if shape.type_name == "list")
    result: Record = {summaries: wire(output.members[summaries], page)}
    if len(found) > size:
        result["NextToken"] = base64.urlsafe_b64encode(json.dumps(position(page[-1])).encode()).decode()
    return result


def _selected(row: Record, request: Record, kind: Kind, status: str) -> bool:
    created, changed = row["CreationTime"].timestamp(), row["LastModifiedTime"].timestamp()
    checks: dict[str, Callable[[Any], bool]] = {
        "NameContains": lambda v: v.lower() in str(row[kind.name]).lower(),
        "CreationTimeAfter": lambda v: created >= v,
        "CreationTimeBefore": lambda v: created <= v,
        "LastModifiedTimeAfter": lambda v: changed >= v,
        "LastModifiedTimeBefore": lambda v: changed <= v,
        "StatusEquals": lambda v: row[status] == v,
    }
    return all(check(request[name]) for name, check in checks.items() if name in request)


def _read_token(token: str) -> tuple[str | float, str]:
    # claim: names-are-unique-by-kind
    try:
        value, identity = json.loads(base64.urlsafe_b64decode(token))
    except ValueError as error:
        raise validation("Invalid pagination token.") from error
    return value, identity
