"""The objects of a cluster: https://kubernetes.io/docs/reference/using-api/api-concepts/."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_local.kubernetes import kinds, objects
from mlops_local.kubernetes.objects import Objects, Write
from mlops_local.kubernetes.statuses import StatusError

NAMESPACE, ACCOUNT = kinds.BY_NAME["v1", "Namespace"], kinds.BY_NAME["v1", "ServiceAccount"]
DEPLOYMENT = kinds.BY_NAME["apps/v1", "Deployment"]
ME = Write(manager="mlops-constructs")


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
    """201, then 200; the generation moves with the spec alone, the version with everything."""
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
    """The default of spec.replicas, which nobody owns."""
    _, shown = store.apply(DEPLOYMENT, "demand", _deployment(), ME)

    assert shown["spec"]["replicas"] == 1
    assert "f:replicas" not in shown["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"]


def test_replicas_given_up_fall_back_to_the_default(store: Objects) -> None:
    """An idle slot that serves again: its manifest no longer has the 0, and the autoscaler may act."""
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
    """The error is about the namespace."""
    with pytest.raises(StatusError, match='namespaces "elsewhere" not found'):
        store.apply(DEPLOYMENT, "elsewhere", _deployment(), ME)


def test_a_namespace_goes_with_all_that_is_in_it(store: Objects) -> None:
    """And comes with its default service account."""
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
    """The message of the API server: fieldManager is required for apply patch."""
    with pytest.raises(StatusError, match="fieldManager: Required value"):
        store.apply(DEPLOYMENT, "demand", _deployment(), Write(manager=""))


def test_a_watcher_hears_of_changes_and_of_nothing_else() -> None:
    """An apply that changes nothing wakes nobody."""
    heard: list[int] = []
    store = Objects(lambda: heard.append(1))
    manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "demand"}}

    store.apply(NAMESPACE, "", manifest, ME)
    store.apply(NAMESPACE, "", manifest, ME)

    assert len(heard) == 1


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
    assert objects.merged(target, patch) == expected


_FIELDS = st.sampled_from(
    ["spec", "data", "rules", "selector", "template", "ports", "containers", "name", "serviceRef"]
)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "a", "1Gi", "IfNotPresent"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_FIELDS, inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


@given(kind=st.sampled_from(kinds.KINDS), body=st.dictionaries(_FIELDS, _JSON, max_size=3), labels=_JSON)
def test_whatever_is_applied_is_stored_or_refused(kind: kinds.Kind, body: dict[str, Any], labels: Any) -> None:
    """Never a broken server: what is no object of its kind is refused with a status."""
    store = Objects()
    store.apply(NAMESPACE, "", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "demand"}}, ME)
    manifest = {"apiVersion": kind.api_version, "kind": kind.kind, **body, "metadata": {"name": "a", "labels": labels}}
    where = "demand" if kind.is_namespaced else ""

    try:
        store.apply(kind, where, manifest, ME)
        store.apply(kind, where, {**manifest, "metadata": {"name": "a"}}, ME)
    except StatusError as error:
        assert error.code in {400, 409, 422}
