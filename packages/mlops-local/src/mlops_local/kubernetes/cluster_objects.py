"""The objects of one cluster: read, apply, patch and delete with the API server's semantics and field ownership."""

import copy
import json
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from mlops_local import clock
from mlops_local.kubernetes import object_kinds
from mlops_local.kubernetes.object_kinds import Kind
from mlops_local.saved_state import kept_stores

Keys: TypeAlias = tuple[tuple[str, Any], ...]
Path: TypeAlias = tuple[str | Keys, ...]

KEYED: Mapping[str, tuple[str, ...]] = {
    "containers": ("name",),
    "initContainers": ("name",),
    "env": ("name",),
    "volumes": ("name",),
    "volumeMounts": ("mountPath",),
    "imagePullSecrets": ("name",),
    "topologySpreadConstraints": ("topologyKey", "whenUnsatisfiable"),
    "conditions": ("type",),
}
WHOLE = frozenset(
    {
        "selector",
        "podSelector",
        "labelSelector",
        "namespaceSelector",
        "roleRef",
        "fieldRef",
        "secretKeyRef",
        "configMapKeyRef",
        "resourceFieldRef",
    }
)
_SERVER_KEPT = frozenset(
    {
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "generation",
        "creationTimestamp",
        "managedFields",
        "deletionTimestamp",
    }
)
_ITEM = object()

Key = tuple[Kind, str, str]
# defaults that the API server sets, as far as this package reads them
# https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/deployment-v1/
_DEPLOYMENT = {
    "replicas": 1,
    "progressDeadlineSeconds": 600,
    "revisionHistoryLimit": 10,
    "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
}
_NAMESPACE = object_kinds.BY_NAME["v1", "Namespace"]
_SERVICE_ACCOUNT = object_kinds.BY_NAME["v1", "ServiceAccount"]
_IMMUTABLE = {"Deployment": ("spec", "selector"), "RoleBinding": ("roleRef",), "ClusterRoleBinding": ("roleRef",)}


# claim: strict-fields-are-refused
@kept_stores.record
@dataclass(slots=True, kw_only=True)
class Owner:
    """An entry of ``managedFields``."""

    manager: str
    operation: str
    api_version: str
    subresource: str = ""
    time: str = ""
    paths: set[Path] = field(default_factory=set)

    def is_same(self, other: "Owner") -> bool:
        """Return whether both are the same entry of ``managedFields``."""
        return (self.manager, self.operation, self.subresource) == (other.manager, other.operation, other.subresource)

    def printed(self) -> str:
        """Return the owner in the format of conflict messages."""
        shown = json.dumps(self.manager)
        if self.subresource:
            shown += f" with subresource {json.dumps(self.subresource)}"
        return f"{shown} using {self.api_version}" if self.operation == "Update" else shown


def leaves(manifest: Mapping[str, Any]) -> dict[Path, Any]:
    """Return the managed fields of an object by path."""
    found: dict[Path, Any] = {}
    for name, value in manifest.items():
        if name == "metadata":
            for key in value.keys() - _SERVER_KEPT:
                _walk((name, key), value[key], found)
        elif name not in {"apiVersion", "kind", "status"}:
            _walk((name,), value, found)
    return found


def _walk(path: Path, value: Any, found: dict[Path, Any]) -> None:
    keys = _keys_of(path, value)
    if keys:
        for item in value:
            inner = (*path, tuple((key, _key_value(item, key)) for key in keys))
            found[inner] = _ITEM
            for name, part in item.items():
                _walk((*inner, name), part, found)
    elif isinstance(value, Mapping) and value and path[-1] not in WHOLE:
        for name, item in value.items():
            _walk((*path, name), item, found)
    else:
        found[path] = value


def _keys_of(path: Path, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(item, Mapping) for item in value):
        return ()
    name = str(path[-1])
    keys = KEYED.get(name, ())
    if name == "ports":
        keys = ("containerPort" if "containerPort" in value[0] else "port", "protocol")
    # an invalid key value is rejected by the schema of the kind
    return () if any(isinstance(_key_value(item, key), list | Mapping) for item in value for key in keys) else keys


