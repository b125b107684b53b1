"""The real functions of a machine between slots, loaded once, against the account of the latest world."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from tests.campaign.account import ENDPOINT
from tests.campaign.functions import Current
from tests.campaign.slots.account import URLS, Slots
from tests.campaign.slots.world import EKS, SPEC, SlotDeploy
from tests.loaded_module import load_handler

from mlops_runtime.contracts.rollout import ServingSpec
from mlops_runtime.eks.cluster_client import Cluster
from mlops_runtime.eks.slot_caller import HttpSession

ENVIRONMENT = {
    "ENDPOINT": ENDPOINT,
    "TARGET": "EKS",
    "CLUSTER": EKS.cluster,
    "NAMESPACE": EKS.namespace,
    "RULE": EKS.rule,
    "TARGET_GROUPS": json.dumps(EKS.target_groups),
    "SLOT_URLS": json.dumps(URLS),
}
LAMBDAS = Path(__file__).resolve().parents[3] / "lambdas"
Handlers = Mapping[str, Callable[[dict[str, Any], object], Any]]


class _Session:
    def __init__(self, current: Current) -> None:
        self.client = current.client


class _LateCluster:
    """The cluster of the current account."""

    def __init__(self, current: Current) -> None:
        self._current = current

    def __getattr__(self, name: str) -> Any:
        return getattr(self._current.account, name)


@contextmanager
def slot_functions(current: Current) -> Iterator[Handlers]:
    """The real handlers of the functions in a cluster's environment."""

    def post(_: HttpSession, url: str, body: bytes, headers: Mapping[str, str]) -> AWSResponse:
        del body, headers
        account = current.account
        assert isinstance(account, Slots)
        return account.post(url)

    with pytest.MonkeyPatch.context() as patch:
        # a handler connects on every call
        patch.setattr(Cluster, "connect", lambda *_: _LateCluster(current))
        patch.setattr(HttpSession, "__call__", post)
        with patch.context() as loading:
            loading.setattr(boto3, "client", current.client)
            loading.setattr(boto3, "Session", lambda: _Session(current))
            for name, value in ENVIRONMENT.items():
                loading.setenv(name, value)
            handlers = {name: load_handler(folder).handler for name, folder in SlotDeploy.FUNCTIONS.items()}
        yield handlers


def slot_maker(current: Current, handlers: Handlers) -> Callable[..., SlotDeploy]:
    """Return a factory of worlds with one serving service, with arguments for the account: ``make(fires="-dead")``."""

    def make(spec: ServingSpec = SPEC, **changes: Any) -> SlotDeploy:
        of_world = {name: changes.pop(name) for name in ("asks", "meets", "follows") if name in changes}
        account = Slots(functions=dict(handlers), **changes)
        current.account = account
        return SlotDeploy(account, spec, **of_world)

    return make
