"""Field ownership of cluster objects: https://kubernetes.io/docs/reference/using-api/server-side-apply/.

Objects of a cluster: https://kubernetes.io/docs/reference/using-api/api-concepts/.
"""

import copy
import importlib.resources
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mlops_local.kubernetes import cluster_objects, object_kinds
from mlops_local.kubernetes.cluster_objects import Objects, Owner, Write
from mlops_local.kubernetes.object_kinds import StatusError

LIVE = {"metadata": {"name": "a"}, "spec": {"replicas": 3, "containers": [{"name": "model", "image": "v1"}]}}


NAMESPACE, ACCOUNT = object_kinds.BY_NAME["v1", "Namespace"], object_kinds.BY_NAME["v1", "ServiceAccount"]
DEPLOYMENT = object_kinds.BY_NAME["apps/v1", "Deployment"]
ME = Write(manager="mlops-constructs")


def _me(manager: str = "mlops-constructs", operation: str = "Apply") -> Owner:
    return Owner(manager=manager, operation=operation, api_version="apps/v1")


def _applied(
    wanted: dict[str, Any],
    live: dict[str, Any] | None = None,
    owners: list[Owner] | None = None,
    manager: str = "mlops-constructs",
) -> tuple[dict[str, Any], list[Owner]]:
    return cluster_objects.apply(copy.deepcopy(owners or []), live or {}, wanted, _me(manager))


def test_an_equal_value_is_shared_and_another_one_a_conflict() -> None:
    """The page: applying the same value shares ownership, another value is a conflict."""
    live, owners = _applied(LIVE)
    other = _me("other")

    assert cluster_objects.conflicts(owners, live, {"spec": {"replicas": 3}}, other) == []
    met = cluster_objects.conflicts(owners, live, {"spec": {"replicas": 4}}, other)
    assert [(owner.manager, cluster_objects.printed(path)) for owner, path in met] == [
        ("mlops-constructs", ".spec.replicas")
    ]


def test_force_takes_the_field_from_its_owner() -> None:
    """The page: overwrite value, become sole manager."""
    live, owners = _applied(LIVE)

    changed, after = _applied({"spec": {"replicas": 4}}, live, owners, "other")

    assert changed["spec"]["replicas"] == 4
    holders = [owner.manager for owner in after if ("spec", "replicas") in owner.paths]
    assert holders == ["other"]


def test_a_field_given_up_goes_unless_somebody_else_has_it() -> None:
    """The page: a field removed from a manifest is deleted if no other manager owns it."""
    live, owners = _applied(LIVE)
    live, owners = _applied({"spec": {"replicas": 3}}, live, owners, "other")
    without: dict[str, Any] = {"metadata": {"name": "a"}, "spec": {"containers": []}}

    after, _ = _applied(without, live, owners)

    assert after["spec"]["replicas"] == 3
    assert after["spec"]["containers"] == []


def test_an_item_of_a_keyed_list_is_a_field_of_its_own() -> None:
    """Two managers of two variables of one container: neither conflicts, each can give up its own."""
    mine = {"spec": {"containers": [{"name": "model", "env": [{"name": "A", "value": "1"}]}]}}
    theirs = {"spec": {"containers": [{"name": "model", "env": [{"name": "B", "value": "2"}]}]}}
    live, owners = _applied(mine)

    assert cluster_objects.conflicts(owners, live, theirs, _me("other")) == []
    live, owners = _applied(theirs, live, owners, "other")
    assert [row["name"] for row in live["spec"]["containers"][0]["env"]] == ["A", "B"]
    live, owners = _applied({"spec": {"containers": [{"name": "model"}]}}, live, owners)
    assert live["spec"]["containers"] == [{"name": "model", "env": [{"name": "B", "value": "2"}]}]


def test_an_update_takes_what_it_changes_and_no_more() -> None:
    """An autoscaler that writes the scale then owns the replicas."""
    live, owners = _applied(LIVE)
    changed = copy.deepcopy(live)
    changed["spec"]["replicas"] = 5
    scaler = Owner(manager="kube-controller-manager", operation="Update", api_version="apps/v1", subresource="scale")

    owners = cluster_objects.update(owners, live, changed, scaler)

    (met,) = cluster_objects.conflicts(owners, changed, {"spec": {"replicas": 0}}, _me())
    assert met[0].printed() == '"kube-controller-manager" with subresource "scale" using apps/v1'
    assert scaler.paths == {("spec", "replicas")}


