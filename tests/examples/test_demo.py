"""The main job: the whole loop on real transactions, as a user starts it."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from examples.retail import demo as retail_demo
from examples.retail.steps import CLOCK_SCALE, Trip

from mlops_local import cloud as local_cloud

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path]:
    """Run the demo once and return what it printed and its page."""
    page = tmp_path_factory.mktemp("demo") / "page.html"
    command = [sys.executable, "-m", "mlops_cli", "demo", "--json", "--output", str(page)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False), page


@pytest.fixture
def short_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    """A demo that starts its cloud and goes nowhere."""
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
    """Until it is ended by the last of them; a demo that is interrupted leaves nothing running, whatever was asked."""
    home, said = tmp_path / "kept", []

    retail_demo.run(page=tmp_path / "page.html", say=said.append, keep=home)

    try:
        assert local_cloud.connect(home).clock()["scale"] == CLOCK_SCALE
        (look,) = [line.removeprefix("look: ") for line in said if line.startswith("look: ")]
        command = shlex.split(look.partition(";")[0])[1:]
        subprocess.run([sys.executable, "-m", "mlops_cli", *command], cwd=ROOT, check=True)
    finally:
        (end,) = [line.removeprefix("end:  ") for line in said if line.startswith("end:  ")]
        subprocess.run([sys.executable, "-m", "mlops_cli", *shlex.split(end)[1:]], cwd=ROOT, check=True)

    with pytest.raises(KeyboardInterrupt):
        retail_demo.run(page=tmp_path / "page.html", say=said.append, unit="interrupted", keep=home)
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
    """The page has its plots inside, and links only to its reports and records."""
    page = demo[1].read_text()
    links = re.findall(r'(?:src|href)="(?!#|data:)([^"]*)"', page)

    assert page.count("<svg") == 4
    assert {link.partition("/")[0] for link in links} == {f"{demo[1].stem}.files"}
    assert {"report-37.html", "record-1.json"} < {link.partition("/")[2] for link in links}
    assert [link for link in links if not (demo[1].parent / link).is_file()] == []


@pytest.mark.demo
def test_the_page_opens_in_a_browser(demo: tuple[subprocess.CompletedProcess[str], Path], tmp_path: Path) -> None:
    """Chromium without a network draws it."""
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
