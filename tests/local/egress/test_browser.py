"""A real Chromium at AWS's host names."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.local.egress.conftest import Recording
from tests.local.site import certificate, give_name, make_site

from mlops_local.cloud import Cloud

FLAGS = "--headless --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run --disable-background-networking"


def _seen(folder: Path, address: str, *arguments: str) -> str:
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("chromium is not installed; apt-get install chromium")
    command = [path, *FLAGS.split(), f"--user-data-dir={folder}", *arguments, "--dump-dom", address]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout


def test_it_opens_the_pages_of_the_cloud(cloud: Cloud, unique: str, tmp_path: Path) -> None:
    """TLS is trusted with the pinned key only."""
    name = make_site(cloud, unique)
    proxy, pin = cloud.browser_arguments()

    assert f"read at {name}" in _seen(tmp_path / "one", f"https://{name}/", proxy, pin)
    assert f"read at {name}" not in _seen(tmp_path / "two", f"https://{name}/", proxy)


def test_it_opens_a_name_of_ones_own(cloud: Cloud, unique: str, tmp_path: Path) -> None:
    """Opens the page of the distribution with that alias."""
    name = f"{unique}.example.com"
    give_name(cloud, make_site(cloud, unique), certificate(cloud, name), name)

    assert f"read at {name}" in _seen(tmp_path, f"https://{name}/", *cloud.browser_arguments())


def test_it_opens_other_addresses_as_always(cloud: Cloud, serve: Callable[[str], Recording], tmp_path: Path) -> None:
    """Bypasses the proxy."""
    own = serve("own")

    found = _seen(tmp_path / "profile", f"http://127.0.0.1:{own.port}/", *cloud.browser_arguments())

    assert "own" in found
