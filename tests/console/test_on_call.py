"""An on-call user's way from an alarm's link to a rollback, on a deployed endpoint with its real loop."""

import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aws_cdk as cdk
import boto3
import numpy as np
import pytest
from aws_cdk import aws_sns_subscriptions as subscriptions
from aws_cdk import aws_sqs as sqs
from playwright.sync_api import Page, expect
from tests.console.conftest import Visit, console
from tests.examples.test_first_endpoint import Endpoint

from mlops_constructs import BusinessUnit, DriftAlarms, ModelEndpoint, ModelMonitor
from mlops_local import cloud as local_cloud
from mlops_runtime.cloud_connection import CloudConnection, embedded_options
from mlops_runtime.console.api import ConsoleApi
from mlops_runtime.console.http_message import HttpRequest
from mlops_runtime.contracts import canonical_json
from mlops_runtime.contracts.rollout import Outcome
from mlops_runtime.layers import layer_wheels
from mlops_runtime.monitor.counting.baseline import fit_baseline
from mlops_runtime.monitor.spec import MonitorSpec

pytestmark = pytest.mark.cloud

Open = Callable[..., Visit]
MODEL = "/units/pilot/endpoints/pilot-first"
MOST_CLICKS, MOST_SECONDS = 3, 60  # from the alarm's link to the request, without the user's reading time
SPEC = MonitorSpec(minimum_rows=100, alarm_windows=1, of_windows=1)


def free_port() -> int:
    """Return a free port for the console: messages contain its address before it runs."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture(scope="module")
def port() -> int:
    """The console's future port."""
    return free_port()


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory, port: int) -> Iterator[Endpoint]:
    """Version 1 doubles, version 2 triples and serves; its monitor found drift of ``x`` in a day's captures, and reported it."""

    def watch(stack: cdk.Stack, unit: BusinessUnit, served: ModelEndpoint) -> dict[str, str]:
        day = cdk.Duration.days(1)
        monitor = ModelMonitor(stack, "Monitor", endpoint=served, window=day, interval=day, spec=SPEC)
        DriftAlarms(stack, "Alarms", monitor=monitor, console_url=f"http://127.0.0.1:{port}")
        people = sqs.Queue(stack, "OnCall")
        unit.topic.add_subscription(subscriptions.SqsSubscription(people, raw_message_delivery=True))
        return {"People": people.queue_url}

    folder = tmp_path_factory.mktemp("on_call")
    cloud = local_cloud.up(folder / "cloud", clock_scale=120.0)
    try:
        # the monitor runs at 6 a.m.: at any time of day a later jump of 25 hours must pass that hour once
        cloud.clock_jump(to=datetime.now(UTC).replace(hour=8) + timedelta(days=1))
        with pytest.MonkeyPatch.context() as patch:
            # in place of the wheels that ``mlops assets build`` fetches: constructs only copy them
            patch.setattr(layer_wheels, "ASSETS", folder / "assets")
            (layer_wheels.layer_folder("monitor", architecture="x86_64") / "python").mkdir(parents=True)
            deployed = Endpoint(cloud, folder, watch)
        deployed.approve(2.0, baseline=baseline(2.0))
        with watched(deployed, folder):
            deployed.approve(3.0, baseline=baseline(3.0))
        drift(deployed)
        yield deployed
    finally:
        cloud.down(forget=True)


@contextmanager
def watched(deployed: Endpoint, folder: Path) -> Iterator[None]:
    """Read the model's page repeatedly in the meantime, like an open tab, and store the latencies of both fleets."""
    options = embedded_options(deployed.cloud.home)
    assert options is not None
    api, is_over = ConsoleApi(lambda _: CloudConnection(session=boto3.Session(), options=options)), threading.Event()
    seen: dict[str, float] = {}

    def look() -> None:
        while not is_over.wait(0.5):
            page = json.loads(api.answer(HttpRequest(method="GET", path=f"/api/v1{MODEL}")).body)
            seen.update({each["fleet"]: each["p99_ms"] for each in page.get("latencies", [])})

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield
    finally:
        is_over.set()
        looking.join()
        (folder / "latencies.json").write_text(json.dumps(seen))


def baseline(factor: float) -> bytes:
    """The training data's distribution: ``x`` about 2."""
    x = np.random.default_rng(1).normal(2.0, 0.5, 4000).astype(np.float32)
    fitted = fit_baseline(
        {"x": x},
        types={"x": "number"},
        training_set_id="s3://none/training_set_id",
        created="2017-07-01T00:00:00Z",
        prediction=factor * x,
    )
    return canonical_json(fitted)


