"""Manifests as a custom resource: applied when they change, given up when they leave it, deleted with it.

Properties: ``ClusterName``, ``Name`` (what the manifests are of), ``Manifests`` (JSON list) and ``Owned``, a JSON list of further
objects, ``[apiVersion, kind, namespace, name]`` each, that others apply and that go with the resource. ``AutoMode`` says whether
the stack takes the cluster for one with EKS Auto Mode, ``Requires`` (JSON list) what the cluster must have: see ``requirements``.
"""

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from botocore.exceptions import ClientError

from mlops_runtime.eks.admin import AdminAccess
from mlops_runtime.eks.apply import HalfAppliedError, apply, remove
from mlops_runtime.eks.client import Cluster
from mlops_runtime.eks.cluster_errors import ClusterError
from mlops_runtime.eks.names import FIELD_MANAGER, MANAGED_LABEL, Manifest, Ref, ref
from mlops_runtime.eks.requirements import check_all, check_mode

_LOG = logging.getLogger(__name__)
_NOT_CREATED = "/not-created"
_NAMESPACE = "Namespace"
_POLL = 2.0  # seconds until something is looked at again
_LOOKS = 31
_UNKNOWN = (401, 403)
_ANY = Ref(api_version="v1", kind="Namespace", name="kube-system")


Answer = Callable[..., None]


class DeliveryError(RuntimeError):
    """Manifests could not be delivered, or something is not gone in time."""


class ManifestsResource:
    """Carries out the requests of CloudFormation.

    Args:
        connect: Returns a cluster by its name.
        admin: Access of an administrator, for what is beyond a namespace. Default: the role's own, standing access is used.
        sleep: Waits. Default: ``time.sleep``.
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
        """Carry out one request and answer it in every case: CloudFormation waits an hour for an answer that never comes.

        A creation that fails before anything was applied has a physical id whose deletion does nothing; one that failed in
        the middle is deleted like any other.

        Args:
            event: CloudFormation's request.
            answer: Sends the answer.
            has_time: Whether the function may start one more call.
        """
        physical_id, failure, data = _physical_id(event), None, {}
        done: list[Ref] = []
        try:
            if event["RequestType"] == "Delete":
                data = {"Deleted": str(self._delete(event, has_time))}
            else:
                self._deliver(event, done)
                data = {"Applied": str(len(done))}
        except Exception as error:  # whatever it is, CloudFormation has to hear of it
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
                        self._await_gone(cluster, reference, has_time)
        except (ClientError, ClusterError) as error:
            # a cluster that is gone has taken everything with it; EKS says the same of an access entry that it does not know yet
            if not (_says_gone(error) and self._is_gone(properties["ClusterName"])):
                raise
            return 0
        return removed

    def _is_gone(self, cluster: str) -> bool:
        try:
            self._connect(cluster)
        except (ClientError, ClusterError) as error:
            return _says_gone(error)
        return False

    def _await_gone(self, cluster: Cluster, reference: Ref, has_time: Callable[[], bool]) -> None:
        while cluster.get(reference) is not None:
            if not has_time():
                raise DeliveryError(
                    f"{reference} is still being emptied; look for what holds it with: kubectl get namespace "
                    f"{reference.name} -o jsonpath={{.status.conditions}}, then delete the stack again"
                )
            self._sleep(_POLL)

    def _access(self, event: Mapping[str, Any]) -> AbstractContextManager[None]:
        if self._admin is None:
            return nullcontext()
        return self._admin.during(event["ResourceProperties"]["ClusterName"], str(event["RequestId"]))

    def _cluster(self, event: Mapping[str, Any]) -> Cluster:
        """Return the cluster as soon as it knows who asks: an access entry takes effect within moments, not at once.

        Raises:
            ClusterError: If it still does not after a minute.
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
                _LOG.info("the access entry is not known yet: %s", error)
                self._sleep(_POLL)
            else:
                break
        return cluster


def _check(cluster: Cluster, properties: Mapping[str, Any]) -> None:
    name = properties["ClusterName"]
    if "AutoMode" in properties:
        check_mode(cluster, name, is_auto_mode=properties["AutoMode"] == "true")
    check_all(cluster, name, json.loads(properties.get("Requires", "[]")))


def _says_gone(error: BaseException) -> bool:
    cause = error if isinstance(error, ClientError) else error.__cause__
    return isinstance(cause, ClientError) and cause.response["Error"]["Code"] == "ResourceNotFoundException"


def _identity(properties: Mapping[str, Any]) -> tuple[str, str]:
    return str(properties.get("ClusterName", "")), str(properties.get("Name", ""))


def _physical_id(event: Mapping[str, Any]) -> str:
    """Another cluster or name is another resource, whose former self CloudFormation deletes."""
    if event["RequestType"] == "Delete":
        return str(event["PhysicalResourceId"])
    return "/".join(_identity(event["ResourceProperties"]))


def _manifests(properties: Mapping[str, Any]) -> list[Manifest]:
    found = json.loads(properties.get("Manifests", "[]"))
    if not isinstance(found, list):
        raise DeliveryError(f"Manifests must be a JSON list, got {type(found).__name__}")
    return found


def _ours(manifests: Sequence[Manifest]) -> list[Ref]:
    """What goes with the resource; a setting of the whole cluster carries no label of ours, and stays."""
    labels = ((manifest["metadata"].get("labels") or {}).get(MANAGED_LABEL) for manifest in manifests)
    return [ref(manifest) for manifest, label in zip(manifests, labels, strict=True) if label == FIELD_MANAGER]


def _owned(properties: Mapping[str, Any]) -> list[Ref]:
    return [
        Ref(api_version=api_version, kind=kind, namespace=namespace, name=name)
        for api_version, kind, namespace, name in json.loads(properties.get("Owned", "[]"))
    ]
