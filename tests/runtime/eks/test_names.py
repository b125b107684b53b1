"""What objects are called."""

from mlops_runtime.eks.names import Ref, deployment_ref, ref, scaler_ref


def test_a_slot_is_found_by_endpoint_and_slot() -> None:
    """All objects of a slot have one name."""
    where = {"namespace": "demand", "endpoint": "forecast", "slot": "green"}

    assert str(deployment_ref(**where)) == "Deployment demand/forecast-green"
    assert str(scaler_ref(**where)) == "HorizontalPodAutoscaler demand/forecast-green"


def test_a_manifest_points_at_itself() -> None:
    """With its namespace, where it has one."""
    assert ref({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "demand"}}) == Ref(
        api_version="v1", kind="Namespace", name="demand"
    )
    assert str(Ref(api_version="v1", kind="Namespace", name="demand")) == "Namespace demand"
