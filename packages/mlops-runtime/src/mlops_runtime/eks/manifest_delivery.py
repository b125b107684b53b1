"""Custom resource for manifests: a function applies and deletes them, with administrator access only during its work."""

import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

from botocore.exceptions import BotoCoreError, ClientError

from mlops_runtime.contracts import canonical_json
from mlops_runtime.eks.cluster_client import Cluster, ClusterError
from mlops_runtime.eks.cluster_requirements import check_all, check_mode
from mlops_runtime.eks.kubernetes_objects import FIELD_MANAGER, MANAGED_LABEL, Manifest, Ref, ref
from mlops_runtime.eks.manifest_apply import HalfAppliedError, apply, remove

_LOG = logging.getLogger(__name__)
_EXISTS, _MISSING = "ResourceInUseException", "ResourceNotFoundException"
_REMOVALS = 5
_WAIT = 2.0  # seconds between attempts

_NOT_CREATED = "/not-created"
_NAMESPACE = "Namespace"
_POLL = 2.0  # seconds between two polls
_LOOKS = 31
_UNKNOWN = (401, 403)
_ANY = Ref(api_version="v1", kind="Namespace", name="kube-system")

Answer = Callable[..., None]


class AdminError(RuntimeError):
    """The administrator access could not be revoked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminRecord:
    """Start or end of administrator access: principal, cluster, policy, request and AWS's time."""

    cluster: str
    principal: str
    policy: str
    request: str
    event: Literal["GRANTED", "REMOVED"]
    at: str
    format: Literal["mlops.admin-access/1"] = "mlops.admin-access/1"


