"""Locks are found by the digest of their image."""

import hashlib
import sys

import pytest

from mlops_local import lock_assets, runners
from mlops_local.lock_assets import lock_of
from mlops_runtime.image.requirements_lock import LOCK_COMMAND, asset_name


@pytest.fixture
def assets(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Objects of the bucket for stacks' assets."""
    objects: dict[str, bytes] = {}
    monkeypatch.setattr(lock_assets.s3, "_buckets", {"cdk-x-assets-1": {"objects": objects}})
    monkeypatch.setattr(lock_assets.s3, "_get_object_data", lambda _bucket, key: objects[key])
    monkeypatch.setattr(lock_assets, "_FOUND", {})
    return objects


IMAGE = "000000000000.dkr.ecr.us-east-1.amazonaws.com/team/forecast@sha256:"


def test_an_image_is_found_by_the_hash_of_its_lock(assets: dict[str, bytes]) -> None:
    """Whatever the name of its repository; it serves and trains like our own image."""
    content = f"one==1.0 --hash=sha256:{'0a' * 32}\n".encode()
    digest = hashlib.sha256(content).hexdigest()
    assert lock_of(digest) is None
    assets[f"{asset_name(digest)}.lock"] = content
    assert runners.serve_command(IMAGE + digest) == [sys.executable, "-m", "mlops_runtime.serving", "serve"]
    assert runners.job_command(IMAGE + digest, None, None) == [sys.executable, "-m", "mlops_runtime.jobs.train"]


def test_an_asset_with_other_bytes_is_no_lock(assets: dict[str, bytes]) -> None:
    """Its name alone is not enough."""
    assets[f"{asset_name('0a' * 32)}.lock"] = b"anything"
    assert lock_of("0a" * 32) is None
    with pytest.raises(runners.UnknownImageError, match="no runner for image repository 'team/forecast'"):
        runners.runner(IMAGE + "0a" * 32)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("one>=1\n", "'one>=1' must be pinned as name==version"),
        (f"# uv pip compile --python-platform windows\none==1.0 --hash=sha256:{'0a' * 32}\n", "x86_64-pc-windows-msvc"),
    ],
)
def test_fails_on_a_lock_that_makes_no_environment_here(assets: dict[str, bytes], content: str, problem: str) -> None:
    """When a job or an endpoint uses it; the error has the fix."""
    digest = hashlib.sha256(content.encode()).hexdigest()
    assets[f"{asset_name(digest)}.lock"] = content.encode()
    with pytest.raises(runners.UnknownImageError, match=problem) as raised:
        runners.runner(IMAGE + digest)
    assert LOCK_COMMAND in str(raised.value)
