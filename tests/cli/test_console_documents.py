"""The command prints everything that the console shows, as JSON and with the same texts, field by field."""

import json
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import boto3
import pytest
from tests.cli.deployed_unit import DONE, DeployedUnit
from tests.cli.model_registry import PackageGroup
from tests.cli.monitored_unit import MonitoredUnit

from mlops_local.cloud import Cloud
from mlops_runtime.cloud_connection import CloudConnection, embedded_options
from mlops_runtime.console.api import ConsoleApi
from mlops_runtime.console.http_message import HttpRequest
from mlops_runtime.console.route_table import ROUTES
from mlops_runtime.contracts.rollout import Outcome
from mlops_runtime.contracts.unit_entries import PipelineEntry

pytestmark = pytest.mark.cloud

Run = Callable[..., subprocess.CompletedProcess[str]]
# results of the test's own actions, and the feature store's, compared with the command in ``test_feature_location.py``
ELSEWHERE = {"followRollback", "followRetraining", "findFeatures", "listUsers"}


@dataclass
class Shop:
    """A unit with monitor results, a pipeline and a pending package; and the console's API for it."""

    unit: DeployedUnit
    package: str
    api: ConsoleApi

    def read(self, path: str) -> Any:
        """Return the document of a page at a path."""
        where, _, query = path.partition("?")
        given = dict([query.split("=")]) if query else {}
        answer = self.api.answer(HttpRequest(method="GET", path=f"/api/v1{where}", query=given))
        assert answer.status == 200, answer.body
        return json.loads(answer.body)

    def path(self, path: str) -> str:
        """Return the path of an operation for this unit."""
        group, _, number = self.package.partition("/")
        names = {"unit": self.unit.name, "endpoint": self.unit.endpoint, "name": self.unit.endpoint, "group": group}
        if "/records/" in path:
            return path.format(number=2, **names)
        return path.format(number=number, **names) + ("?feature=price" if path.endswith("/drift/feature") else "")


@pytest.fixture(scope="module")
def shop(cloud: Cloud) -> Iterator[Shop]:
    """A unit on the shared cloud."""
    unit = MonitoredUnit(DeployedUnit(cloud, "worded")).unit
    unit.serve(2, Outcome.PROMOTED, "better", previous=unit.pointer(1).config, previous_package=unit.package(1))
    unit.publish(
        PipelineEntry(
            pipeline=unit.endpoint,
            unit=unit.name,
            group=unit.endpoint,
            retraining_table=f"{unit.name}-retraining",
            retrain_machine=unit.make_machine("retrain", DONE),
            queue_url="none",
            endpoint=unit.endpoint,
        )
    )
    unit.publish(replace(unit.unit_entry, artifacts_bucket=f"{unit.name}-artifacts", owner="ada", cost_center="7"))
    options = embedded_options(cloud.home)
    assert options is not None
    connection = CloudConnection(session=boto3.Session(), options=options)
    package = PackageGroup(cloud, unit.endpoint, f"{unit.name}-models").register("alarm-1", worse="store=7")
    yield Shop(unit, package, ConsoleApi(lambda _role: connection))


@pytest.fixture
def printed(on_cloud: Run) -> Callable[..., Any]:
    """Return the document of a verb; one with a violation exits with 3."""

    def run(*arguments: str) -> Any:
        result = on_cloud(*arguments, "--json")
        assert result.returncode in (0, 3), result.stderr
        return json.loads(result.stdout)

    return run


def differing(seen: object, reported: object, at: str = "") -> Iterator[str]:
    """Yield the fields of a console document that the command lacks or prints differently."""
    if isinstance(seen, Mapping) and isinstance(reported, Mapping):
        for name, value in seen.items():
            if name not in reported:
                yield f"{at}.{name} is missing"
            else:
                yield from differing(value, reported[name], f"{at}.{name}")
    elif seen != reported:
        yield f"{at}: {seen!r} is {reported!r}"


