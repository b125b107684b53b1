"""The Kubernetes of the embedded cloud as a whole: what it tells on an address of its own."""

import json
import urllib.request

from mlops_local.cloud import Cloud


def test_the_cloud_tells_of_its_clusters(cloud: Cloud) -> None:
    """``mlops local status`` reads it."""
    with urllib.request.urlopen(f"{cloud.endpoint_url}/_mlops/clusters") as answer:  # noqa: S310 - 127.0.0.1
        told = json.load(answer)

    assert told["account"] == "000000000000"
    assert isinstance(told["clusters"], list)
