"""EKS's control plane: MiniStack's records, each cluster with an API server and controllers of its own behind its endpoint.

What MiniStack leaves out and our constructs count on is added: the authentication mode that access entries need, and the rules of
pod identity associations with a session policy. No node, no VPC and no authority exists: pods are processes of this machine.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ministack.services import eks

from mlops_local import compat, settings
from mlops_local.kubernetes.controllers import Controllers
from mlops_local.kubernetes.objects import Objects
from mlops_local.kubernetes.server import Server

compat.expect(
    "ministack.services.eks",
    _clusters=object,
    _create_cluster="(body, creator_arn=None)",
    _delete_cluster="(name)",
    _create_access_entry="(cluster_name, body)",
    _create_pod_identity_association="(cluster_name, body)",
    _update_pod_identity_association="(cluster_name, association_id, body)",
    _error="(status, code, message)",
    _get_docker="()",
)

Response = tuple[int, dict[str, str], bytes]
_MODES = ("API", "API_AND_CONFIG_MAP")


@dataclass(slots=True)
class Cluster:
    """What runs behind one cluster."""

    name: str
    objects: Objects
    server: Server
    controllers: Controllers

    def stop(self) -> None:
        """End its pods, controllers and API server."""
        self.server.stop()
        self.controllers.stop()


CLUSTERS: dict[str, Cluster] = {}
_LOCK = threading.Lock()


def install() -> None:
    """Put a cluster behind each of MiniStack's records."""
    create, delete = eks._create_cluster, eks._delete_cluster
    eks._get_docker = lambda: None  # no k3s: a cluster is one of ours

    def created(body: dict[str, Any], creator_arn: str | None = None) -> Response:
        response: Response = create(body, creator_arn)
        return response if response[0] >= 400 else _open(body["name"])

    def deleted(name: str) -> Response:
        response: Response = delete(name)
        if response[0] < 400:
            with _LOCK:
                cluster = CLUSTERS.pop(name, None)
            if cluster is not None:
                threading.Thread(target=cluster.stop, name=f"end of {name}", daemon=True).start()
        return response

    eks._create_cluster, eks._delete_cluster = created, deleted
    eks._create_access_entry = _checked(eks._create_access_entry, _refuse_entry)
    eks._create_pod_identity_association = _checked(eks._create_pod_identity_association, _refuse_association)
    update = eks._update_pod_identity_association

    def updated(cluster: str, association: str, body: dict[str, Any]) -> Response:
        now = eks._pod_identity_associations.get(f"{cluster}\x00{association}") or {}
        refused = _refuse_association(cluster, {**now, **body})
        response: Response = refused or update(cluster, association, body)
        return response

    eks._update_pod_identity_association = updated


def _open(name: str) -> Response:
    record = eks._clusters[name]
    controllers = Controllers(name, record["arn"])
    objects = Objects(controllers.wake)
    server = Server(name, objects, controllers.log)
    controllers.start(objects)
    with _LOCK:
        CLUSTERS[name] = Cluster(name, objects, server, controllers)
    record |= {"endpoint": server.url, "status": "ACTIVE"}
    response: Response = eks._json_resp(200, {"cluster": eks._sanitize({**record, "status": "CREATING"})})
    return response


def _checked(
    work: Callable[..., Response], refuse: Callable[[str, dict[str, Any]], Response | None]
) -> Callable[..., Response]:
    def checked(cluster: str, body: dict[str, Any]) -> Response:
        return refuse(cluster, body) or work(cluster, body)

    return checked


def _refuse_entry(cluster: str, _body: dict[str, Any]) -> Response | None:
    """Ask for the mode that entries need; the API's default is CONFIG_MAP.

    https://docs.aws.amazon.com/eks/latest/APIReference/API_CreateAccessConfigRequest.html
    """
    record = eks._clusters.get(cluster)
    if record is None or record["accessConfig"].get("authenticationMode", "CONFIG_MAP") in _MODES:
        return None
    said = f"The cluster's authentication mode must be set to one of {list(_MODES)} to perform this operation."
    refused: Response = eks._error(400, "InvalidRequestException", said)
    return refused


def _refuse_association(_cluster: str, body: dict[str, Any]) -> Response | None:
    """Hold an association to its rule: "When using this policy, disableSessionTags must be set to true".

    https://docs.aws.amazon.com/eks/latest/APIReference/API_CreatePodIdentityAssociation.html
    """
    if not body.get("policy") or body.get("disableSessionTags"):
        return None
    refused: Response = eks._error(
        400, "InvalidParameterException", "disableSessionTags must be set to true when a policy is given"
    )
    return refused


def state() -> list[dict[str, Any]]:
    """Return what ``mlops local status`` shows: clusters with their pods."""
    with _LOCK:
        clusters = list(CLUSTERS.values())
    return [
        {"name": cluster.name, "endpoint": cluster.server.url, "pods": cluster.controllers.pods()}
        for cluster in clusters
    ]


def control(_method: str, _body: bytes) -> tuple[int, dict[str, object]]:
    """Answer ``/_mlops/clusters``."""
    return 200, {"account": settings.account, "clusters": state()}
