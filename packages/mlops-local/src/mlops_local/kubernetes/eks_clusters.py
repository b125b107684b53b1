"""EKS's control plane: MiniStack's records, with an API server and controllers behind each cluster's endpoint.

Added to MiniStack's: the authentication mode that access entries require, validation of pod identity associations with a session
policy, endpoint access, Auto Mode, and objects of add-ons. Nodes are only records, and there is no certificate authority: pods are
processes of this machine.
"""

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from ministack.core.responses import get_account_id, get_region, request_scope
from ministack.services import eks

from mlops_local import settings
from mlops_local.kubernetes import addons, cluster_config, nodes, object_kinds
from mlops_local.kubernetes.api_server import Server
from mlops_local.kubernetes.cluster_objects import Objects
from mlops_local.kubernetes.controllers import Controllers
from mlops_local.saved_state import kept_stores

Response = tuple[int, dict[str, str], bytes]
# claim: access-entry-needs-a-mode
_MODES = ("API", "API_AND_CONFIG_MAP")


@dataclass(slots=True)
class Cluster:
    """The running parts of one cluster."""

    name: str
    objects: Objects
    server: Server
    controllers: Controllers

    def stop(self) -> None:
        """End the cluster's pods, controllers and API server."""
        self.server.stop()
        self.controllers.stop()


CLUSTERS: dict[str, Cluster] = {}
_LOCK = threading.Lock()
# saved state of each cluster, until it has been started
_SAVED: dict[str, Any] = kept_stores.leave(__name__, "_SAVED", {}, why="clusters that start again")
_MADE_AGAIN = frozenset({object_kinds.BY_NAME["v1", "Pod"], object_kinds.BY_NAME["v1", "Node"]})


def install() -> None:
    """Start a cluster for each of MiniStack's records."""
    create, delete = eks._create_cluster, eks._delete_cluster
    eks._get_docker = lambda: None  # no k3s: clusters are this module's

    def created(body: dict[str, Any], creator_arn: str | None = None) -> Response:
        limit = settings.elsewhere("clusters", get_account_id(), get_region())
        if limit is not None:
            refused: Response = eks._error(400, "InvalidParameterException", limit)
            return refused
        response: Response = cluster_config.problem(body) or create(body, creator_arn)
        return response if response[0] >= 400 else _open(body["name"], body)

    def deleted(name: str) -> Response:
        response: Response = delete(name)
        if response[0] < 400:
            with _LOCK:
                cluster = CLUSTERS.pop(name, None)
            if cluster is not None:
                threading.Thread(target=cluster.stop, name=f"end of {name}", daemon=True).start()
        return response

    eks._create_cluster, eks._delete_cluster = created, deleted
    eks._create_access_entry = partial(_checked, eks._create_access_entry, _refuse_entry)
    eks._create_pod_identity_association = partial(_checked, eks._create_pod_identity_association, _refuse_association)
    update = eks._update_pod_identity_association

    def updated(cluster: str, association: str, body: dict[str, Any]) -> Response:
        now = eks._pod_identity_associations.get(f"{cluster}\x00{association}") or {}
        refused = _refuse_association(cluster, {**now, **body})
        response: Response = refused or update(cluster, association, body)
        return response

    eks._update_pod_identity_association = updated
    _complete_configuration()
    _complete_addons()


def _complete_configuration() -> None:
    handle = eks._handle_request_sync

    def handled(method: str, path: str, headers: Any, body: bytes, query: Any) -> Response:
        found = cluster_config.answer(method, path, json.loads(body or b"{}")) if _is_json(body) else None
        response: Response = found or handle(method, path, headers, body, query)
        return response

    eks._handle_request_sync = handled


def _is_json(body: bytes) -> bool:
    try:
        return isinstance(json.loads(body or b"{}"), dict)
    except ValueError:
        return False


def _complete_addons() -> None:
    """Create, update and delete the objects of add-ons with their records."""
    create, update, delete = eks._create_addon, eks._update_addon, eks._delete_addon

    def follow(response: Response, cluster: str, name: str) -> Response:
        found = CLUSTERS.get(cluster)
        if response[0] >= 400 or found is None:
            return response
        try:
            addons.install(found.objects, name, eks._addons[f"{cluster}/{name}"]["configurationValues"])
        except addons.ConfigurationError as error:
            refused: Response = eks._error(400, "InvalidParameterException", str(error))
            return refused
        return response

    def created(cluster: str, body: dict[str, Any]) -> Response:
        return follow(create(cluster, body), cluster, body.get("addonName", ""))

    def updated(cluster: str, name: str, body: dict[str, Any]) -> Response:
        return follow(update(cluster, name, body), cluster, name)

    def deleted(cluster: str, name: str) -> Response:
        response: Response = delete(cluster, name)
        if response[0] < 400 and (found := CLUSTERS.get(cluster)) is not None:
            addons.remove(found.objects, name)
        return response

    eks._create_addon, eks._update_addon, eks._delete_addon = created, updated, deleted


