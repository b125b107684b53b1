"""Field ownership: https://kubernetes.io/docs/reference/using-api/server-side-apply/."""

import copy
import importlib.resources
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mlops_local.kubernetes import fields
from mlops_local.kubernetes.fields import Owner

LIVE = {"metadata": {"name": "a"}, "spec": {"replicas": 3, "containers": [{"name": "model", "image": "v1"}]}}


def _me(manager: str = "mlops-constructs", operation: str = "Apply") -> Owner:
    return Owner(manager=manager, operation=operation, api_version="apps/v1")


def _applied(
    wanted: dict[str, Any],
    live: dict[str, Any] | None = None,
    owners: list[Owner] | None = None,
    manager: str = "mlops-constructs",
) -> tuple[dict[str, Any], list[Owner]]:
    return fields.apply(copy.deepcopy(owners or []), live or {}, wanted, _me(manager))


def test_an_equal_value_is_shared_and_another_one_a_conflict() -> None:
    """The page: sharing ownership is to apply the same value, a conflict is another one."""
    live, owners = _applied(LIVE)
    other = _me("other")

    assert fields.conflicts(owners, live, {"spec": {"replicas": 3}}, other) == []
    met = fields.conflicts(owners, live, {"spec": {"replicas": 4}}, other)
    assert [(owner.manager, fields.printed(path)) for owner, path in met] == [("mlops-constructs", ".spec.replicas")]


def test_force_takes_the_field_from_its_owner() -> None:
    """The page: overwrite value, become sole manager."""
    live, owners = _applied(LIVE)

    changed, after = _applied({"spec": {"replicas": 4}}, live, owners, "other")

    assert changed["spec"]["replicas"] == 4
    holders = [owner.manager for owner in after if ("spec", "replicas") in owner.paths]
    assert holders == ["other"]


def test_a_field_given_up_goes_unless_somebody_else_has_it() -> None:
    """The page: a field that a manifest no longer has is deleted if no other manager has it."""
    live, owners = _applied(LIVE)
    live, owners = _applied({"spec": {"replicas": 3}}, live, owners, "other")
    without: dict[str, Any] = {"metadata": {"name": "a"}, "spec": {"containers": []}}

    after, _ = _applied(without, live, owners)

    assert after["spec"]["replicas"] == 3
    assert after["spec"]["containers"] == []


def test_an_item_of_a_keyed_list_is_a_field_of_its_own() -> None:
    """Two managers of two variables of one container: neither conflicts, each gives up its own."""
    mine = {"spec": {"containers": [{"name": "model", "env": [{"name": "A", "value": "1"}]}]}}
    theirs = {"spec": {"containers": [{"name": "model", "env": [{"name": "B", "value": "2"}]}]}}
    live, owners = _applied(mine)

    assert fields.conflicts(owners, live, theirs, _me("other")) == []
    live, owners = _applied(theirs, live, owners, "other")
    assert [row["name"] for row in live["spec"]["containers"][0]["env"]] == ["A", "B"]
    live, owners = _applied({"spec": {"containers": [{"name": "model"}]}}, live, owners)
    assert live["spec"]["containers"] == [{"name": "model", "env": [{"name": "B", "value": "2"}]}]


def test_an_update_takes_what_it_changes_and_no_more() -> None:
    """An autoscaler that writes the scale owns the replicas from then on."""
    live, owners = _applied(LIVE)
    changed = copy.deepcopy(live)
    changed["spec"]["replicas"] = 5
    scaler = Owner(manager="kube-controller-manager", operation="Update", api_version="apps/v1", subresource="scale")

    owners = fields.update(owners, live, changed, scaler)

    (met,) = fields.conflicts(owners, changed, {"spec": {"replicas": 0}}, _me())
    assert met[0].printed() == '"kube-controller-manager" with subresource "scale" using apps/v1'
    assert scaler.paths == {("spec", "replicas")}