def _key_value(item: Mapping[str, Any], key: str) -> Any:
    return item.get(key, "TCP" if key == "protocol" else None)


def conflicts(
    owners: Sequence[Owner], live: Mapping[str, Any], wanted: Mapping[str, Any], me: Owner
) -> list[tuple[Owner, Path]]:
    """Return the fields that ``wanted`` would change and that others own."""
    now = leaves(live)
    return [
        (owner, path)
        for path, value in leaves(wanted).items()
        if value is not _ITEM and now.get(path, _ITEM) != value
        for owner in owners
        if not owner.is_same(me) and path in owner.paths
    ]


def apply(
    owners: list[Owner], live: Mapping[str, Any], wanted: Mapping[str, Any], me: Owner
) -> tuple[dict[str, Any], list[Owner]]:
    """Return the object and its owners after an apply without conflicts; remaining conflicts are forced."""
    taken = {(id(owner), path) for owner, path in conflicts(owners, live, wanted, me)}
    before = next((owner.paths for owner in owners if owner.is_same(me)), set())
    others = [owner for owner in owners if not owner.is_same(me)]
    for owner in others:
        owner.paths = {path for path in owner.paths if (id(owner), path) not in taken}
    given = leaves(wanted)
    kept = set().union(*(owner.paths for owner in others)) if others else set()
    result: dict[str, Any] = copy.deepcopy(dict(live))
    for path in sorted(before - given.keys() - kept, key=len):
        if not _is_key(path) and not any(other[: len(path)] == path for other in kept):
            _remove(result, path)
    for path, value in given.items():
        _put(result, path, value)
    me.paths = set(given)
    return result, [owner for owner in [*others, me] if owner.paths]


def update(owners: list[Owner], live: Mapping[str, Any], changed: Mapping[str, Any], me: Owner) -> list[Owner]:
    """Return the owners after a change that is not an apply: the writer of a field becomes its only owner."""
    old, new = leaves(live), leaves(changed)
    mine = {path for path, value in new.items() if path not in old or old[path] != value}
    removed = old.keys() - new.keys()
    entry = next((owner for owner in owners if owner.is_same(me)), None)
    if entry is None:
        owners = [*owners, entry := me]
    for owner in owners:
        owner.paths = (owner.paths - removed) | mine if owner is entry else owner.paths - removed - mine
    entry.time = me.time
    return [owner for owner in owners if owner.paths]


def _is_key(path: Path) -> bool:
    """Return whether a field is a key of its list item; it is removed only with the item."""
    return len(path) > 1 and isinstance(path[-2], tuple) and path[-1] in dict(path[-2])


def _find(parent: list[Any], keys: Keys) -> dict[str, Any] | None:
    return next((item for item in parent if all(_key_value(item, key) == value for key, value in keys)), None)


def _put(result: Any, path: Path, value: Any) -> None:
    at = result
    for number, step in enumerate(path):
        is_last = number == len(path) - 1
        if isinstance(step, tuple):
            item = _find(at, step)
            if item is None:
                at.append(item := {key: part for key, part in step if not (key == "protocol" and part == "TCP")})
            at = item
        elif is_last:
            at[step] = copy.deepcopy(value)
        else:
            empty: Any = [] if isinstance(path[number + 1], tuple) else {}
            if not isinstance(at.get(step), type(empty)):
                at[step] = empty
            at = at[step]


def _remove(result: Any, path: Path) -> None:
    trail, at = [], result
    for step in path[:-1]:
        trail.append((at, step))
        at = (
            _find(at, step)
            if isinstance(step, tuple) and isinstance(at, list)
            else at.get(step)
            if isinstance(at, dict)
            else None
        )
        if at is None:
            return
    last = path[-1]
    if isinstance(last, tuple):
        if isinstance(at, list) and (item := _find(at, last)) is not None:
            at.remove(item)
    else:
        at.pop(last, None)
    for parent, step in reversed(trail):  # parents that are empty now only existed for the removed field
        if at or isinstance(step, tuple):
            return
        parent.pop(step, None)
        at = parent