def test_what_the_server_keeps_is_nobodys() -> None:
    """An applier does not own names, uids, versions and status."""
    metadata = {"name": "a", "uid": "1", "labels": {"x": "y"}}

    owned = cluster_objects.leaves({"apiVersion": "v1", "kind": "A", "metadata": metadata, "status": {"z": 1}})

    assert owned == {("metadata", "labels", "x"): "y"}


def test_paths_are_written_as_kubernetes_writes_them() -> None:
    """sigs.k8s.io/structured-merge-diff: fields with a dot, keys in brackets."""
    path = ("spec", "containers", (("name", "model"),), "ports", (("containerPort", 8080), ("protocol", "TCP")), "name")

    assert (
        cluster_objects.printed(path) == '.spec.containers[name="model"].ports[containerPort=8080,protocol="TCP"].name'
    )


def test_managed_fields_have_the_shape_of_fields_v1() -> None:
    """https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/object-meta/ (managedFields)."""
    _, owners = _applied(LIVE)

    (entry,) = cluster_objects.managed(owners)

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
    """On an object of its own an apply yields exactly its leaves, is idempotent, and never conflicts."""
    live, owners = _applied(first)
    assert cluster_objects.conflicts(owners, live, second, _me()) == []

    live, owners = _applied(second, live, owners)

    assert cluster_objects.leaves(live) == cluster_objects.leaves(second)
    again, same = _applied(second, live, owners)
    assert (again, cluster_objects.managed(same)) == (live, cluster_objects.managed(owners))


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
    ours = {*cluster_objects.KEYED, "ports"}
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        for member, schema in definitions[name].get("properties", {}).items():
            reference = (schema.get("items") or schema).get("$ref", "").rpartition("/")[2]
            kind, keys = schema.get("x-kubernetes-list-type"), schema.get("x-kubernetes-list-map-keys")
            if member in ours and kind == "map" and member != "ports":
                assert cluster_objects.KEYED[member] == tuple(keys), (name, member)
            if member in cluster_objects.KEYED and "items" in schema:
                assert kind == "map", (name, member)
            if member in cluster_objects.WHOLE and reference:
                assert definitions[reference].get("x-kubernetes-map-type") == "atomic", (name, member)
            # items of an atomic list have no owners of their own
            if reference and kind != "atomic" and definitions[reference].get("x-kubernetes-map-type") != "atomic":
                todo.append(reference)
    assert "io.k8s.api.core.v1.Container" in seen


def _deployment(**spec: Any) -> dict[str, Any]:
    template = {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "model", "image": "v1"}]}}
    body = {"selector": {"matchLabels": {"app": "a"}}, "template": template, **spec}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}, "spec": body}


@pytest.fixture
def store() -> Objects:
    """The objects of a cluster with a namespace."""
    made = Objects()
    made.apply(NAMESPACE, "", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "demand"}}, ME)
    return made