def drift(deployed: Endpoint) -> None:
    """Call the model with values twice as large, until the day's monitor has run."""
    loop = deployed.loop
    loop.wait_idle("DeployMachineArn")
    known = len(loop.report_keys())
    x = np.random.default_rng(2).normal(4.0, 0.5, 600)
    loop.invoke([{"x": float(each)} for each in x], "drift")
    loop.wait_counted()
    deployed.cloud.clock_jump(by=timedelta(days=1, hours=1))
    loop.wait_report(known)


def message(deployed: Endpoint) -> list[str]:
    """Return the lines of the notification of the report."""
    queue, until = deployed.cloud.client("sqs"), time.monotonic() + 60
    while time.monotonic() < until:
        found = queue.receive_message(
            QueueUrl=deployed.loop.outputs["People"], MaxNumberOfMessages=10, WaitTimeSeconds=5
        )
        for each in found.get("Messages", []):
            if "Report:" in each["Body"] and "x (" in each["Body"]:
                return [line.strip('"') for line in str(each["Body"]).splitlines()]
    raise AssertionError("nobody was told")


@pytest.fixture(scope="module")
def address(endpoint: Endpoint, port: int) -> Iterator[str]:
    """Address of its console."""
    with console(endpoint.cloud.home, endpoint.folder, "--port", str(port)) as opened:
        yield opened


def ask_for_rollback(page: Page, reason: str) -> None:
    """Two clicks and a reason."""
    page.get_by_role("button", name="Roll back", exact=True).click()
    expect(page.get_by_role("dialog")).to_contain_text("version 1 will replace version 2")
    expect(page.get_by_role("dialog")).to_contain_text(
        re.compile(r"It served from \d.* until \d.*: PROMOTED\. .*(No monitor window|Last monitor report)")
    )
    expect(page.get_by_label("Reason")).to_be_focused()
    page.keyboard.type(reason)
    page.get_by_role("button", name="Roll back now").click()


def test_cause_and_rollback_in_three_clicks(visit: Open, address: str, endpoint: Endpoint) -> None:
    """The message's link is the first; a colleague's outdated page changes nothing."""
    colleague, tab = visit(address), visit(address, width=390)
    stale = colleague.open(MODEL)
    stale.route(
        "**/api/v1/units/**", lambda route: route.abort() if route.request.method == "GET" else route.continue_()
    )
    reported, *_, console_line = message(endpoint)
    tab.page.add_init_script("window.clicks = 0; addEventListener('click', () => { window.clicks += 1; }, true)")
    page = tab.open("/")  # signed in before the alarm
    began = time.monotonic()
    page.goto(console_line.removeprefix("Console: "))
    expect(page.locator("#cause")).to_have_text(reported)
    expect(page.locator("#serves")).to_have_text("version 2 serves")
    ask_for_rollback(page, "returns went up\nsince noon")
    page.get_by_text("Rolling back").first.wait_for()
    assert time.monotonic() - began < MOST_SECONDS
    assert 1 + page.evaluate("window.clicks") <= MOST_CLICKS

    expect(page.locator("#serves")).to_have_text("version 1 serves", timeout=180_000)
    expect(page.locator("#rollback")).to_contain_text(re.compile("live: "), timeout=60_000)
    assert endpoint.ask() == 4.0
    *before, record = endpoint.loop.audit()
    assert "a person looked at it" in next(each.reason for each in before if each.outcome is Outcome.PROMOTED)
    assert (record.outcome, "returns went up" in record.reason) == (Outcome.PROMOTED, True)

    ask_for_rollback(stale, "I saw it too")
    expect(stale.get_by_role("alert").first).to_contain_text("Nothing was changed, since this page is out of date")
    assert len(endpoint.loop.audit()) == record.sequence
    colleague.expected.append("Failed to load resource")  # the browser reports the interrupted and rejected requests


def test_a_rollout_says_how_long_answers_of_both_fleets_take(endpoint: Endpoint) -> None:
    """While it ran; a model that multiplies takes some milliseconds, never zero."""
    seen = json.loads((endpoint.folder / "latencies.json").read_text())

    assert sorted(seen) == ["new", "old"]
    assert all(0 < each < 5000 for each in seen.values())


def test_a_pause_is_seen_at_once_and_ended(visit: Open, address: str, endpoint: Endpoint, tmp_path: Path) -> None:
    """The page of every model shows it in words."""
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
