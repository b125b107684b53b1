"""The load balancers of the embedded cloud as a whole: their status address."""

import shutil

from mlops_local.cloud import Cloud


def test_the_cloud_tells_what_stands_for_load_balancers(cloud: Cloud) -> None:
    """HAProxy if it is installed, else the small relay."""
    reported = cloud.call("/_mlops/load-balancers")

    assert isinstance(reported["load_balancers"], list)
    assert reported["engine"].startswith("haproxy" if shutil.which("haproxy") else "asyncio relay")


def test_status_names_what_listens_where(cloud: Cloud) -> None:
    """The running proxy, and the address of each listener."""
    status = cloud.status()

    assert set(status["load_balancing"]) == {"engine", "load_balancers"}
    assert isinstance(status["clusters"], list)
