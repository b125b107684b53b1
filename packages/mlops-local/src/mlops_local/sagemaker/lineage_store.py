"""Lineage: artifacts, actions and contexts, and associations between them.

Entities are created by requests only: SageMaker's own entities for jobs (trial components) and lineage queries are not implemented.

See: https://docs.aws.amazon.com/sagemaker/latest/dg/lineage-tracking-entities.html
"""

import re

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


def create_artifact(request: Record) -> Record:
    """CreateArtifact: one per source, named by the source's hash."""
    prefix = f"arn:aws:sagemaker:{get_region()}:{get_account_id()}:"
    return _create("Artifact", sagemaker_requests.artifact_arn(request["Source"], prefix), request)


def create_action(request: Record) -> Record:
    """CreateAction."""
    return _create("Action", request["ActionName"], request)


def create_context(request: Record) -> Record:
    """CreateContext."""
    return _create("Context", request["ContextName"], request)


def describe_artifact(request: Record) -> Record:
    """DescribeArtifact."""
    return _get("Artifact", request["ArtifactArn"])


def describe_action(request: Record) -> Record:
    """DescribeAction, by name or ARN."""
    return _get("Action", request["ActionName"])


def describe_context(request: Record) -> Record:
    """DescribeContext, by name or ARN."""
    return _get("Context", request["ContextName"])


def list_artifacts(request: Record) -> Record:
    """ListArtifacts."""
    return _list("Artifact", request)


def list_actions(request: Record) -> Record:
    """ListActions."""
    return _list("Action", request)


def list_contexts(request: Record) -> Record:
    """ListContexts."""
    return _list("Context", request)


def delete_artifact(request: Record) -> Record:
    """DeleteArtifact, by ARN or by source."""
    # claim: lineage-joins-two-entities-once
    if "ArtifactArn" in request:
        return _delete("Artifact", request["ArtifactArn"])
    if "Source" not in request:
        raise validation("Either ArtifactArn or Source must be specified.")
    prefix = f"arn:aws:sagemaker:{get_region()}:{get_account_id()}:"
    return _delete("Artifact", sagemaker_requests.artifact_arn(request["Source"], prefix))


def delete_action(request: Record) -> Record:
    """DeleteAction."""
    return _delete("Action", request["ActionName"])


def delete_context(request: Record) -> Record:
    """DeleteContext."""
    return _delete("Context", request["ContextName"])


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


def _create(kind: str, name: str, request: Record) -> Record:
    record = {member: value for member, value in request.items() if member != "Tags"}
    who = package_versions.user_context()
    made = resource_store.add(kind, name, record | {"CreatedBy": who, "LastModifiedBy": who}, request.get("Tags"))
    arn = resource_store.KINDS[kind].arn
    return {arn: made[arn]}


def _get(kind: str, name: str) -> Record:
    # claim: lineage-joins-two-entities-once
    if kind != "Artifact":  # artifacts are stored by ARN
        name = resource_store.name_of(kind, name)
    found = resource_store.store().records[kind].get(name)
    if found is None:
        raise _missing(f"{kind} {resource_store.arn(kind, name)} does not exist.")
    return found


def _list(kind: str, request: Record) -> Record:
    rows: list[Record] = list(resource_store.store().records[kind].values())
    if "SourceUri" in request:
        rows = [row for row in rows if row["Source"]["SourceUri"] == request["SourceUri"]]
    if _TYPES[kind] in request:
        rows = [row for row in rows if row[_TYPES[kind]] == request[_TYPES[kind]]]
    return _page(f"List{kind}s", request, rows)


def _page(operation: str, request: Record, rows: list[Record]) -> Record:
    after, before = request.get("CreatedAfter"), request.get("CreatedBefore")
    found = [row for row in rows if after is None or row["CreationTime"].timestamp() >= after]
    found = [row for row in found if before is None or row["CreationTime"].timestamp() <= before]
    return resource_store.listing(operation, {"MaxResults": _PAGE} | request, found, status=None, descending=True)


def _delete(kind: str, name: str) -> Record:
    # claim: lineage-joins-two-entities-once
    with resource_store.LOCK:
        record, spec = _get(kind, name), resource_store.KINDS[kind]
        arn = record[spec.arn]
        for association in resource_store.store().records["Association"].values():
            if arn in (association["SourceArn"], association["DestinationArn"]):
                # AWS's own SDK removes associations first: sagemaker.lineage's delete(disassociate=True)
                raise validation(f"{kind} {arn} has associations; delete them first.")
        resource_store.remove(kind, record[spec.name])
    return {spec.arn: arn}


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