@pytest.mark.parametrize(
    "path", [each.path for each in ROUTES if each.method == "GET" and each.operation not in ELSEWHERE]
)
def test_every_page_is_read_by_the_command(shop: Shop, printed: Callable[..., Any], path: str) -> None:
    """Each operation of a page is covered; only the time differs."""
    where = shop.path(path)
    seen, reported = shop.read(where), printed("console", "--read", where)

    assert {**seen, "now": None} == {**reported, "now": None}


def test_units_and_models_are_those_of_status(shop: Shop, printed: Callable[..., Any]) -> None:
    """Compares the unit, the endpoint's overview and its pipeline with the outcome of its last run."""
    (reported,) = printed("status", shop.unit.name)["units"]
    unit = shop.read(shop.path("/units/{unit}"))
    model = shop.read(shop.path("/units/{unit}/endpoints/{endpoint}"))
    (endpoint,), (pipeline,) = reported["endpoints"], reported["pipelines"]

    assert (
        list(differing({name: unit[name] for name in ("unit", "owner", "cost_center", "automation")}, reported)) == []
    )
    assert list(differing(model["overview"], endpoint)) == []
    assert list(differing(model["retraining"], pipeline)) == []
    assert (
        list(differing({"state": model["row"]["state"], "summary": model["row"]["summary"]}, endpoint["model"])) == []
    )


def test_packages_are_those_of_models(shop: Shop, printed: Callable[..., Any]) -> None:
    """Compares review, gate, losses, names in a pickle, and notices for approvers."""
    seen, reported = shop.read(f"/packages/{shop.package}"), printed("models", "show", shop.package)
    listed = printed("models", "list", "--group", shop.unit.endpoint)
    parts = {name: seen[name] for name in ("gate", "metric", "metrics", "rows", "pickled", "note")}

    assert list(differing(seen["review"], reported)) == []
    assert list(differing(parts, reported)) == []
    assert [list(differing(seen["review"], each)) for each in listed] == [[]]


def test_windows_are_those_of_monitor(shop: Shop, printed: Callable[..., Any]) -> None:
    """Compares the report, and one feature with its texts, distribution and history."""
    page = shop.path("/units/{unit}/endpoints/{endpoint}/drift")
    seen, feature = shop.read(page), shop.read(f"{page}/feature?feature=price")
    reported = printed("monitor", "explain", shop.unit.endpoint, "price")

    assert list(differing(seen["report"], printed("monitor", "report", shop.unit.endpoint))) == []
    assert list(differing({**feature, "now": None}, {**reported, "now": None})) == []


def test_records_are_those_of_audit(shop: Shop, printed: Callable[..., Any]) -> None:
    """Compares the newest records, one with its evidence, and the result of a verification."""
    name = shop.unit.endpoint
    seen, reported = shop.read(f"/audit/{name}"), printed("audit", "show", name)
    record, whole = shop.read(f"/audit/{name}/records/2"), printed("audit", "show", name, "--sequence", "2")
    verified = shop.read(f"/audit/{name}/verification")
    flat = [{**each["record"], "sha256": each["sha256"], "who": each["who"]} for each in reversed(seen["records"])]

    assert list(differing({**seen, "records": flat, "now": None}, {**reported, "now": None})) == []
    assert (whole["record"], whole["minutes"], whole["computed"]) == (flat[1], record["minutes"], record["computed"])
    assert (whole["unread"] or "") == record["unread"]
    # the page reads a long log in parts, the command all of it
    part = {"now": None, "first": 1, "total": verified["records"], "rest": None}
    assert verified == {**verified, **part, "now": verified["now"]}
    assert list(differing({**verified, "now": None}, {**printed("audit", "verify", name), **part})) == []


def test_a_page_that_is_not_there_is_refused_in_the_same_words(shop: Shop, on_cloud: Run) -> None:
    """The detail of the API's problem is the same text."""
    result = on_cloud("console", "--read", f"/units/{shop.unit.name}/endpoints/other")

    assert (result.returncode, result.stdout) == (1, "")
    assert f"has no endpoint 'other'; it has {shop.unit.endpoint}" in result.stderr
