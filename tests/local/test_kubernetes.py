"""The Kubernetes of the embedded cloud as a whole: its status address."""

from mlops_local.cloud import Cloud


def test_the_cloud_tells_of_its_clusters(cloud: Cloud) -> None:
    """``mlops local status`` reads them."""
    reported = cloud.call("/_mlops/clusters")

    assert reported["account"] == "000000000000"
    assert isinstance(reported["clusters"], list)
