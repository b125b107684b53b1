"""What the tests of the examples share: the layers that their stacks name are built."""

import pytest

from mlops_runtime.layers.layer_wheels import build_layers


@pytest.fixture(scope="session", autouse=True)
def layers() -> None:
    """Build them as ``cdk.json`` does before each synthesis; what is there stays."""
    assert list(build_layers(names=["monitor"])) != []