class AdminAccess:
    """Temporary administrator access for one principal.

    Args:
        eks: EKS client.
        s3: S3 client.
        principal: ARN of the function's own role.
        policy: ARN of the access policy.
        bucket: Bucket of audit records.
        sleep: Called with the seconds to wait. Default: ``time.sleep``.
    """

    def __init__(
        self,
        *,
        eks: Any,
        s3: Any,
        principal: str,
        policy: str,
        bucket: str,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._eks, self._s3, self._sleep = eks, s3, sleep
        self._principal, self._policy, self._bucket = principal, policy, bucket

    @contextmanager
    def during(self, cluster: str, request: str) -> Iterator[None]:
        """Grant the access during a block, and revoke it at the end, also after an error.

        An existing entry was left by a killed attempt, since only the function grants access to its own role. It is used
        and removed.

        Raises:
            AdminError: If the entry cannot be removed at the end.
        """
        since = self._create(cluster)
        try:
            self._eks.associate_access_policy(
                clusterName=cluster,
                principalArn=self._principal,
                policyArn=self._policy,
                accessScope={"type": "cluster"},
            )
            # record the access before it is used
            self._record(cluster, request, "GRANTED", since)
            yield
        finally:
            until = self._remove(cluster)
            self._record(cluster, request, "REMOVED", until)

    def _create(self, cluster: str) -> str:
        """Create the entry, which allows nothing without a policy, and return the time of its creation."""
        try:
            answer = self._eks.create_access_entry(clusterName=cluster, principalArn=self._principal, type="STANDARD")
        except ClientError as error:
            if error.response["Error"]["Code"] != _EXISTS:
                raise
            _LOG.warning("an access entry of %s was left by an earlier attempt", self._principal)
            answer = self._left(cluster)
        except BotoCoreError:
            # the response was lost, so the entry may exist
            self._remove(cluster)
            raise
        return str(answer["accessEntry"]["createdAt"].isoformat())

    def _left(self, cluster: str) -> Mapping[str, Any]:
        """Describe the entry left by an earlier attempt; if that fails, remove it."""
        try:
            found: Mapping[str, Any] = self._eks.describe_access_entry(
                clusterName=cluster, principalArn=self._principal
            )
        except (BotoCoreError, ClientError):
            self._remove(cluster)
            raise
        return found

    def _remove(self, cluster: str) -> str:
        """Remove the entry with its policies, and return the time."""
        problem: Exception | None = None
        for _ in range(_REMOVALS):
            try:
                answer = self._eks.delete_access_entry(clusterName=cluster, principalArn=self._principal)
            except (BotoCoreError, ClientError) as error:
                if isinstance(error, ClientError) and error.response["Error"]["Code"] == _MISSING:
                    return _date(error.response)
                problem = error
                _LOG.exception("the access entry of %s could not be removed", self._principal)
                self._sleep(_WAIT)
            else:
                return _date(answer)
        raise AdminError(
            f"THE ACCESS ENTRY OF {self._principal} ON {cluster} IS STILL THERE: {problem}; remove it with: aws eks "
            f"delete-access-entry --cluster-name {cluster} --principal-arn {self._principal}"
        )

    def _record(self, cluster: str, request: str, event: Literal["GRANTED", "REMOVED"], at: str) -> None:
        record = AdminRecord(
            cluster=cluster, principal=self._principal, policy=self._policy, request=request, event=event, at=at
        )
        _LOG.info("%s", canonical_json(record).decode())
        self._s3.put_object(
            Bucket=self._bucket, Key=f"access/{cluster}/{request}-{event.lower()}.json", Body=canonical_json(record)
        )


def _date(answer: Mapping[str, Any]) -> str:
    """Return the time of AWS's response, by its own clock."""
    return str(answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date", ""))


class DeliveryError(RuntimeError):
    """Manifests could not be applied, or a deletion did not complete in time."""


class ManifestsResource:
    """Handles requests of CloudFormation.

    Args:
        connect: Returns the client of a cluster by name.
        admin: Temporary administrator access, for objects outside of a namespace. Default: the role's permanent access.
        sleep: Called with the seconds to wait. Default: ``time.sleep``.
    """

    def __init__(
        self,
        *,
        connect: Callable[[str], Cluster],
        admin: AdminAccess | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._connect, self._admin, self._sleep = connect, admin, sleep

    def handle(self, event: Mapping[str, Any], answer: Answer, *, has_time: Callable[[], bool]) -> None:
        """Handle one request, and respond in every case, since CloudFormation waits an hour for a missing response.

        A creation that fails before anything was applied gets a physical id whose deletion does nothing; one that was applied
        partially is deleted like any other.
        """
        physical_id, failure, data = _physical_id(event), None, {}
        done: list[Ref] = []
        try:
            if event["RequestType"] == "Delete":
                data = {"Deleted": str(self._delete(event, has_time))}
            else:
                self._deliver(event, done)
                data = {"Applied": str(len(done))}
        except Exception as error:  # for any error, CloudFormation must get a response
            _LOG.exception("request %s failed", event.get("RequestId"))
            failure = f"{type(error).__name__}: {error}"
            if event["RequestType"] == "Create" and not done and not isinstance(error, HalfAppliedError):
                physical_id = f"{event['LogicalResourceId']}{_NOT_CREATED}"
        answer(event, physical_id=physical_id, data=data, failure=failure)

    def _deliver(self, event: Mapping[str, Any], done: list[Ref]) -> None:
        properties = event["ResourceProperties"]
        manifests = _manifests(properties)
        with self._access(event):
            cluster = self._cluster(event)
            _check(cluster, properties)
            done += apply(cluster, manifests).objects
            if event["RequestType"] == "Update":
                stays = {ref(manifest) for manifest in manifests}
                before = event.get("OldResourceProperties", {})
                if _identity(before) == _identity(properties):
                    remove(cluster, [reference for reference in _ours(_manifests(before)) if reference not in stays])
        _LOG.info("applied %s", ", ".join(map(str, done)))

    def _delete(self, event: Mapping[str, Any], has_time: Callable[[], bool]) -> int:
        if str(event["PhysicalResourceId"]).endswith(_NOT_CREATED):
            return 0
        properties = event["ResourceProperties"]
        made = _ours(_manifests(properties))
        try:
            with self._access(event):
                cluster = self._cluster(event)
                removed = len(remove(cluster, [*_owned(properties), *made]))
                for reference in made:
                    if reference.kind == _NAMESPACE:
                        self._await_deletion(cluster, reference, has_time)
        except (ClientError, ClusterError) as error:
            # a deleted cluster has no objects left; EKS returns the same error for an access entry that is not effective yet
            if not (_is_not_found(error) and self._is_deleted(properties["ClusterName"])):
                raise
            return 0
        return removed

    def _is_deleted(self, cluster: str) -> bool:
        try:
            self._connect(cluster)
        except (ClientError, ClusterError) as error:
            return _is_not_found(error)
        return False

    def _await_deletion(self, cluster: Cluster, reference: Ref, has_time: Callable[[], bool]) -> None:
        while cluster.get(reference) is not None:
            if not has_time():
                raise DeliveryError(
                    f"{reference} is still being emptied; find the remaining objects with: kubectl get namespace "
                    f"{reference.name} -o jsonpath={{.status.conditions}}, then delete the stack again"
                )
            self._sleep(_POLL)

    def _access(self, event: Mapping[str, Any]) -> AbstractContextManager[None]:
        if self._admin is None:
            return nullcontext()
        return self._admin.during(event["ResourceProperties"]["ClusterName"], str(event["RequestId"]))

    def _cluster(self, event: Mapping[str, Any]) -> Cluster:
        """Return the cluster once it accepts the caller, since an access entry takes some seconds to become effective.

        Raises:
            ClusterError: If the cluster does not accept the caller within a minute.
        """
        properties = event["ResourceProperties"]
        cluster = self._connect(properties["ClusterName"])
        own = [ref(manifest) for manifest in _manifests(properties)] + _owned(properties)
        probe = own[0] if self._admin is None and own else _ANY
        for left in reversed(range(_LOOKS)):
            try:
                cluster.get(probe)
            except ClusterError as error:
                if error.status not in _UNKNOWN or left == 0:
                    raise
                _LOG.info("the access entry is not effective yet: %s", error)
                self._sleep(_POLL)
            else:
                break
        return cluster


def _check(cluster: Cluster, properties: Mapping[str, Any]) -> None:
    name = properties["ClusterName"]
    if "AutoMode" in properties:
        check_mode(cluster, name, is_auto_mode=properties["AutoMode"] == "true")
    check_all(cluster, name, json.loads(properties.get("Requires", "[]")))


def _is_not_found(error: BaseException) -> bool:
    cause = error if isinstance(error, ClientError) else error.__cause__
    return isinstance(cause, ClientError) and cause.response["Error"]["Code"] == "ResourceNotFoundException"


def _identity(properties: Mapping[str, Any]) -> tuple[str, str]:
    return str(properties.get("ClusterName", "")), str(properties.get("Name", ""))


def _physical_id(event: Mapping[str, Any]) -> str:
    """Return the physical id: another cluster or name is a new resource, and CloudFormation deletes the old one."""
    if event["RequestType"] == "Delete":
        return str(event["PhysicalResourceId"])
    return "/".join(_identity(event["ResourceProperties"]))


def _manifests(properties: Mapping[str, Any]) -> list[Manifest]:
    found = json.loads(properties.get("Manifests", "[]"))
    if not isinstance(found, list):
        raise DeliveryError(f"Manifests must be a JSON list, got {type(found).__name__}")
    return found


def _ours(manifests: Sequence[Manifest]) -> list[Ref]:
    """Return the objects to delete with the resource; cluster-wide settings have no label of ours and are kept."""
    labels = ((manifest["metadata"].get("labels") or {}).get(MANAGED_LABEL) for manifest in manifests)
    return [ref(manifest) for manifest, label in zip(manifests, labels, strict=True) if label == FIELD_MANAGER]


def _owned(properties: Mapping[str, Any]) -> list[Ref]:
    return [
        Ref(api_version=api_version, kind=kind, namespace=namespace, name=name)
        for api_version, kind, namespace, name in json.loads(properties.get("Owned", "[]"))
    ]
