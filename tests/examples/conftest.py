"""Builds the layers that the example stacks use."""

import pytest

from mlops_runtime.layers.layer_wheels import build_layers


@pytest.fixture(scope="session", autouse=True)
def layers() -> None:
    """Build missing layers as ``cdk.json`` does before each synthesis."""
    assert list(build_layers(names=["monitor"])) != []
