"""The API server of a cluster, plain HTTP on 127.0.0.1; authorization by access entries, access policies and RBAC."""

import fnmatch
import json
import logging
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import yaml
from ministack.core.responses import request_scope
from ministack.services import eks

from mlops_local import settings
from mlops_local.kubernetes import addons, cluster_config, object_kinds
from mlops_local.kubernetes.cluster_objects import Objects, Write, merged
from mlops_local.kubernetes.object_kinds import Kind

_RBAC = "rbac.authorization.k8s.io/v1"
_ROLE, _ROLE_BINDING = object_kinds.BY_NAME[_RBAC, "Role"], object_kinds.BY_NAME[_RBAC, "RoleBinding"]
_CLUSTER_ROLE, _CLUSTER_ROLE_BINDING = (
    object_kinds.BY_NAME[_RBAC, "ClusterRole"],
    object_kinds.BY_NAME[_RBAC, "ClusterRoleBinding"],
)
# user-facing roles, which bindings may refer to: https://kubernetes.io/docs/reference/access-authn-authz/rbac/#user-facing-roles
_BUILT_IN = {
    "cluster-admin": "AmazonEKSClusterAdminPolicy",
    "admin": "AmazonEKSAdminPolicy",
    "edit": "AmazonEKSEditPolicy",
    "view": "AmazonEKSViewPolicy",
}
Rule = Mapping[str, Any]

LOGGER = logging.getLogger(__name__)

_ADDRESS = re.compile(
    r"/(?:api|apis/(?P<group>[^/]+))/(?P<version>v[^/]+)(?:/namespaces/(?P<namespace>[^/]+))?"
    r"/(?P<plural>[a-z]+)(?:/(?P<name>[^/]+))?(?:/(?P<subresource>[a-z]+))?"
)
_METRICS = "metrics.k8s.io/v1beta1"
_APPLY, _MERGE = "application/apply-patch+yaml", "application/merge-patch+json"
_DEPLOYMENT = object_kinds.BY_NAME["apps/v1", "Deployment"]
Answer = tuple[int, object]


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated caller: user name, groups, and the IAM principal of the access entry."""

    user: str
    groups: tuple[str, ...]
    principal: str


@dataclass(frozen=True, slots=True)
class Question:
    """The verb and resource of a request to authorize."""

    verb: str
    kind: Kind
    namespace: str = ""
    name: str = ""
    subresource: str = ""

    @property
    def resource(self) -> str:
        """The resource in the form of RBAC rules: ``deployments/scale``."""
        return f"{self.kind.plural}/{self.subresource}" if self.subresource else self.kind.plural


def authenticate(cluster: str, token: str) -> Caller | None:
    """Return the caller of a token (``k8s-aws-v1.`` and a presigned URL); ``None`` without an access entry in the cluster."""
    # claim: token-is-a-presigned-caller-identity
    credential = eks._verify_eks_token(token, cluster)
    if credential is None:
        return None
    arn = credential.principal_arn
    # claim: iam-alone-grants-nothing-in-a-cluster
    entry = eks._access_entry_for_principal(cluster, settings.account, settings.region, arn)
    if entry is None:
        return None
    user = entry.get("username") or arn
    return Caller(user, ("system:authenticated", *(entry.get("kubernetesGroups") or [])), entry["principalArn"])


def refusal(cluster: str, objects: Objects, caller: Caller, question: Question) -> str | None:
    """Return Kubernetes' message if a caller may not perform a request, or ``None``."""
    if any(_allows(rule, question) for rule in _rules(cluster, objects, caller, question.namespace)):
        return None
    where = f' in the namespace "{question.namespace}"' if question.namespace else " at the cluster scope"
    return f'User "{caller.user}" cannot {question.verb} resource "{question.resource}" in API group "{question.kind.group}"{where}'