def _open(name: str, body: Mapping[str, Any]) -> Response:
    record = eks._clusters[name]
    record |= {key: body[key] for key in ("computeConfig", "storageConfig") if key in body}
    controllers = Controllers(name, record["arn"], nodes.Pool(record["resourcesVpcConfig"]["subnetIds"]))
    objects = Objects(controllers.wake)
    server = Server(name, objects, controllers.log)
    # claim: cluster-without-auto-mode-has-the-vpc-cni
    if not cluster_config.is_auto_mode(record) and body.get("bootstrapSelfManagedAddons", True):
        addons.install(objects, addons.CNI)
    controllers.start(objects)
    with _LOCK:
        CLUSTERS[name] = Cluster(name, objects, server, controllers)
    record |= {"endpoint": server.url, "status": "ACTIVE"}
    response: Response = eks._json_resp(200, {"cluster": eks._sanitize({**record, "status": "CREATING"})})
    return response


def _save() -> dict[str, Any]:
    with_port = {name: {"port": c.server.port, "objects": c.objects.saved()} for name, c in dict(CLUSTERS).items()}
    return with_port | dict(_SAVED)


def _restart() -> list[str]:
    """Start a cluster for each record again; its pods are new, as after the loss of their nodes."""
    for name, saved in list(_SAVED.items()):
        with request_scope(settings.account, settings.region):
            record = eks._clusters[name]
            controllers = Controllers(name, record["arn"], nodes.Pool(record["resourcesVpcConfig"]["subnetIds"]))
            objects = Objects(controllers.wake)
            objects.restore(saved["objects"], without=_MADE_AGAIN)
            server = Server(name, objects, controllers.log, port=saved["port"])
            record["endpoint"] = server.url
            controllers.start(objects)
            with _LOCK:
                CLUSTERS[name] = Cluster(name, objects, server, controllers)
        del _SAVED[name]
    return []


kept_stores.keep_by(
    __name__, "CLUSTERS", save=_save, restore=lambda saved: kept_stores.refill(_SAVED, saved), restart=_restart
)


def _checked(
    work: Callable[..., Response],
    refuse: Callable[[str, dict[str, Any]], Response | None],
    cluster: str,
    body: dict[str, Any],
) -> Response:
    return refuse(cluster, body) or work(cluster, body)


def _refuse_entry(cluster: str, _body: dict[str, Any]) -> Response | None:
    """Require the authentication mode that access entries need; the API's default is CONFIG_MAP."""
    # https://docs.aws.amazon.com/eks/latest/APIReference/API_CreateAccessConfigRequest.html
    record = eks._clusters.get(cluster)
    if record is None or record["accessConfig"].get("authenticationMode", "CONFIG_MAP") in _MODES:
        return None
    message = f"The cluster's authentication mode must be set to one of {list(_MODES)} to perform this operation."
    refused: Response = eks._error(400, "InvalidRequestException", message)
    return refused


def _refuse_association(_cluster: str, body: dict[str, Any]) -> Response | None:
    """Check the rule of associations: "When using this policy, disableSessionTags must be set to true"."""
    # https://docs.aws.amazon.com/eks/latest/APIReference/API_CreatePodIdentityAssociation.html
    # claim: session-policy-excludes-session-tags
    if not body.get("policy") or body.get("disableSessionTags"):
        return None
    refused: Response = eks._error(
        400, "InvalidParameterException", "disableSessionTags must be set to true when a policy is given"
    )
    return refused


def state() -> list[dict[str, Any]]:
    """Return clusters and pods for ``mlops local status``."""
    with _LOCK:
        clusters = list(CLUSTERS.values())
    return [
        {"name": cluster.name, "endpoint": cluster.server.url, "pods": cluster.controllers.pods()}
        for cluster in clusters
    ]


def control(_method: str, _body: bytes) -> tuple[int, dict[str, object]]:
    """Serve ``/_mlops/clusters``."""
    return 200, {"account": settings.account, "clusters": state()}
