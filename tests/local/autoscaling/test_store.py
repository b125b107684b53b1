"""Names of scalable targets."""

from mlops_local.autoscaling import store


def test_a_target_knows_its_endpoint_and_variant() -> None:
    """The resource id names both."""
    target = store.Target(record={"ResourceId": "endpoint/e/variant/v"})
    assert (target.endpoint, target.variant) == ("e", "v")
    assert not store.is_registered("e", "v")