def test_a_create_is_told_from_an_update(store: Objects) -> None:
    """201, then 200; the generation changes with the spec only, the version with every change."""
    first, made = store.apply(DEPLOYMENT, "demand", _deployment(), ME)
    second, same = store.apply(DEPLOYMENT, "demand", _deployment(), ME)
    _, labelled = store.apply(
        DEPLOYMENT, "demand", {**_deployment(), "metadata": {"name": "a", "labels": {"x": "y"}}}, ME
    )
    _, scaled = store.apply(DEPLOYMENT, "demand", _deployment(replicas=2), ME)

    assert (first, second) == (201, 200)
    assert same["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]
    assert labelled["metadata"]["resourceVersion"] != made["metadata"]["resourceVersion"]
    assert [o["metadata"]["generation"] for o in (made, same, labelled, scaled)] == [1, 1, 1, 2]
    assert {o["metadata"]["uid"] for o in (made, same, labelled, scaled)} == {made["metadata"]["uid"]}


def test_a_dry_run_stores_nothing_and_says_what_it_would(store: Objects) -> None:
    """https://kubernetes.io/docs/reference/using-api/api-concepts/#dry-run."""
    code, shown = store.apply(DEPLOYMENT, "demand", _deployment(replicas=7), Write(manager="m", is_dry=True))

    assert (code, shown["spec"]["replicas"]) == (201, 7)
    assert store.find(DEPLOYMENT, "demand", "a") is None


def test_a_deployment_without_replicas_has_one(store: Objects) -> None:
    """The default of spec.replicas, without an owner."""
    _, shown = store.apply(DEPLOYMENT, "demand", _deployment(), ME)

    assert shown["spec"]["replicas"] == 1
    assert "f:replicas" not in shown["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"]


def test_replicas_given_up_fall_back_to_the_default(store: Objects) -> None:
    """An idle slot that serves again: its manifest no longer has the 0, so the autoscaler may act."""
    store.apply(DEPLOYMENT, "demand", _deployment(replicas=0), ME)

    _, shown = store.apply(DEPLOYMENT, "demand", _deployment(), ME)

    assert shown["spec"]["replicas"] == 1


def test_a_selector_cannot_change(store: Objects) -> None:
    """https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#label-selector-updates."""
    store.apply(DEPLOYMENT, "demand", _deployment(), ME)
    other = _deployment(selector={"matchLabels": {"app": "b"}})
    other["spec"]["template"]["metadata"]["labels"] = {"app": "b"}

    with pytest.raises(StatusError, match="field is immutable") as refused:
        store.apply(DEPLOYMENT, "demand", other, ME)

    assert refused.value.code == 422


def test_nothing_is_made_in_a_namespace_that_is_not_there(store: Objects) -> None:
    """The error names the namespace."""
    with pytest.raises(StatusError, match='namespaces "elsewhere" not found'):
        store.apply(DEPLOYMENT, "elsewhere", _deployment(), ME)


def test_a_namespace_goes_with_all_that_is_in_it(store: Objects) -> None:
    """It is created with its default service account."""
    store.apply(DEPLOYMENT, "demand", _deployment(), ME)
    assert store.find(ACCOUNT, "demand", "default") is not None

    store.delete(NAMESPACE, "", "demand")

    assert store.list(DEPLOYMENT) == []
    assert store.find(ACCOUNT, "demand", "default") is None


def test_a_delete_with_another_uid_is_refused(store: Objects) -> None:
    """https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/delete-options/."""
    store.apply(DEPLOYMENT, "demand", _deployment(), ME)

    with pytest.raises(StatusError, match="Precondition failed"):
        store.delete(DEPLOYMENT, "demand", "a", uid="another")

    assert store.find(DEPLOYMENT, "demand", "a") is not None


def test_an_apply_has_to_say_whose_it_is(store: Objects) -> None:
    """The API server's message: fieldManager is required for apply patch."""
    with pytest.raises(StatusError, match="fieldManager: Required value"):
        store.apply(DEPLOYMENT, "demand", _deployment(), Write(manager=""))


def test_a_watcher_hears_of_changes_and_of_nothing_else() -> None:
    """An apply without a change notifies no watcher."""
    received: list[int] = []
    store = Objects(lambda: received.append(1))
    manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "demand"}}

    store.apply(NAMESPACE, "", manifest, ME)
    store.apply(NAMESPACE, "", manifest, ME)

    assert len(received) == 1


@pytest.mark.parametrize(
    ("target", "patch", "expected"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
        (["a", "b"], {"a": "b"}, {"a": "b"}),
    ],
)
def test_merge_patches_are_those_of_the_rfc(target: Any, patch: Any, expected: Any) -> None:
    """https://www.rfc-editor.org/rfc/rfc7386#appendix-A."""
    assert cluster_objects.merged(target, patch) == expected


_FIELDS = st.sampled_from(
    ["spec", "data", "rules", "selector", "template", "ports", "containers", "name", "serviceRef"]
)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "a", "1Gi", "IfNotPresent"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_FIELDS, inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


@given(kind=st.sampled_from(object_kinds.KINDS), body=st.dictionaries(_FIELDS, _JSON, max_size=3), labels=_JSON)
@example(kind=object_kinds.KINDS[0], body={"containers": [{"name": []}]}, labels=None)
def test_whatever_is_applied_is_stored_or_refused(kind: object_kinds.Kind, body: dict[str, Any], labels: Any) -> None:
    """Never a server error: an object that is invalid for its kind is rejected with a status."""
    store = Objects()
    store.apply(NAMESPACE, "", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "demand"}}, ME)
    manifest = {"apiVersion": kind.api_version, "kind": kind.kind, **body, "metadata": {"name": "a", "labels": labels}}
    where = "demand" if kind.is_namespaced else ""

    try:
        store.apply(kind, where, manifest, ME)
        store.apply(kind, where, {**manifest, "metadata": {"name": "a"}}, ME)
    except StatusError as error:
        assert error.code in {400, 409, 422}