def printed(path: Path) -> str:
    """Return a path in Kubernetes' format: ``.spec.containers[name="model"].image``."""
    text = ""
    for step in path:
        if isinstance(step, tuple):
            text += "[" + ",".join(f"{key}={json.dumps(value)}" for key, value in sorted(step)) + "]"
        else:
            text += f".{step}"
    return text


def managed(owners: Sequence[Owner]) -> list[dict[str, Any]]:
    """Return ``managedFields``: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/object-meta/."""
    entries = []
    for owner in owners:
        tree: dict[str, Any] = {}
        for path in sorted(owner.paths, key=lambda path: (len(path), printed(path))):
            at = tree
            for step in path:
                name = (
                    f"k:{json.dumps(dict(step), sort_keys=True, separators=(',', ':'))}"
                    if isinstance(step, tuple)
                    else f"f:{step}"
                )
                at = at.setdefault(name, {})
            if isinstance(path[-1], tuple):
                at["."] = {}
        entry: dict[str, Any] = {
            "manager": owner.manager,
            "operation": owner.operation,
            "apiVersion": owner.api_version,
        }
        entry |= {"time": owner.time, "fieldsType": "FieldsV1", "fieldsV1": tree}
        entries.append(entry | ({"subresource": owner.subresource} if owner.subresource else {}))
    return entries


# claim: objects-are-checked-before-they-are-stored
@kept_stores.record
@dataclass(slots=True)
class Record:
    """A stored object; ``manifest`` excludes ``managedFields``."""

    manifest: dict[str, Any]
    owners: list[Owner] = field(default_factory=list)

    def owned(self) -> dict[tuple[str, str, str], set[Path]]:
        """Return the owned field paths by manager, operation and subresource."""
        return {(owner.manager, owner.operation, owner.subresource): owner.paths for owner in self.owners}

    def shown(self) -> dict[str, Any]:
        """Return the object as the API returns it."""
        shown = copy.deepcopy(self.manifest)
        shown["metadata"]["managedFields"] = managed(self.owners)
        return shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """Options of a write: field manager, dry run and force."""

    manager: str  # field manager
    is_dry: bool = False  # whether nothing is stored. Default: the write is stored
    is_forced: bool = False  # whether to take over fields of other managers. Default: these are conflicts
    subresource: str = ""  # `scale`. Default: the object itself


