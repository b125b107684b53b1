"""Lineage: artifacts, actions and contexts, and associations between them.

Entities are created by requests only: SageMaker's own entities for jobs (trial components) and lineage queries are not implemented.

See: https://docs.aws.amazon.com/sagemaker/latest/dg/lineage-tracking-entities.html
"""

import re
from collections.abc import Callable, Mapping
from functools import partial

from ministack.core.responses import get_account_id, get_region

from mlops_local import clock
from mlops_local.iam import sagemaker_requests
from mlops_local.sagemaker import package_versions, resource_store
from mlops_local.sagemaker.api_shapes import Record, ServiceError, validation

_TYPES = {"Artifact": "ArtifactType", "Action": "ActionType", "Context": "ContextType"}
_NAMES = {"Artifact": "ArtifactName", "Action": "ActionName", "Context": "ContextName"}
_PAGE = 10  # "The default value is 10", for MaxResults of each list operation
# botocore's ExperimentEntityName; a context name with underscores does not match a summary's SourceName
_SHOWN_NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,119}")


def create(kind: str, request: Record) -> Record:
    """CreateAction and CreateContext, by name; CreateArtifact, one per source, named by the source's hash."""
    name = _artifact(request["Source"]) if kind == "Artifact" else request[f"{kind}Name"]
    record = {member: value for member, value in request.items() if member != "Tags"}
    who = package_versions.user_context()
    made = resource_store.add(kind, name, record | {"CreatedBy": who, "LastModifiedBy": who}, request.get("Tags"))
    arn = resource_store.KINDS[kind].arn
    return {arn: made[arn]}


def describe(kind: str, request: Record) -> Record:
    """DescribeArtifact, by ARN; DescribeAction and DescribeContext, by name or ARN."""
    return _get(kind, request[resource_store.KINDS[kind].name])


def list_(kind: str, request: Record) -> Record:
    """ListArtifacts, ListActions and ListContexts."""
    rows: list[Record] = list(resource_store.store().records[kind].values())
    if "SourceUri" in request:
        rows = [row for row in rows if row["Source"]["SourceUri"] == request["SourceUri"]]
    if _TYPES[kind] in request:
        rows = [row for row in rows if row[_TYPES[kind]] == request[_TYPES[kind]]]
    return _page(f"List{kind}s", request, rows)


def delete(kind: str, request: Record) -> Record:
    """DeleteAction and DeleteContext, by name or ARN; DeleteArtifact, by ARN or by source."""
    # claim: lineage-joins-two-entities-once
    spec = resource_store.KINDS[kind]
    name = request.get(spec.name)
    if name is None:
        if "Source" not in request:
            raise validation("Either ArtifactArn or Source must be specified.")
        name = _artifact(request["Source"])
    with resource_store.LOCK:
        record = _get(kind, name)
        arn = record[spec.arn]
        for association in resource_store.store().records["Association"].values():
            if arn in (association["SourceArn"], association["DestinationArn"]):
                # AWS's own SDK removes associations first: sagemaker.lineage's delete(disassociate=True)
                raise validation(f"{kind} {arn} has associations; delete them first.")
        resource_store.remove(kind, record[spec.name])
    return {spec.arn: arn}


def add_association(request: Record) -> Record:
    """AddAssociation: at most one between a source and a destination."""
    # claim: lineage-joins-two-entities-once
    source, destination = request["SourceArn"], request["DestinationArn"]
    with resource_store.LOCK:
        ends = {"Source": _entity(source), "Destination": _entity(destination)}
        records, key = resource_store.store().records["Association"], _key(source, destination)
        if key in records:
            raise validation(f"Association between {source} and {destination} already exists.")
        now = clock.utcnow()
        record: Record = {
            "SourceArn": source,
            "DestinationArn": destination,
            "CreationTime": now,
            "LastModifiedTime": now,
            "CreatedBy": package_versions.user_context(),
        }
        for end, (kind, entity) in ends.items():
            record[f"{end}Type"] = entity[_TYPES[kind]]
            name = entity.get(_NAMES[kind], "")
            if _SHOWN_NAME.fullmatch(name):
                record[f"{end}Name"] = name
        if "AssociationType" in request:
            record["AssociationType"] = request["AssociationType"]
        records[key] = record | {"AssociationKey": key}
    return {"SourceArn": source, "DestinationArn": destination}


def list_associations(request: Record) -> Record:
    """ListAssociations."""
    wanted = ("SourceArn", "DestinationArn", "SourceType", "DestinationType", "AssociationType")
    rows: list[Record] = list(resource_store.store().records["Association"].values())
    rows = [row for row in rows if all(row.get(name) == request[name] for name in wanted if name in request)]
    return _page("ListAssociations", request, rows)


def delete_association(request: Record) -> Record:
    """DeleteAssociation."""
    # claim: lineage-joins-two-entities-once
    source, destination = request["SourceArn"], request["DestinationArn"]
    with resource_store.LOCK:
        found = resource_store.store().records["Association"].pop(_key(source, destination), None)
    if found is None:
        raise _missing(f"Association between {source} and {destination} does not exist.")
    return {"SourceArn": source, "DestinationArn": destination}


def _artifact(source: Record) -> str:
    return sagemaker_requests.artifact_arn(source, f"arn:aws:sagemaker:{get_region()}:{get_account_id()}:")


def _get(kind: str, name: str) -> Record:
    # claim: lineage-joins-two-entities-once
    if kind != "Artifact":  # artifacts are stored by ARN
        name = resource_store.name_of(kind, name)
    found = resource_store.store().records[kind].get(name)
    if found is None:
        raise _missing(f"{kind} {resource_store.arn(kind, name)} does not exist.")
    return found


def _page(operation: str, request: Record, rows: list[Record]) -> Record:
    after, before = request.get("CreatedAfter"), request.get("CreatedBefore")
    found = [row for row in rows if after is None or row["CreationTime"].timestamp() >= after]
    found = [row for row in found if before is None or row["CreationTime"].timestamp() <= before]
    return resource_store.listing(operation, {"MaxResults": _PAGE} | request, found, descending=True)


def _entity(arn: str) -> tuple[str, Record]:
    kinds = {resource_store.KINDS[kind].resource: kind for kind in _TYPES}
    kind = kinds.get(arn.split(":", 5)[-1].partition("/")[0])
    if kind is None:
        raise validation(f"the embedded SageMaker associates {', '.join(sorted(kinds))} only, got {arn}")
    return kind, _get(kind, arn)


def _key(source: str, destination: str) -> str:
    return f"{source} {destination}"


def _missing(message: str) -> ServiceError:
    return ServiceError("ResourceNotFound", message)


OPERATIONS: Mapping[str, Callable[[Record], Record]] = {
    **{f"Create{kind}": partial(create, kind) for kind in _TYPES},
    **{f"Describe{kind}": partial(describe, kind) for kind in _TYPES},
    **{f"List{kind}s": partial(list_, kind) for kind in _TYPES},
    **{f"Delete{kind}": partial(delete, kind) for kind in _TYPES},
    "AddAssociation": add_association,
    "ListAssociations": list_associations,
    "DeleteAssociation": delete_association,
}
