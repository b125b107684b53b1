"""Builds the Lambda layers that the examples of the documentation use."""

import pytest

from mlops_runtime.layers.layer_wheels import build_layers


@pytest.fixture(scope="session", autouse=True)
def _layers() -> None:
    """Build missing layers as ``cdk.json`` does before each synthesis."""
    assert list(build_layers()) != []