def test_what_the_server_keeps_is_nobodys() -> None:
    """Names, uids, versions and status are not owned by who applies."""
    metadata = {"name": "a", "uid": "1", "labels": {"x": "y"}}

    owned = fields.leaves({"apiVersion": "v1", "kind": "A", "metadata": metadata, "status": {"z": 1}})

    assert owned == {("metadata", "labels", "x"): "y"}


def test_paths_are_written_as_kubernetes_writes_them() -> None:
    """sigs.k8s.io/structured-merge-diff: fields with a dot, keys in brackets."""
    path = ("spec", "containers", (("name", "model"),), "ports", (("containerPort", 8080), ("protocol", "TCP")), "name")

    assert fields.printed(path) == '.spec.containers[name="model"].ports[containerPort=8080,protocol="TCP"].name'


def test_managed_fields_have_the_shape_of_fields_v1() -> None:
    """https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/object-meta/ (managedFields)."""
    _, owners = _applied(LIVE)

    (entry,) = fields.managed(owners)

    assert entry["manager"] == "mlops-constructs"
    assert entry["fieldsV1"] == {
        "f:spec": {"f:containers": {'k:{"name":"model"}': {".": {}, "f:image": {}, "f:name": {}}}, "f:replicas": {}}
    }


_NAMES = st.sampled_from(["a", "b", "c"])
_ROWS = st.fixed_dictionaries({"name": _NAMES, "value": st.text(max_size=2)})
_ITEMS = st.lists(_ROWS, max_size=3, unique_by=lambda row: row["name"])
_LABELS = st.dictionaries(_NAMES, st.text(max_size=2), max_size=2)
_SPECS = st.fixed_dictionaries({}, optional={"env": _ITEMS, "size": st.integers(0, 3), "labels": _LABELS})
_MANIFESTS = st.fixed_dictionaries({"spec": _SPECS})


@given(_MANIFESTS, _MANIFESTS)
def test_whoever_applies_gets_what_was_applied(first: dict[str, Any], second: dict[str, Any]) -> None:
    """Alone with an object, an apply leads to exactly its leaves, again to the same, and never meets a conflict."""
    live, owners = _applied(first)
    assert fields.conflicts(owners, live, second, _me()) == []

    live, owners = _applied(second, live, owners)

    assert fields.leaves(live) == fields.leaves(second)
    again, same = _applied(second, live, owners)
    assert (again, fields.managed(same)) == (live, fields.managed(owners))


def _schemas() -> dict[str, Any]:
    folder = importlib.resources.files("kubernetes_validate").joinpath("kubernetes-json-schema", "v1.36.0-local")
    found: dict[str, Any] = json.loads(folder.joinpath("_definitions.json").read_text())["$defs"]
    return found


def test_keyed_lists_and_whole_maps_are_those_of_kubernetes() -> None:
    """Of all that our kinds reach, by ``x-kubernetes-list-type`` and ``x-kubernetes-map-type``."""
    definitions, seen = _schemas(), set[str]()
    todo = [f"io.k8s.api.{name}Spec" for name in (
        "apps.v1.Deployment", "core.v1.Service", "autoscaling.v2.HorizontalPodAutoscaler", "core.v1.ResourceQuota",
        "policy.v1.PodDisruptionBudget", "networking.v1.NetworkPolicy",
    )]  # fmt: skip
    ours = {*fields.KEYED, "ports"}
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        for member, schema in definitions[name].get("properties", {}).items():
            reference = (schema.get("items") or schema).get("$ref", "").rpartition("/")[2]
            kind, keys = schema.get("x-kubernetes-list-type"), schema.get("x-kubernetes-list-map-keys")
            if member in ours and kind == "map" and member != "ports":
                assert fields.KEYED[member] == tuple(keys), (name, member)
            if member in fields.KEYED and "items" in schema:
                assert kind == "map", (name, member)
            if member in fields.WHOLE and reference:
                assert definitions[reference].get("x-kubernetes-map-type") == "atomic", (name, member)
            # an atomic list holds nothing that is owned by itself
            if reference and kind != "atomic" and definitions[reference].get("x-kubernetes-map-type") != "atomic":
                todo.append(reference)
    assert "io.k8s.api.core.v1.Container" in seen
