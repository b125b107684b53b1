"""A person's decision on a package, based on the displayed page."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from tests.cli.deployed_unit import DeployedUnit
from tests.cli.model_registry import PackageGroup, Registry

from mlops_local import cloud
from mlops_runtime.cloud_connection import CloudConnection, embedded_options
from mlops_runtime.console.api import ConsoleApi
from mlops_runtime.console.http_message import HttpRequest
from mlops_runtime.console.route import Role
from mlops_runtime.console.taken_role import take_role
from mlops_runtime.registry.package_approval import bound_by

Ask = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """One embedded cloud for these tests."""
    running = cloud.up(tmp_path_factory.mktemp("console") / "cloud")
    try:
        yield Registry(running)
    finally:
        running.down(forget=True)


def asking(registry: Registry, *roles: Role, approver: str | None = None) -> Ask:
    """Return what asks the API in some roles: as root, or approvers in a role of their own."""
    options = embedded_options(registry.home)
    assert options is not None
    connection = CloudConnection(session=boto3.Session(), options=options)
    taken = connection if approver is None else take_role(connection, approver, session="ann")
    api = ConsoleApi(lambda role: taken if role is Role.APPROVER else connection, roles=roles or tuple(Role))

    def ask(method: str, path: str, body: object = None, key: str = "") -> tuple[int, dict[str, Any]]:
        headers = {"content-type": "application/json", "idempotency-key": key}
        content = b"" if body is None else json.dumps(body).encode()
        found = api.answer(HttpRequest(method=method, path=f"/api/v1{path}", headers=headers, body=content))
        return found.status, json.loads(found.body)

    return ask


def seen(page: dict[str, Any]) -> dict[str, str]:
    """What a person saw of a package."""
    return {"approval": page["review"]["approval"], "binding": page["review"]["binding"]}


def test_a_package_is_approved_as_it_was_shown(registry: Registry) -> None:
    """In the approvers' role, bound to its content; a lost answer is asked for again without a second approval."""
    package, ask = registry.register("good"), asking(registry)
    _, waiting = ask("GET", "/approvals")
    _, page = ask("GET", f"/packages/{package}")
    body = {"reason": "better in all stores", "expect": seen(page)}

    status, decided = ask("POST", f"/packages/{package}/approval", body, "key-of-ann")
    other, repeated = asking(registry)("POST", f"/packages/{package}/approval", body, "key-of-ann")
    stale, problem = ask("POST", f"/packages/{package}/rejection", {**body, "reason": "worse"}, "key-of-ben")

    assert package in [each["package"] for each in waiting["waiting"]]
    assert (page["can_approve"], page["metrics"], page["gate"]["verdict"]) == (
        True,
        {"candidate": 0.31, "champion": 0.33},
        "PASSED",
    )
    assert (status, decided["changed"]) == (200, True)
    assert decided["identity"].startswith("arn:aws:sts::000000000000:assumed-role/Approver/")
    assert (other, repeated["changed"]) == (200, False)
    assert (stale, "has changed since it was displayed: it is Approved by root" in problem["detail"]) == (409, True)
    description = registry.describe(package)
    assert bound_by(description) == description["CustomerMetadataProperties"]["container_sha256"]


def test_what_forbids_an_approval_is_named_whole(registry: Registry) -> None:
    """The button is not offered, and the request is refused."""
    package, ask = registry.register("astray", artifact="elsewhere/model.tar.gz"), asking(registry)
    _, page = ask("GET", f"/packages/{package}")
    body = {"reason": "better", "expect": seen(page)}

    status, problem = ask("POST", f"/packages/{package}/approval", body, "key-of-ann")

    assert page["can_approve"] is False
    assert (status, problem["problems"]) == (409, page["review"]["problems"])
    assert registry.describe(package)["ModelApprovalStatus"] == "PendingManualApproval"


def test_a_role_without_the_right_is_refused(registry: Registry) -> None:
    """On call may not approve, and is not offered to."""
    package, ask = registry.register("kept"), asking(registry, Role.READER, Role.ON_CALL)
    _, me = ask("GET", "/me")
    _, page = ask("GET", f"/packages/{package}")

    status, problem = ask(
        "POST", f"/packages/{package}/approval", {"reason": "better", "expect": seen(page)}, "key-of-ann"
    )

    assert ("approve" in me["operations"], "rollBack" in me["operations"]) == (False, True)
    assert (status, problem["detail"]) == (
        403,
        "approve requires the role approver; this console has reader, on-call",
    )


def test_an_approver_decides_on_what_a_reader_reads(registry: Registry) -> None:
    """The approvers' role may set the status of a package alone: it reads neither the rule nor the evaluation."""
    package, ask = registry.register("read"), asking(registry, approver="arn:aws:iam::000000000000:role/Approver")
    _, page = ask("GET", f"/packages/{package}")
    body = {"reason": "better", "expect": seen(page)}
    status, decided = ask("POST", f"/packages/{package}/approval", body, "key-of-ann")

    assert (status, decided["identity"]) == (200, "arn:aws:sts::000000000000:assumed-role/Approver/ann")


def test_what_a_pickle_names_is_shown(registry: Registry) -> None:
    """As the command prints it; null of what is data."""
    ask = asking(registry)
    pickled = registry.register("pickled", flavor="sklearn", trust="pickle", pickled=("numpy.ndarray", "os.system"))
    _, page = ask("GET", f"/packages/{pickled}")
    _, data = ask("GET", f"/packages/{registry.register('data')}")

    assert (page["pickled"], data["pickled"]) == (["numpy.ndarray", "os.system"], None)


@pytest.mark.parametrize(("archive", "is_same"), [("a" * 64, True), ("e" * 64, False)])
def test_a_package_says_whether_its_archive_serves(
    ask: Ask, unit: DeployedUnit, archive: str, *, is_same: bool
) -> None:
    """By the live pointer of each endpoint of its group."""
    package = PackageGroup(unit.cloud, unit.endpoint, f"{unit.name}-models").register("alarm-1")
    _, before = ask("GET", f"/packages/{package}")
    unit.serve(2, artifact_sha256=archive, model_package_arn=f"{before['review']['arn']}1")
    _, page = ask("GET", f"/packages/{package}")

    assert [each["is_same"] for each in before["endpoints"]] == [False]
    assert page["endpoints"] == [{"unit": unit.name, "endpoint": unit.endpoint, "is_same": is_same}]


def test_a_package_that_serves_is_not_warned_of_itself(ask: Ask, unit: DeployedUnit) -> None:
    """Its archive serves in itself, not in another package."""
    package = PackageGroup(unit.cloud, unit.endpoint, f"{unit.name}-models").register("alarm-1")
    _, before = ask("GET", f"/packages/{package}")
    unit.serve(2, artifact_sha256="a" * 64, model_package_arn=before["review"]["arn"])
    _, page = ask("GET", f"/packages/{package}")

    assert [each["is_same"] for each in page["endpoints"]] == [False]


def test_a_package_that_is_not_there_is_named(registry: Registry) -> None:
    """With what lists them."""
    status, problem = asking(registry)("GET", "/packages/demand-forecast/999")

    assert (status, "mlops models list" in problem["detail"]) == (404, True)