class Objects:
    """The objects of one cluster; ``changed`` is called after each change."""

    def __init__(self, changed: Callable[[], None] = lambda: None) -> None:
        self._changed, self._version = changed, 0
        self._records: dict[Key, Record] = {}
        self.lock = threading.RLock()
        for name in ("default", "kube-system"):
            self._store((_NAMESPACE, "", name), Record({"metadata": {"name": name}}))

    def saved(self) -> dict[str, Any]:
        """Return the state for a snapshot."""
        return {"version": self._version, "records": dict(self._records)}

    def restore(self, saved: Mapping[str, Any], *, without: frozenset[Kind]) -> None:
        """Restore saved objects, except for some kinds."""
        with self.lock:
            self._version = saved["version"]
            self._records = {key: record for key, record in saved["records"].items() if key[0] not in without}

    def get(self, kind: Kind, namespace: str, name: str) -> Record:
        """Return an object.

        Raises:
            StatusError: ``NotFound``.
        """
        # claim: objects-are-checked-before-they-are-stored
        with self.lock:
            record = self._records.get((kind, namespace, name))
        if record is None:
            raise object_kinds.not_found(kind, name)
        return record

    def find(self, kind: Kind, namespace: str, name: str) -> dict[str, Any] | None:
        """Return a copy of an object, or ``None``."""
        with self.lock:
            record = self._records.get((kind, namespace, name))
            return None if record is None else copy.deepcopy(record.manifest)

    def list(self, kind: Kind, namespace: str | None = None) -> list[dict[str, Any]]:
        """Return copies of the objects of a kind, in one or all namespaces."""
        with self.lock:
            found = [
                r.manifest
                for (k, n, _), r in sorted(self._records.items(), key=lambda row: row[0][1:])
                if k == kind and namespace in {None, n}
            ]
            return copy.deepcopy(found)

    def apply(self, kind: Kind, namespace: str, wanted: Mapping[str, Any], write: Write) -> tuple[int, dict[str, Any]]:
        """Perform a server-side apply; return status and object.

        Raises:
            StatusError: ``Conflict``, ``Invalid``, ``NotFound`` of the namespace, or ``BadRequest``.
        """
        wanted, name = _without_nulls(wanted), str(wanted["metadata"]["name"])
        if not write.manager:
            message = (
                'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch'
            )
            raise object_kinds.StatusError(422, "Invalid", message)
        with self.lock:
            record = self._records.get((kind, namespace, name))
            if record is None:
                self._check_namespace(kind, namespace)
            live = {} if record is None else record.manifest
            owners = [] if record is None else copy.deepcopy(record.owners)
            me = Owner(manager=write.manager, operation="Apply", api_version=kind.api_version, time=clock.iso())
            # claim: apply-owns-fields
            if not write.is_forced and (met := conflicts(owners, live, wanted, me)):
                raise object_kinds.conflict(kind, name, [(o.printed(), printed(p)) for o, p in met])
            result, owners = apply(owners, live, wanted, me)
            result.setdefault("metadata", {})["name"] = name
            made = Record(_defaulted(kind, namespace, result), owners)
            self._check(kind, name, record, made)
            return 201 if record is None else 200, self._keep((kind, namespace, name), record, made, write)

    def change(
        self, kind: Kind, namespace: str, name: str, change: Callable[[dict[str, Any]], dict[str, Any]], write: Write
    ) -> dict[str, Any]:
        """Change an object by an operation other than apply, from a copy of the old one; return it.

        Raises:
            StatusError: ``NotFound`` or ``Invalid``.
        """
        with self.lock:
            record = self.get(kind, namespace, name)
            result = change(copy.deepcopy(record.manifest))
            result["metadata"] |= {key: record.manifest["metadata"][key] for key in ("name", "uid")}
            me = Owner(
                manager=write.manager or "unknown",
                operation="Update",
                api_version=kind.api_version,
                subresource=write.subresource,
                time=clock.iso(),
            )
            owners = update(copy.deepcopy(record.owners), record.manifest, result, me)
            made = Record(_defaulted(kind, namespace, result), owners)
            self._check(kind, name, record, made)
            return self._keep((kind, namespace, name), record, made, write)

    def delete(
        self, kind: Kind, namespace: str, name: str, *, uid: str | None = None, is_dry: bool = False
    ) -> dict[str, Any]:
        """Delete an object of this UID, if one is given, including a namespace's content; return the deleted object.

        Raises:
            StatusError: ``NotFound``, or ``Conflict`` if the precondition fails.
        """
        with self.lock:
            record = self.get(kind, namespace, name)
            if uid not in {None, record.manifest["metadata"]["uid"]}:
                raise object_kinds.precondition(kind, name, str(uid), record.manifest["metadata"]["uid"])
            if not is_dry:
                del self._records[kind, namespace, name]
                # claim: namespace-takes-all-with-it
                if kind == _NAMESPACE:
                    for key in [key for key in self._records if key[1] == name]:
                        del self._records[key]
        self._changed()
        return record.shown()

    def put_status(self, kind: Kind, namespace: str, name: str, status: Mapping[str, Any]) -> None:
        """Set an object's status as a controller; no-op if the object is missing or the status unchanged."""
        with self.lock:
            record = self._records.get((kind, namespace, name))
            if record is not None and record.manifest.get("status") != status:
                record.manifest = {**record.manifest, "status": copy.deepcopy(dict(status))}
                self._stamp(record.manifest)

    def put(self, kind: Kind, namespace: str, name: str, manifest: Mapping[str, Any]) -> None:
        """Store a controller's own object, if its namespace exists."""
        with self.lock:
            if not kind.is_namespaced or (_NAMESPACE, "", namespace) in self._records:
                self._store((kind, namespace, name), Record(copy.deepcopy(dict(manifest))))

    def drop(self, kind: Kind, namespace: str, name: str) -> None:
        """Delete a controller's own object."""
        with self.lock:
            self._records.pop((kind, namespace, name), None)

    def _check_namespace(self, kind: Kind, namespace: str) -> None:
        # claim: objects-are-checked-before-they-are-stored
        if kind.is_namespaced and (_NAMESPACE, "", namespace) not in self._records:
            raise object_kinds.not_found(_NAMESPACE, namespace)

    @staticmethod
    def _check(kind: Kind, name: str, old: Record | None, new: Record) -> None:
        # claim: objects-are-checked-before-they-are-stored
        found = object_kinds.causes(kind, new.manifest)
        path = _IMMUTABLE.get(kind.kind)
        if path and old is not None and _at(old.manifest, path) != _at(new.manifest, path):
            found.append(
                object_kinds.Cause(".".join(path), f"Invalid value: {_at(new.manifest, path)}: field is immutable")
            )
        if found:
            raise object_kinds.invalid(kind, name, found)

    def _keep(self, key: Key, old: Record | None, new: Record, write: Write) -> dict[str, Any]:
        metadata = new.manifest["metadata"]
        before = {} if old is None else old.manifest
        metadata.setdefault("uid", str(uuid.uuid4()))
        metadata.setdefault("creationTimestamp", clock.iso())
        if "spec" in new.manifest:
            is_new = before.get("spec") != new.manifest["spec"]
            metadata["generation"] = before.get("metadata", {}).get("generation", 0) + is_new
        if write.is_dry:
            metadata.setdefault("resourceVersion", str(self._version))
            return new.shown()
        if old is not None and old.manifest == new.manifest and old.owned() == new.owned():
            return old.shown()  # nothing changed: same version
        self._store(key, new)
        self._changed()
        return new.shown()

    def _store(self, key: Key, record: Record) -> None:
        kind, _, name = key
        record.manifest = {"apiVersion": kind.api_version, "kind": kind.kind, **record.manifest}
        record.manifest["metadata"].setdefault("uid", str(uuid.uuid4()))
        self._stamp(record.manifest)
        self._records[key] = record
        if kind == _NAMESPACE:
            record.manifest.setdefault("status", {"phase": "Active"})
            record.manifest["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = name
            account = (_SERVICE_ACCOUNT, name, "default")
            if account not in self._records:
                self._store(account, Record({"metadata": {"name": "default", "namespace": name}}))

    def _stamp(self, manifest: dict[str, Any]) -> None:
        self._version += 1
        manifest["metadata"]["resourceVersion"] = str(self._version)


def _without_nulls(value: Any) -> Any:
    """Return a value without null members, which Kubernetes objects cannot have."""
    if isinstance(value, Mapping):
        return {name: _without_nulls(item) for name, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value


def _defaulted(kind: Kind, namespace: str, manifest: dict[str, Any]) -> dict[str, Any]:
    made = {"apiVersion": kind.api_version, "kind": kind.kind, **manifest}
    if kind.is_namespaced:
        made["metadata"]["namespace"] = namespace
    if kind.kind == "Deployment" and isinstance(made.get("spec"), dict):
        for name, value in _DEPLOYMENT.items():
            made["spec"].setdefault(name, copy.deepcopy(value))
    return made


def _at(manifest: Any, path: tuple[str, ...]) -> Any:
    for step in path:
        manifest = manifest.get(step, {}) if isinstance(manifest, dict) else None
    return manifest


def merged(target: Any, patch: Any) -> Any:
    """Return the result of a JSON merge patch, whose nulls delete: https://www.rfc-editor.org/rfc/rfc7386."""
    if not isinstance(patch, Mapping):
        return patch
    result = dict(target) if isinstance(target, Mapping) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result
