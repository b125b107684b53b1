"""The function that applies manifests in its own role, or as administrator during the call."""

import json
from types import ModuleType
from typing import Any

import pytest
from tests.loaded_module import load_handler

EVENT = {
    "RequestType": "Create",
    "RequestId": "r1",
    "LogicalResourceId": "Place",
    "ResourceProperties": {"ClusterName": "retail", "Name": "demand", "Manifests": "[]", "Owned": "[]"},
}
ADMIN = {
    "PRINCIPAL_ARN": "arn:aws:iam::123456789012:role/bootstrap",
    "ADMIN_POLICY_ARN": "arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy",
    "AUDIT_BUCKET": "audit",
}


class Context:
    """Lambda's context argument."""

    def __init__(self, milliseconds: int) -> None:
        self.milliseconds = milliseconds

    def get_remaining_time_in_millis(self) -> int:
        """Return the milliseconds until the timeout."""
        return self.milliseconds


def _load(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> ModuleType:
    for name in ADMIN:
        monkeypatch.delenv(name, raising=False)
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}  # Lambda provides the role's credentials
    for name, value in {"AWS_DEFAULT_REGION": "us-east-1", **keys, **environment}.items():
        monkeypatch.setenv(name, value)
    module = load_handler("eks_manifests")
    return module


@pytest.mark.parametrize(("environment", "is_admin"), [({}, False), (ADMIN, True)])
def test_the_environment_says_as_whom(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], is_admin: bool
) -> None:
    """Without the policy's ARN the function cannot become administrator."""
    module = _load(monkeypatch, environment)
    assert (module.ADMIN is not None) is is_admin


@pytest.mark.parametrize(("milliseconds", "has_time"), [(600_000, True), (59_999, False)])
def test_a_minute_is_kept_for_the_end(monkeypatch: pytest.MonkeyPatch, milliseconds: int, has_time: bool) -> None:
    """The administrator's access must be removed before the timeout."""
    module = _load(monkeypatch, {})
    requests: list[Any] = []

    class Resource:
        def handle(self, event: Any, answer: Any, *, has_time: Any) -> None:
            requests.extend([event, answer, has_time()])

    monkeypatch.setattr(module, "RESOURCE", Resource())
    module.handler(EVENT, Context(milliseconds))
    assert requests == [EVENT, module.answer, has_time]


def test_what_cannot_be_reached_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """CloudFormation gets the response immediately instead of after an hour."""
    module, received = _load(monkeypatch, {}), list[dict[str, Any]]()
    monkeypatch.setattr(module, "answer", lambda _, **answer: received.append(answer))

    class Nobody:
        def client(self, name: str) -> Any:
            raise ConnectionError(f"no {name}")

    monkeypatch.setattr(module, "SESSION", Nobody())
    module.handler(json.loads(json.dumps(EVENT)), Context(600_000))
    assert received == [{"physical_id": "Place/not-created", "data": {}, "failure": "ConnectionError: no eks"}]
