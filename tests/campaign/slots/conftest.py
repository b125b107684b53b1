"""A world of one service in two slots, with the real functions of its machine."""

import importlib.util
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from tests.campaign.account import ENDPOINT
from tests.campaign.slots.account import Slots
from tests.campaign.slots.world import EKS, SPEC, SlotDeploy

from mlops_runtime.contracts.rollout import ServingSpec
from mlops_runtime.eks.cluster_client import Cluster

ENVIRONMENT = {
    "ENDPOINT": ENDPOINT,
    "TARGET": "EKS",
    "CLUSTER": EKS.cluster,
    "NAMESPACE": EKS.namespace,
    "RULE": EKS.rule,
    "TARGET_GROUPS": json.dumps(EKS.target_groups),
}
LAMBDAS = Path(__file__).resolve().parents[3] / "lambdas"


class _Session:
    def __init__(self, current: Any) -> None:
        self.client = current.client


class _LateCluster:
    """The cluster of whichever account a handler meets."""

    def __init__(self, current: Any) -> None:
        self._current = current

    def __getattr__(self, name: str) -> Any:
        return getattr(self._current.account, name)


@pytest.fixture(scope="module")
def slot_handlers(current: Any) -> Iterator[dict[str, Callable[[dict[str, Any], object], Any]]]:
    """The real handlers of the functions, as constructs tell them that a cluster serves."""
    with pytest.MonkeyPatch.context() as patch:
        # a handler connects whenever it is asked
        patch.setattr(Cluster, "connect", lambda *_: _LateCluster(current))
        with patch.context() as loading:
            loading.setattr(boto3, "client", current.client)
            loading.setattr(boto3, "Session", lambda: _Session(current))
            for name, value in ENVIRONMENT.items():
                loading.setenv(name, value)
            handlers = {name: _load(folder).handler for name, folder in SlotDeploy.FUNCTIONS.items()}
        yield handlers


@pytest.fixture
def slots(current: Any, slot_handlers: Any) -> Callable[..., SlotDeploy]:
    """Make a world in which one service serves, with changes of the account: ``slots(rings="-dead")``."""

    def make(spec: ServingSpec = SPEC, **account: Any) -> SlotDeploy:
        current.account = Slots(functions=dict(slot_handlers), **account)
        return SlotDeploy(current.account, spec)

    return make


def _load(folder: str) -> Any:
    spec = importlib.util.spec_from_file_location(f"slots_{folder}", LAMBDAS / folder / "handler.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
