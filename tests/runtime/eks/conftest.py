"""The cluster of ``fake_cluster.py``."""

from collections.abc import Iterator
from typing import Any

import pytest
from tests.runtime.eks.fake_cluster import fake_cluster


@pytest.fixture
def fake() -> Iterator[Any]:
    """Return a new cluster over HTTP."""
    with fake_cluster() as made:
        yield made
