"""The Kubernetes of the embedded cloud as a whole: what it tells on an address of its own."""

from mlops_local.cloud import Cloud


def test_the_cloud_tells_of_its_clusters(cloud: Cloud) -> None:
    """``mlops local status`` reads it."""
    told = cloud.call("/_mlops/clusters")

    assert told["account"] == "000000000000"
    assert isinstance(told["clusters"], list)
