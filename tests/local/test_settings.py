"""Settings of the child process."""

import os
import runpy
from pathlib import Path
from typing import Any

import pytest

from mlops_local import settings
from mlops_local.cloud import Cloud

NAMES = ("MLOPS_LOCAL_REGION", "MLOPS_LOCAL_PORT", "MLOPS_LOCAL_STATE", "MLOPS_LOCAL_CLOCK_SCALE", "MLOPS_LOCAL_OWNER")


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the settings of a process started with an environment."""

    def start(**environment: str) -> dict[str, Any]:
        for name in NAMES:
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        return runpy.run_path(settings.__file__)

    return start


def test_the_environment_is_read(started: Any) -> None:
    """Port and scale are numbers, the state is a folder."""
    found = started(
        MLOPS_LOCAL_REGION="eu-west-1",
        MLOPS_LOCAL_PORT="4566",
        MLOPS_LOCAL_STATE="/state",
        MLOPS_LOCAL_CLOCK_SCALE="0.5",
        MLOPS_LOCAL_OWNER="42",
    )

    assert (found["region"], found["port"], found["home"], found["clock_scale"]) == (
        "eu-west-1",
        4566,
        Path("/state"),
        0.5,
    )
    assert (found["endpoint_url"](), found["owner"]) == ("http://127.0.0.1:4566", 42)


def test_without_a_parent_nothing_is_reached(started: Any) -> None:
    """A module imported outside the child gets port 0, on which nothing can listen, and real time."""
    found = started()

    assert found["endpoint_url"]() == "http://127.0.0.1:0"
    assert (found["region"], found["account"], found["clock_scale"]) == ("us-east-1", "000000000000", 1.0)
    assert (found["home"], found["owner"]) == (Path(".mlops/local/state"), 0)


@pytest.mark.parametrize("name", ["MLOPS_LOCAL_PORT", "MLOPS_LOCAL_CLOCK_SCALE", "MLOPS_LOCAL_OWNER"])
def test_fails_on_what_is_no_number(name: str, started: Any) -> None:
    """The child exits at once instead of listening elsewhere."""
    with pytest.raises(ValueError, match="'many'"):
        started(**{name: "many"})


@pytest.mark.cloud
def test_the_parent_sets_what_the_child_reads(cloud: Cloud, started: Any) -> None:
    """Both sides use the same names: the child has its port and folder, and ends with this process of pytest."""
    child = dict(
        entry.split("=", 1) for entry in Path(f"/proc/{cloud.pid}/environ").read_text().split("\0") if "=" in entry
    )
    given = {name: child[name] for name in NAMES if name in child}

    found = started(**given)

    assert set(NAMES) - set(given) <= {"MLOPS_LOCAL_REGION"}, "the parent leaves only the region to its default"
    assert (found["port"], found["home"], found["clock_scale"]) == (cloud.port, cloud.home / "state", 1.0)
    assert found["owner"] == os.getpid()
    assert found["endpoint_url"]() == cloud.endpoint_url
    assert Path(f"/proc/{cloud.pid}/cwd").readlink() == found["home"]
