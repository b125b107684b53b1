"""Names of objects, and API paths of their kinds."""

import pytest

from mlops_runtime.eks.kubernetes_objects import KINDS, Ref, UnknownKindError, deployment_ref, path, ref, scaler_ref


def test_a_slot_is_found_by_endpoint_and_slot() -> None:
    """All objects of a slot share a name."""
    where = {"namespace": "demand", "endpoint": "forecast", "slot": "green"}

    assert str(deployment_ref(**where)) == "Deployment demand/forecast-green"
    assert str(scaler_ref(**where)) == "HorizontalPodAutoscaler demand/forecast-green"


def test_a_manifest_points_at_itself() -> None:
    """With its namespace, if any."""
    assert ref({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "demand"}}) == Ref(
        api_version="v1", kind="Namespace", name="demand"
    )
    assert str(Ref(api_version="v1", kind="Namespace", name="demand")) == "Namespace demand"


def test_core_kinds_and_groups_have_different_roots() -> None:
    """See https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-uris."""
    assert path(Ref(api_version="v1", kind="Namespace", name="demand")) == "/api/v1/namespaces/demand"
    binding = Ref(api_version="eks.amazonaws.com/v1", kind="TargetGroupBinding", namespace="demand", name="f-blue")
    assert path(binding) == "/apis/eks.amazonaws.com/v1/namespaces/demand/targetgroupbindings/f-blue"


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        (Ref(api_version="v1", kind="Secret", namespace="demand", name="x"), r"Secret \(v1\) is not supported"),
        (Ref(api_version="apps/v2", kind="Deployment", namespace="demand", name="x"), r"Deployment \(apps/v2\)"),
        (Ref(api_version="v1", kind="Service", name="x"), "got namespace None; give metadata.namespace"),
        (Ref(api_version="v1", kind="Namespace", namespace="y", name="x"), "omit metadata.namespace"),
        (Ref(api_version="v1", kind="Service", namespace="demand", name=".."), r"must not be '\.\.'"),
    ],
)
def test_what_cannot_be_found_is_refused(reference: Ref, message: str) -> None:
    """No request is made for it."""
    with pytest.raises(UnknownKindError, match=message):
        path(reference)


def test_no_name_leaves_its_place() -> None:
    """A slash in a name is not a path separator."""
    assert path(Ref(api_version="v1", kind="Service", namespace="a/b", name="c/../d")).endswith(
        "/a%2Fb/services/c%2F..%2Fd"
    )
    assert len(KINDS) == 14