def _rules(cluster: str, objects: Objects, caller: Caller, namespace: str) -> Iterator[Rule]:
    for principal, policy, association in eks._access_policy_associations(cluster, settings.account, settings.region):
        # claim: access-policy-reaches-its-namespaces
        scope = association["accessScope"]
        reaches = scope["type"] == "cluster" or any(fnmatch.fnmatchcase(namespace, p) for p in scope["namespaces"])
        if principal == caller.principal and reaches:
            yield from eks._ACCESS_POLICY_RULES[eks._access_policy_name(policy)]
    bindings = objects.list(_CLUSTER_ROLE_BINDING) + (objects.list(_ROLE_BINDING, namespace) if namespace else [])
    for binding in bindings:
        if any(_is_subject(subject, caller) for subject in binding.get("subjects") or []):
            yield from _role(objects, binding["roleRef"], namespace)


# claim: entry-groups-are-kubernetes-groups
def _is_subject(subject: Mapping[str, Any], caller: Caller) -> bool:
    return (subject["kind"] == "Group" and subject["name"] in caller.groups) or (
        subject["kind"] == "User" and subject["name"] == caller.user
    )


def _role(objects: Objects, reference: Mapping[str, Any], namespace: str) -> list[Rule]:
    name = reference["name"]
    if reference["kind"] == "ClusterRole":
        found = objects.find(_CLUSTER_ROLE, "", name)
        if found is None and name in _BUILT_IN:
            return list(eks._ACCESS_POLICY_RULES[_BUILT_IN[name]])
    else:
        found = objects.find(_ROLE, namespace, name)
    return list((found or {}).get("rules") or [])


def _allows(rule: Rule, question: Question) -> bool:
    names = rule.get("resourceNames") or []
    return (
        _has(rule.get("verbs"), question.verb)
        and _has(rule.get("apiGroups"), question.kind.group)
        and _has(rule.get("resources"), question.resource)
        # "you cannot restrict create or deletecollection requests by resource name"
        and (not names or (question.verb != "create" and question.name in names))
    )


def _has(listed: Any, value: str) -> bool:
    return "*" in (listed or []) or value in (listed or [])


