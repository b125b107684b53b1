"""The specs of ``samples.py`` and the cluster of ``fake_cluster.py``, importable by name."""

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


def _load(name: str, file: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parent / file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


eks_samples = _load("eks_samples", "samples.py")
eks_fake_cluster = _load("eks_fake_cluster", "fake_cluster.py")
eks_slots = _load("eks_slots", "slots.py")


@pytest.fixture
def fake() -> Iterator[Any]:
    """Return a new cluster over HTTP."""
    with eks_fake_cluster.fake_cluster() as made:
        yield made
