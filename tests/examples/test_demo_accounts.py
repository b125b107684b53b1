"""The demo over accounts, as a user starts it: each of its claims, verified in the accounts that it leaves running."""

from __future__ import annotations

import json
import re
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from examples.retail import demo_accounts
from examples.retail.accounts_trip import GROUP, AccountsTrip
from examples.retail.demand_forecasting.accounts_stack import BUILD, ENVIRONMENTS, PRODUCTION, STAGING
from playwright.sync_api import sync_playwright
from tests.called_command import call_command
from tests.examples.started_demo import started_demo

from mlops_local import cloud as local_cloud
from mlops_local.accounts import profile
from mlops_runtime.registry.package_approval import person_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.examples.started_demo import StartedDemo

    from mlops_constructs import Environment

whole = pytest.mark.demo


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartedDemo]:
    """Run it once; its embedded cloud runs until the last test."""
    with started_demo(tmp_path_factory.mktemp("accounts"), "--accounts") as started:
        yield started


def result(demo: StartedDemo) -> dict[str, Any]:
    """Return its output."""
    return dict(json.loads(demo.ended.stdout))


def mlops(demo: StartedDemo, environment: Environment, *arguments: str) -> Any:
    """Return the command's output for an account."""
    command = (*arguments, "--json", "--profile", profile(environment.account))
    ended = call_command(*command, MLOPS_LOCAL_HOME=str(demo.home))
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def records(demo: StartedDemo, environment: Environment, chain: str, outcome: str) -> list[dict[str, Any]]:
    """Return an account's audit records with an outcome."""
    shown = mlops(demo, environment, "audit", "show", chain)["records"]
    return [each for each in shown if each["outcome"] == outcome]


@whole
def test_every_step_does_what_it_should(demo: StartedDemo) -> None:
    """The exit code reports failed steps."""
    found = result(demo)

    assert [step["detail"] for step in found["steps"] if not step["ok"]] == []
    assert (found["ok"], demo.ended.returncode) == (True, 0)
    assert [each["name"] for each in found["accounts"]] == ["build", "staging", "production"]


@whole
def test_one_model_is_trained_in_build_and_approved_twice_by_other_people(demo: StartedDemo) -> None:
    """By ann in build, by policy in staging, by ben in production; each version has the bytes of build's."""
    released = mlops(demo, BUILD, "promotions", GROUP)["releases"]
    staged = records(demo, STAGING, f"{GROUP}.promotions", "REGISTERED")
    produced = records(demo, PRODUCTION, f"{GROUP}.promotions", "REGISTERED")
    models = [each["model_sha256"] for each in reversed(released)]
    clients = {each.name: local_cloud.connect(demo.home).at(each.account, each.region).client for each in ENVIRONMENTS}

    assert len(set(models)) == 2
    assert models == [each["model_sha256"] for each in staged] == [each["model_sha256"] for each in produced]
    assert {person_of(each["approved_by"]) for each in released} == {"ann"}
    deployed = {each["who"] for each in records(demo, PRODUCTION, GROUP, "PROMOTED")[:2]}
    assert deployed == {"ben"}
    approvals = [
        clients["staging"]("sagemaker").describe_model_package(ModelPackageName=each["candidate_package"])
        for each in staged
    ]
    assert all("approved by policy" in each["ApprovalDescription"] for each in approvals)
    jobs = {name: client("sagemaker").list_training_jobs()["TrainingJobSummaries"] for name, client in clients.items()}
    assert {name: len(found) for name, found in jobs.items()} == {"build": 2, "staging": 0, "production": 0}


@whole
def test_the_champion_of_build_is_what_production_serves(demo: StartedDemo) -> None:
    """Build has no endpoint: its second candidate is compared with production's archive."""
    build = local_cloud.connect(demo.home).at(BUILD.account, BUILD.region).client
    first, second = (
        build("sagemaker").describe_model_package(
            ModelPackageName=BUILD.linked.arn("sagemaker", f"model-package/{GROUP}/{n}")
        )
        for n in (1, 2)
    )
    bucket, _, key = second["CustomerMetadataProperties"]["evaluation_uri"].removeprefix("s3://").partition("/")
    evaluation = json.loads(build("s3").get_object(Bucket=bucket, Key=key)["Body"].read())

    assert build("sagemaker").list_endpoints()["Endpoints"] == []
    assert evaluation["champion_sha256"] == first["CustomerMetadataProperties"]["artifact_sha256"]
    assert "champion" in evaluation["metrics"]
    assert result(demo)["accounts"][0]["state"] == "released"


@whole
def test_the_second_model_came_by_canary_and_its_alarm_took_it_back(demo: StartedDemo) -> None:
    """Fleets were compared in both accounts; only production rolled back, by an alarm without a person."""
    by_canary = [records(demo, each, GROUP, "PROMOTED")[1] for each in (STAGING, PRODUCTION)]
    back = records(demo, PRODUCTION, GROUP, "PROMOTED")[-1]
    first, second = (each["model_sha256"] for each in records(demo, PRODUCTION, GROUP, "PROMOTED")[:2])

    assert all(each["verdict"]["calls"] > 0 and each["verdict"]["action"] != "stop" for each in by_canary)
    assert back["reason"].endswith(f"{GROUP}-probation-errors is in ALARM during probation")
    serves = {each["name"]: each["digest"] for each in result(demo)["accounts"]}
    assert (serves["staging"], serves["production"]) == (second, first)


@whole
def test_staging_and_build_know_what_production_serves(demo: StartedDemo) -> None:
    """Each names its own version, as reported; and all three chains are valid."""
    first, second = (f"{GROUP}/{number}" for number in (1, 2))
    for environment in (BUILD, STAGING):
        known = {each["name"]: each for each in mlops(demo, environment, "promotions", GROUP)["targets"]}
        production = known["production"]
        assert production["serves"]["released_as"] == first
        assert [each["released_as"] for each in production["rolled_back"]] == [second]
    assert mlops(demo, BUILD, "promotions", GROUP)["targets"][0]["serves"]["released_as"] == second
    sources = [part for each in (STAGING, BUILD) for part in ("--source-profile", profile(each.account))]
    followed = mlops(demo, PRODUCTION, "audit", "verify", f"{GROUP}.promotions", "--follow", *sources)
    assert (followed["is_whole"], [each["name"] for each in followed["sources"]]) == (True, ["staging", "build"])


@whole
def test_the_page_opens_on_a_phone_in_the_dark(demo: StartedDemo) -> None:
    """Chromium renders it without a request, and nothing is wider than the phone."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not installed; apt-get install chromium")
    assert re.findall(r'(?:src|href)="(?!#|data:)([^"]*)"', demo.page.read_text()) == []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(color_scheme="dark", viewport={"width": 360, "height": 800})
        page.goto(demo.page.as_uri())
        assert page.get_by_role("status").inner_text() == "Every account did what it should."
        assert page.evaluate("document.documentElement.scrollWidth") == 360
        assert page.get_by_role("heading", level=3).all_inner_texts() == ["build", "staging", "production"]
        assert page.get_by_text("rolled back", exact=True).count() == 1
        browser.close()


@pytest.mark.cloud
def test_who_interrupts_it_leaves_nothing_running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Applies with the option to keep the cloud too."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(AccountsTrip, "deploy_accounts", interrupt)
    with pytest.raises(KeyboardInterrupt):
        demo_accounts.run(page=tmp_path / "page.html", echo=print, keep=tmp_path / "kept")
    with pytest.raises(local_cloud.CloudError):
        local_cloud.connect(tmp_path / "kept")
