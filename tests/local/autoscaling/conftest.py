"""Fixtures: the cloud with tiny containers of the SageMaker tests, and an endpoint whose variant is registered."""

from collections.abc import Callable
from typing import Any

import pytest
from tests.local.sagemaker.conftest import Plane, plane

__all__ = ["plane"]

DIMENSION = "sagemaker:variant:DesiredInstanceCount"


@pytest.fixture
def registered(plane: Plane) -> Callable[..., dict[str, Any]]:
    """Make an endpoint of two instances with one to four allowed; return the parameters that name its target."""

    def make(name: str, minimum: int = 1, maximum: int = 4) -> dict[str, Any]:
        plane.config(plane.model(name))
        plane.endpoint(name, name)
        target = {
            "ServiceNamespace": "sagemaker",
            "ResourceId": f"endpoint/{name}/variant/AllTraffic",
            "ScalableDimension": DIMENSION,
        }
        plane.cloud.client("application-autoscaling").register_scalable_target(
            **target, MinCapacity=minimum, MaxCapacity=maximum
        )
        return target

    return make


@pytest.fixture
def capacity(plane: Plane) -> Callable[[str], int]:
    """Return the number of instances of an endpoint's variant."""
    return lambda name: int(plane.settled(name)["ProductionVariants"][0]["CurrentInstanceCount"])
