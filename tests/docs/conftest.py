"""The layers that the pages' examples copy."""

import pytest

from mlops_runtime.layers.layer_wheels import build_layers


@pytest.fixture(scope="session", autouse=True)
def _layers() -> None:
    """Build them as ``cdk.json`` does before each synthesis; what is there stays."""
    assert list(build_layers()) != []
