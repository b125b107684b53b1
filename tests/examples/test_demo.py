"""The demo as a user starts it: the whole loop on real transactions."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from examples.retail import demo as retail_demo
from examples.retail.steps import CLOCK_SCALE, Trip
from playwright.sync_api import sync_playwright
from tests.console.conftest import console
from tests.console.pictures import IMAGES, PICTURES, write_down
from tests.examples.started_demo import ROOT, started_demo

from mlops_local import cloud as local_cloud


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[subprocess.CompletedProcess[str], Path]]:
    """Run the demo once and return its output and page; kept files are beside the page, in ``.mlops/demo``."""
    with started_demo(tmp_path_factory.mktemp("demo")) as started:
        yield started.ended, started.page


@pytest.fixture
def short_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    """A demo that starts its cloud and then does nothing."""
    monkeypatch.setattr(Trip, "deploy", _nothing)
    monkeypatch.setattr(Trip, "ingest", _nothing)
    replay, _ = retail_demo.UNITS["demand_forecasting"]
    units = {"demand_forecasting": (replay, _nothing), "interrupted": (replay, _interrupt)}
    monkeypatch.setattr(retail_demo, "UNITS", units)


def _nothing(*_: object) -> None:
    pass


def _interrupt(trip: Trip) -> None:
    raise KeyboardInterrupt


def test_a_kept_cloud_runs_on_and_is_looked_at_by_the_commands_that_are_said(short_demo: None, tmp_path: Path) -> None:
    """The last of the printed commands stops it; an interrupted demo leaves nothing running, whatever the options."""
    home, reported = tmp_path / "kept", []

    retail_demo.run(page=tmp_path / "page.html", echo=reported.append, keep=home)

    try:
        assert local_cloud.connect(home).clock()["scale"] == CLOCK_SCALE
        (look,) = [line.removeprefix("look: ") for line in reported if line.startswith("look: ")]
        command = shlex.split(look.partition(";")[0])[1:]
        subprocess.run([sys.executable, "-m", "mlops_cli", *command], cwd=ROOT, check=True)
    finally:
        (end,) = [line.removeprefix("end:  ") for line in reported if line.startswith("end:  ")]
        subprocess.run([sys.executable, "-m", "mlops_cli", *shlex.split(end)[1:]], cwd=ROOT, check=True)

    with pytest.raises(KeyboardInterrupt):
        retail_demo.run(page=tmp_path / "page.html", echo=reported.append, unit="interrupted", keep=home)
    with pytest.raises(local_cloud.CloudError):
        local_cloud.connect(home)


@pytest.mark.demo
def test_every_step_does_what_it_should(demo: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    """The loop closes: trained, promoted, drifted, retrained, promoted by canary, a bad model refused, another rolled back."""
    result = json.loads(demo[0].stdout)

    assert [step["detail"] for step in result["steps"] if not step["ok"]] == []
    assert result["ok"] is True
    assert demo[0].returncode == 0
    assert set(result) == {"ok", "seconds", "platform_seconds", "steps"}
    assert 0 < result["platform_seconds"] < result["seconds"]
    assert result["steps"][-1]["detail"].startswith("UNCHANGED -> PROMOTED -> PROMOTED -> REFUSED -> ROLLED_BACK")


@pytest.mark.demo
def test_the_page_needs_nothing_from_elsewhere(demo: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    """The page contains its plots, and links only to its reports and records."""
    page = demo[1].read_text()
    links = re.findall(r'(?:src|href)="(?!#|data:)([^"]*)"', page)

    assert page.count("<svg") == 4
    assert {link.partition("/")[0] for link in links} == {f"{demo[1].stem}.files"}
    assert {"report-37.html", "record-1.json"} < {link.partition("/")[2] for link in links}
    assert [link for link in links if not (demo[1].parent / link).is_file()] == []


@pytest.mark.demo
def test_the_page_opens_in_a_browser(demo: tuple[subprocess.CompletedProcess[str], Path], tmp_path: Path) -> None:
    """Chromium renders it without a network."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not installed; apt-get install chromium")
    flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    flags += (
        f" --disable-component-update --disable-sync --user-data-dir={tmp_path / 'profile'} --virtual-time-budget=2000"
    )

    shown = subprocess.run(
        [chromium, *flags.split(), "--dump-dom", demo[1].as_uri()], capture_output=True, text=True, check=True
    )

    assert "Every step did what it should." in shown.stdout
    assert "Traffic by model version" in shown.stdout


@pytest.mark.demo
def test_the_console_of_the_kept_demo_is_what_pictures_show(
    demo: tuple[subprocess.CompletedProcess[str], Path], tmp_path: Path
) -> None:
    """Each is a screenshot of the real page; ``MLOPS_UPDATE_PICTURES=1`` writes them into the documentation."""
    chromium, is_kept = shutil.which("chromium"), os.environ.get("MLOPS_UPDATE_PICTURES") == "1"
    if chromium is None:
        pytest.skip("chromium is not installed; apt-get install chromium")
    folder = IMAGES if is_kept else tmp_path
    home = demo[1].parent / ".mlops" / "demo"
    with console(home, tmp_path) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for each in PICTURES:
            size = {"width": 1180 if each.path else 1100, "height": 900}
            page = browser.new_page(color_scheme="light", viewport=size, reduced_motion="reduce")
            page.goto(f"{address}&to={each.path}" if each.path else demo[1].as_uri())
            page.get_by_role("heading", level=1).wait_for()
            page.locator("body:not(:has([role=status]:text-matches('^Reading')))").wait_for()
            page.screenshot(path=folder / each.file.name, animations="disabled")
            page.close()
        browser.close()
    if is_kept:
        write_down()

    for each in PICTURES:
        content = (folder / each.file.name).read_bytes()
        assert (content[:8], len(content) > 20_000) == (b"\x89PNG\r\n\x1a\n", True)
