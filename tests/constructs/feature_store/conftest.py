"""Feature groups and stores for the tests of this folder."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk.assertions import Template

from mlops_constructs import BusinessUnit, Entity, Feature, FeatureGroup, FeatureStore, Profile
from mlops_runtime.features.lock_file import write_lock
from mlops_runtime.layers import layer_wheels


def make_group(name: str = "stock", *, freshness: timedelta | None = None, **changes: Any) -> FeatureGroup:
    """Declare a group of two features about a store."""
    return FeatureGroup(
        **{
            "name": name,
            "entities": (Entity("store_id", "string", "store"),),
            "features": (Feature("on_hand", "long", "units"), Feature("cost", "double", "USD", nullable=True)),
            "owner": "logistics",
            "description": name,
            "freshness": freshness,
            **changes,
        }
    )


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Empty files in place of the layer and the Glue archive of ``mlops assets build``, which constructs only copy."""
    monkeypatch.setattr(layer_wheels, "ASSETS", tmp_path / "assets")
    (layer_wheels.layer_folder("features", architecture="x86_64") / "python").mkdir(parents=True)
    archive = layer_wheels.glue_archive_path("features")
    archive.parent.mkdir()
    archive.write_bytes(b"wheels")
    return archive


@pytest.fixture
def group() -> Callable[..., FeatureGroup]:
    """Declare a group: ``group("stock", owner="logistics")``."""
    return make_group


@pytest.fixture
def define_store(tmp_path: Path) -> Callable[..., FeatureStore]:
    """Define a store in a stack of its own: ``define_store(group("stock"), access=FeatureAccess.LAKE_FORMATION)``."""

    def define(
        *groups: FeatureGroup, unit: str = "demand", profile: Profile = Profile.PRODUCTION, **options: Any
    ) -> FeatureStore:
        write_lock(groups, tmp_path / "features.lock.json")
        stack = cdk.Stack(cdk.App(), "S", env=cdk.Environment(account="123456789012", region="eu-west-1"))
        made = BusinessUnit(stack, "Unit", name=unit, profile=profile)
        lock_file = tmp_path / "features.lock.json"
        return FeatureStore(stack, "Features", business_unit=made, groups=groups, lock_file=lock_file, **options)

    return define


@pytest.fixture
def resources() -> Callable[[cdk.IResource | Any, str], dict[str, dict[str, Any]]]:
    """Return the properties of all resources of a type in a construct's stack, by logical id."""

    def find(construct: Any, kind: str) -> dict[str, dict[str, Any]]:
        found = Template.from_stack(cdk.Stack.of(construct)).find_resources(kind)
        return {name: resource.get("Properties", {}) for name, resource in found.items()}

    return find
