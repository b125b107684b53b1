"""Who owns which field: server-side apply, as pure functions over one object.

A path leads to a leaf: a scalar, or a list or map that is owned as a whole. Items of a list that has keys are fields of
their own. Which lists and maps are of which sort is Kubernetes' ``x-kubernetes-list-type`` and ``x-kubernetes-map-type``.
https://kubernetes.io/docs/reference/using-api/server-side-apply/#merge-strategy
"""

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

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


# claim: strict-fields-are-refused
@dataclass(slots=True, kw_only=True)
class Owner:
    """One entry of ``managedFields``."""

    manager: str
    operation: str
    api_version: str
    subresource: str = ""
    time: str = ""
    paths: set[Path] = field(default_factory=set)

    def is_same(self, other: "Owner") -> bool:
        """Return whether both are one entry of ``managedFields``."""
        return (self.manager, self.operation, self.subresource) == (other.manager, other.operation, other.subresource)

    def printed(self) -> str:
        """Return it as a conflict names it."""
        shown = json.dumps(self.manager)
        if self.subresource:
            shown += f" with subresource {json.dumps(self.subresource)}"
        return f"{shown} using {self.api_version}" if self.operation == "Update" else shown


def leaves(manifest: Mapping[str, Any]) -> dict[Path, Any]:
    """Return the fields of an object that somebody owns, by path."""
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
    if name == "ports":
        return ("containerPort" if "containerPort" in value[0] else "port", "protocol")
    return KEYED.get(name, ())


def _key_value(item: Mapping[str, Any], key: str) -> Any:
    return item.get(key, "TCP" if key == "protocol" else None)


def conflicts(
    owners: Sequence[Owner], live: Mapping[str, Any], wanted: Mapping[str, Any], me: Owner
) -> list[tuple[Owner, Path]]:
    """Return the fields that others own and that ``wanted`` would change.

    Args:
        owners: Of the object.
        live: The object as it is.
        wanted: What is applied.
        me: Who applies.
    """
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
    """Return the object and its owners after an apply whose conflicts are settled: those that remain are taken over.

    Args:
        owners: Of the object.
        live: The object as it is.
        wanted: What is applied.
        me: Who applies.
    """
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
    """Return the owners after an object was changed otherwise than by apply: who changed a field owns it alone.

    Args:
        owners: Of the object.
        live: The object as it was.
        changed: The object as it is now.
        me: Who changed it.
    """
    old, new = leaves(live), leaves(changed)
    mine = {path for path, value in new.items() if path not in old or old[path] != value}
    gone = old.keys() - new.keys()
    entry = next((owner for owner in owners if owner.is_same(me)), None)
    if entry is None:
        owners = [*owners, entry := me]
    for owner in owners:
        owner.paths = (owner.paths - gone) | mine if owner is entry else owner.paths - gone - mine
    entry.time = me.time
    return [owner for owner in owners if owner.paths]


def _is_key(path: Path) -> bool:
    """Return whether a field is one of those by which its item is known; it goes with the item alone."""
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
    for parent, step in reversed(trail):  # what is empty now was there only for what is gone
        if at or isinstance(step, tuple):
            return
        parent.pop(step, None)
        at = parent


def printed(path: Path) -> str:
    """Return a path as Kubernetes writes it: ``.spec.containers[name="model"].image``."""
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
