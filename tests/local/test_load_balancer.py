"""The load balancers of the embedded cloud as a whole: what it tells on an address of its own."""

import shutil

from mlops_local.cloud import Cloud


def test_the_cloud_tells_what_stands_for_load_balancers(cloud: Cloud) -> None:
    """Haproxy where it is installed, and the small relay by its name where it is not."""
    told = cloud.call("/_mlops/load-balancers")

    assert isinstance(told["load_balancers"], list)
    assert told["engine"].startswith("haproxy" if shutil.which("haproxy") else "asyncio relay")


def test_status_names_what_listens_where(cloud: Cloud) -> None:
    """So that a person knows which proxy runs, and under which address a listener is reached."""
    status = cloud.status()

    assert set(status["load_balancing"]) == {"engine", "load_balancers"}
    assert isinstance(status["clusters"], list)