# claim: api-server-answers-with-status
class Server:
    """The API server of one cluster, on its own port.

    Args:
        objects: Objects of the cluster.
        log: Returns the log of a pod, by namespace and name. Default: no logs.
        port: Preferred port. Default: a free port.
    """

    def __init__(
        self, cluster: str, objects: Objects, log: Callable[[str, str], str] | None = None, *, port: int = 0
    ) -> None:
        self.cluster, self.objects, self._log = cluster, objects, log
        handler = type("Handler", (_Handler,), {"server_of": self})
        try:
            self._http = ThreadingHTTPServer(("127.0.0.1", port), handler)
        except OSError:
            self._http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._http.daemon_threads = True
        self.port = int(self._http.server_address[1])
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._http.serve_forever, name=f"kubernetes {cluster}", daemon=True).start()

    def stop(self) -> None:
        """Stop serving."""
        self._http.shutdown()
        self._http.server_close()

    def answer(self, method: str, address: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Serve one request.

        Raises:
            NoAnswerError: If the caller's endpoint is disabled.
        """
        # claim: api-server-answers-with-status
        try:
            caller = authenticate(self.cluster, headers.get("Authorization", "").removeprefix("Bearer "))
            if caller is None:
                raise object_kinds.unauthorized()
            cluster_config.check_reach(self.record(), caller.principal)
            return _Request(self, caller, method, address, headers, body).answer()
        except object_kinds.StatusError as error:
            return error.code, error.body()

    def record(self) -> dict[str, Any]:
        """Return EKS's record of the cluster.

        Raises:
            NoAnswerError: If the cluster was deleted.
        """
        found: dict[str, Any] | None = eks._clusters.get(self.cluster)
        if found is None:
            raise cluster_config.NoAnswerError(f"cluster {self.cluster} is deleted")
        return found

    def log(self, namespace: str, name: str) -> str:
        """Return the log of a pod's containers."""
        return "" if self._log is None else self._log(namespace, name)


class _Request:
    def __init__(  # noqa: PLR0917 - the parts of a request
        self, server: Server, caller: Caller, method: str, address: str, headers: Mapping[str, str], body: bytes
    ) -> None:
        url = urlsplit(address)
        self.server, self.objects, self.caller, self.method, self.path = (
            server,
            server.objects,
            caller,
            method,
            url.path,
        )
        self.query = {name: values[-1] for name, values in parse_qs(url.query).items()}
        self.media, self.body = headers.get("Content-Type", "").split(";")[0], body

    def answer(self) -> Answer:
        # claim: api-server-answers-with-status
        record = self.server.record()
        has_metrics = f"{self.server.cluster}/{addons.METRICS}" in eks._addons
        known = object_kinds.served(is_auto_mode=cluster_config.is_auto_mode(record))
        if (found := _discovery(self.path, known, has_metrics=has_metrics)) is not None:
            return 200, found
        self._read_address()
        if self.method == "GET":
            return self._get()
        if self.method == "DELETE":
            self._may("delete")
            options = self._parsed() if self.body else {}
            uid = (options.get("preconditions") or {}).get("uid")
            deleted = self.objects.delete(self.kind, self.namespace, self.name, uid=uid, is_dry=self._is_dry())
            details = {
                "name": self.name,
                "group": self.kind.group,
                "kind": self.kind.plural,
                "uid": deleted["metadata"]["uid"],
            }
            return 200, {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
        if self.method in {"POST", "PATCH"}:
            return self._write()
        raise self._not_allowed()

    def _read_address(self) -> None:
        # claim: api-server-answers-with-status
        found = _ADDRESS.fullmatch(self.path)
        group, version = (found["group"] or "", found["version"]) if found else ("", "")
        kind = object_kinds.BY_ADDRESS.get((group, version, found["plural"])) if found else None
        is_auto_mode = cluster_config.is_auto_mode(self.server.record())
        if found is None or kind is None or kind not in object_kinds.served(is_auto_mode=is_auto_mode):
            raise object_kinds.StatusError(404, "NotFound", "the server could not find the requested resource")
        self.kind: Kind = kind
        self.namespace = unquote(found["namespace"] or "") if kind.is_namespaced else ""
        self.name, self.subresource = unquote(found["name"] or ""), found["subresource"] or ""
        if kind.is_namespaced and not self.namespace and (self.name or self.method != "GET"):
            raise object_kinds.StatusError(404, "NotFound", "the server could not find the requested resource")
        known = (
            {"", "status"} | ({"scale"} if kind == _DEPLOYMENT else set()) | ({"log"} if kind.kind == "Pod" else set())
        )
        if self.subresource not in known:
            raise object_kinds.StatusError(404, "NotFound", "the server could not find the requested resource")

    def _may(self, verb: str) -> None:
        # a namespace is authorized within itself, so that a role in it may read it
        # claim: api-server-answers-with-status
        where = self.name if self.kind.kind == "Namespace" else self.namespace
        question = Question(verb, self.kind, where, self.name, self.subresource)
        why = refusal(self.server.cluster, self.objects, self.caller, question)
        if why is not None:
            raise object_kinds.forbidden(self.kind, self.name, why)

    def _get(self) -> Answer:
        self._may("get" if self.name else "list")
        if self.subresource == "log":
            self.objects.get(self.kind, self.namespace, self.name)
            return 200, self.server.log(self.namespace, self.name)
        if self.name:
            shown = self.objects.get(self.kind, self.namespace, self.name).shown()
            return 200, _scale(shown) if self.subresource == "scale" else shown
        wanted = _selector(self.query.get("labelSelector", ""))
        items = [
            i
            for i in self.objects.list(self.kind, self.namespace or None)
            if wanted.items() <= i["metadata"].get("labels", {}).items()
        ]
        return 200, {
            "kind": f"{self.kind.kind}List",
            "apiVersion": self.kind.api_version,
            "metadata": {},
            "items": items,
        }

    def _write(self) -> Answer:
        # claim: api-server-answers-with-status
        if self.kind.kind in object_kinds.MADE_BY_CONTROLLERS:
            raise self._not_allowed()
        write = Write(
            manager=self.query.get("fieldManager", ""),
            is_dry=self._is_dry(),
            is_forced=self.query.get("force") == "true",
            subresource=self.subresource,
        )
        if self.method == "POST" and not self.name:
            return self._create(write)
        if self.method != "PATCH" or not self.name or self.subresource == "status":
            raise self._not_allowed()
        self._may("patch")
        if self.media == _APPLY and not self.subresource:
            return self._apply(write)
        if self.media == _MERGE:
            return self._merge(write)
        supported = [_APPLY, _MERGE]
        raise object_kinds.StatusError(
            415, "UnsupportedMediaType",
            f"the body of the request was in an unknown format - accepted media types include: {', '.join(supported)}",
        )  # fmt: skip

    def _create(self, write: Write) -> Answer:
        # claim: api-server-answers-with-status
        manifest = self._manifest()
        self.name = str(manifest["metadata"].get("name", ""))
        self._may("create")
        if self.objects.find(self.kind, self.namespace, self.name) is not None:
            raise object_kinds.StatusError(409, "AlreadyExists", f'{self.kind.resource} "{self.name}" already exists')
        made = Write(manager=write.manager or "unknown", is_dry=write.is_dry)
        return self.objects.apply(self.kind, self.namespace, manifest, made)

    def _apply(self, write: Write) -> Answer:
        # claim: api-server-answers-with-status
        manifest = self._manifest()
        name = manifest["metadata"].get("name")
        if name != self.name:
            raise object_kinds.bad_request(
                f"the name of the object ({name}) does not match the name on the URL ({self.name})"
            )
        if "managedFields" in manifest["metadata"]:
            raise object_kinds.bad_request("metadata.managedFields must be nil")
        if self.objects.find(self.kind, self.namespace, self.name) is None:
            self._may("create")  # an apply that creates needs both verbs
        return self.objects.apply(self.kind, self.namespace, manifest, write)

    def _merge(self, write: Write) -> Answer:
        # claim: api-server-answers-with-status
        patch = self._parsed()
        if self.subresource == "scale":
            wanted = patch.get("spec", {}).get("replicas")
            if isinstance(wanted, bool) or not isinstance(wanted, int) or wanted < 0:
                raise object_kinds.bad_request(f"spec.replicas must be a number of at least 0, got {wanted!r}")
            patch = {"spec": {"replicas": wanted}}
        changed = self.objects.change(
            self.kind, self.namespace, self.name, lambda live: dict(merged(live, patch)), write
        )
        return 200, _scale(changed) if self.subresource == "scale" else changed

    def _manifest(self) -> dict[str, Any]:
        # claim: api-server-answers-with-status
        manifest = self._parsed()
        got = (manifest.get("apiVersion"), manifest.get("kind"))
        if got != (self.kind.api_version, self.kind.kind):
            raise object_kinds.bad_request(
                f"the API version and kind in the data {got} do not match the expected {self.kind.api_version}, {self.kind.kind}"
            )
        metadata = manifest.get("metadata")
        if not isinstance(metadata, dict):
            raise object_kinds.bad_request("metadata: Required value")
        if self.kind.is_namespaced and metadata.get("namespace", self.namespace) != self.namespace:
            raise object_kinds.bad_request(
                f"the namespace of the provided object does not match the namespace sent on the request ({self.namespace})"
            )
        return manifest

    def _parsed(self) -> dict[str, Any]:
        # claim: api-server-answers-with-status
        try:
            found = yaml.safe_load(self.body) if self.media.endswith("yaml") else json.loads(self.body)
        except (ValueError, yaml.YAMLError) as error:
            raise object_kinds.bad_request(f"error decoding the body: {error}") from error
        if not isinstance(found, dict):
            raise object_kinds.bad_request("the body must be an object")
        return found

    def _is_dry(self) -> bool:
        # claim: api-server-answers-with-status
        requested = self.query.get("dryRun", "")
        if requested not in {"", "All"}:
            raise object_kinds.StatusError(
                422, "Invalid", f'dryRun: Unsupported value: "{requested}": supported values: "All"'
            )
        return requested == "All"

    def _not_allowed(self) -> object_kinds.StatusError:
        return object_kinds.StatusError(
            405, "MethodNotAllowed", "the server does not allow this method on the requested resource"
        )


def _scale(deployment: Mapping[str, Any]) -> dict[str, Any]:
    """https://kubernetes.io/docs/reference/kubernetes-api/autoscaling-resources/scale-v1/"""  # noqa: D415 - an address
    metadata = {key: deployment["metadata"][key] for key in ("name", "namespace", "uid", "resourceVersion")}
    spec, status = (
        {"replicas": deployment["spec"]["replicas"]},
        {"replicas": deployment.get("status", {}).get("replicas", 0)},
    )
    return {"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata, "spec": spec, "status": status}


def _selector(text: str) -> dict[str, str]:
    found = {}
    for part in filter(None, text.split(",")):
        name, equals, value = part.partition("=")
        if not equals or name.endswith("!"):
            raise object_kinds.bad_request(
                f"unable to parse requirement: only name=value is in the embedded cloud, got {part!r}"
            )
        found[name] = value.removeprefix("=")
    return found


def _discovery(path: str, known: Sequence[Kind], *, has_metrics: bool) -> dict[str, Any] | None:
    """Return a discovery document of the resource types; ``None`` for another path."""
    # claim: metrics-api-comes-with-its-add-on
    if path == f"/apis/{_METRICS}" and has_metrics:
        return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": _METRICS, "resources": []}
    major, minor = object_kinds.VERSION.split(".")
    if path == "/version":
        return {
            "major": major,
            "minor": minor,
            "gitVersion": f"v{object_kinds.VERSION}.0-embedded",
            "platform": "embedded",
        }
    if path == "/api":
        return {"kind": "APIVersions", "versions": ["v1"]}
    groups = sorted({(kind.group, kind.version) for kind in known if kind.group})
    groups += [("metrics.k8s.io", "v1beta1")] if has_metrics else []
    if path == "/apis":
        versions = {group: {"groupVersion": f"{group}/{version}", "version": version} for group, version in groups}
        listed = [{"name": name, "versions": [v], "preferredVersion": v} for name, v in versions.items()]
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": listed}
    for group, version in [("", "v1"), *groups]:
        if path == (f"/apis/{group}/{version}" if group else f"/api/{version}"):
            verbs = ["delete", "get", "list", "patch"]
            rows = [
                {
                    "name": k.plural,
                    "singularName": k.kind.lower(),
                    "namespaced": k.is_namespaced,
                    "kind": k.kind,
                    "verbs": verbs,
                }
                for k in known
                if (k.group, k.version) == (group, version)
            ]
            named = f"{group}/{version}" if group else version
            return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": named, "resources": rows}
    return None


class _Handler(BaseHTTPRequestHandler):
    server_of: Server
    protocol_version = "HTTP/1.1"

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with request_scope(settings.account, settings.region):
            try:
                status, answer = self.server_of.answer(
                    self.command, self.path, {name.title(): value for name, value in self.headers.items()}, body
                )
            except cluster_config.NoAnswerError as error:
                LOGGER.warning("%s", error)
                self.close_connection = True
                return
            except Exception:
                LOGGER.exception("%s %s failed", self.command, self.path)
                status, answer = (
                    500,
                    object_kinds.StatusError(500, "InternalError", "see the log of the embedded cloud").body(),
                )
        content = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain" if isinstance(answer, str) else "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PATCH = do_DELETE = do_PUT = _serve  # noqa: N815 - the base class calls them

    def log_message(self, format: str, *args: object) -> None:
        LOGGER.debug(format, *args)
