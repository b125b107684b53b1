"""A person on call, from the first page to the version before serving again, on a deployed endpoint with its real rollout."""

import re
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from tests.console.conftest import Visit, console
from tests.examples.test_first_endpoint import Endpoint

from mlops_local import cloud as local_cloud
from mlops_runtime.contracts import canonical_json
from mlops_runtime.contracts.monitor import MonitorState
from mlops_runtime.contracts.monitor_report import DriftResult, MonitorReport
from mlops_runtime.contracts.rollout import Outcome
from mlops_runtime.monitor.report_keys import REPORT, report_folder

pytestmark = pytest.mark.cloud

Open = Callable[..., Visit]
CAUSE = "drift in this window: price (mean rose from 4 to 9)"
MODEL = "/units/pilot/endpoints/pilot-first"
MOST_SECONDS = 60  # from the first page to the request, a person's reading not counted


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """Version 1 doubles, version 2 triples and serves; the monitor has found the latter to drift."""
    folder = tmp_path_factory.mktemp("on_call")
    cloud = local_cloud.up(folder / "cloud", clock_scale=120.0)
    try:
        deployed = Endpoint(cloud, folder)
        deployed.approve(2.0)
        deployed.approve(3.0)
        report_drift(deployed)
        yield deployed
    finally:
        cloud.down(forget=True)


def report_drift(deployed: Endpoint) -> None:
    """Write the report of a window that has ended since the version serves."""
    loop = deployed.loop
    live = loop.live()
    assert live is not None
    end = datetime.fromisoformat(live.since).replace(minute=0, second=0) + timedelta(hours=1)
    report = MonitorReport(
        endpoint=loop.endpoint,
        variant="AllTraffic",
        window_from=f"{end - timedelta(hours=24):%Y-%m-%dT%H:%M:%SZ}",
        window_until=f"{end:%Y-%m-%dT%H:%M:%SZ}",
        rows=1000,
        baseline_sha256=None,
        model_package_arn=live.model_package_arn,
        drift=DriftResult(state=MonitorState.VIOLATION),
        state=MonitorState.VIOLATION,
        verdict=CAUSE,
    )
    key = f"{report_folder(loop.endpoint, end)}/{REPORT}"
    loop.s3.put_object(Bucket=loop.outputs["ArtifactsBucket"], Key=key, Body=canonical_json(report))
    if loop.now() <= end:
        deployed.cloud.clock_jump(to=end + timedelta(minutes=1))


@pytest.fixture(scope="module")
def address(endpoint: Endpoint) -> Iterator[str]:
    """Its console."""
    with console(endpoint.cloud.home, endpoint.folder) as opened:
        yield opened


def ask_for_rollback(page: Page, reason: str) -> None:
    """Two clicks and a reason."""
    page.get_by_role("button", name="Roll back", exact=True).click()
    expect(page.get_by_role("dialog")).to_contain_text("version 1 will serve in place of version 2")
    expect(page.get_by_role("dialog")).to_contain_text(
        re.compile(r"It served from \d.* until \d.*: PROMOTED\. .*No window of")
    )
    expect(page.get_by_label("Reason")).to_be_focused()
    page.keyboard.type(reason)
    page.get_by_role("button", name="Roll back now").click()


def test_cause_and_rollback_in_three_clicks(visit: Open, address: str, endpoint: Endpoint) -> None:
    """The cause is read after one; a colleague whose page shows what was before changes nothing."""
    colleague, tab = visit(address), visit(address, width=390)
    stale = colleague.open(MODEL)
    stale.route(
        "**/api/v1/units/**", lambda route: route.abort() if route.request.method == "GET" else route.continue_()
    )
    began = time.monotonic()
    page = tab.open("/")
    page.get_by_role("link", name="pilot-first", exact=True).click()
    expect(page.locator("#cause")).to_have_text(CAUSE)
    expect(page.locator("#serves")).to_have_text("version 2 serves")
    ask_for_rollback(page, "returns went up\nsince noon")
    page.get_by_text("Rolling back").first.wait_for()
    assert time.monotonic() - began < MOST_SECONDS

    expect(page.locator("#serves")).to_have_text("version 1 serves", timeout=180_000)
    expect(page.locator("#rollback")).to_contain_text(re.compile("serves"), timeout=60_000)
    assert endpoint.ask() == 4.0
    record = endpoint.loop.audit()[-1]
    assert (record.outcome, "returns went up" in record.reason) == (Outcome.PROMOTED, True)

    ask_for_rollback(stale, "I saw it too")
    expect(stale.get_by_role("alert").first).to_contain_text("Nothing was changed, since this page is out of date")
    assert len(endpoint.loop.audit()) == record.sequence
    colleague.complaints.clear()  # the browser names the answers that were cut off and refused


def test_a_pause_is_seen_at_once_and_ended(visit: Open, address: str, endpoint: Endpoint, tmp_path: Path) -> None:
    """The page of every model says so, in words."""
    tab = visit(address)
    page = tab.open(MODEL)
    page.get_by_role("button", name="Pause automation").click()
    expect(page.get_by_label("Reason")).to_be_focused()
    page.keyboard.type("stocktaking")
    page.get_by_role("button", name="Pause now").click()
    expect(page.get_by_text("paused since")).to_be_visible()
    page.get_by_role("link", name="Models").first.click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Models")
    expect(page.get_by_text("stocktaking")).to_be_visible()
    page.go_back()
    page.get_by_role("button", name="Resume automation").click()
    expect(page.get_by_label("Reason")).to_be_focused()
    page.keyboard.type("counted")
    page.get_by_role("button", name="Resume now").click()

    expect(page.get_by_role("button", name="Pause automation")).to_be_visible()
