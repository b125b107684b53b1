"""Fixtures: ``mlops console`` in a process of its own, and Chromium with the real Content-Security-Policy of its pages."""

import itertools
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright
from tests.cli.deployed_unit import DeployedUnit
from tests.cli.model_registry import PackageGroup
from tests.cli.monitored_unit import MonitoredUnit

from mlops_local.cloud import Cloud
from mlops_runtime.contracts.rollout import Outcome

HOSTILE = "<img src=x onerror=alert(1)> & <script>alert(2)</script>"
COLOURS = ("color-contrast", "link-in-text-block")  # rules that another colour scheme may violate
_HEIGHTS = {360: 800, 390: 844, 1280: 800}
_number = itertools.count(1)
_PATIENCE = 30_000  # milliseconds of a wait; a machine that runs many tests is slow


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """One browser per file; its event loop runs in this thread while it is open, where other files run loops of their own."""
    with opened_chromium() as browser:
        yield browser


@contextmanager
def opened_chromium(*arguments: str) -> Iterator[Browser]:
    """Start a browser with command-line arguments."""
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("chromium is not installed; apt-get install chromium")
    expect.set_options(timeout=_PATIENCE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", *arguments])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def shop(cloud: Cloud) -> DeployedUnit:
    """A unit with a live model on a cluster and a monitor that found drift, with a hostile reason in its records."""
    unit = MonitoredUnit(DeployedUnit(cloud, f"browsed{next(_number)}")).unit
    unit.endpoint_entry = replace(unit.endpoint_entry, target="EKS")
    unit.publish(unit.endpoint_entry)
    unit.serve(2, Outcome.PROMOTED, HOSTILE, previous=unit.pointer(1).config, previous_package=unit.package(1))
    return unit


@pytest.fixture(scope="module")
def package(shop: DeployedUnit) -> str:
    """A package of the shop that waits for approval."""
    packages = PackageGroup(shop.cloud, shop.endpoint, f"{shop.name}-models")
    return packages.register("alarm-1", worse="store=7")


@pytest.fixture(scope="module")
def address(cloud: Cloud, shop: DeployedUnit, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the console of the shared embedded cloud."""
    with console(cloud.home, tmp_path_factory.mktemp("console")) as opened:
        yield opened


@contextmanager
def console(
    home: Path,
    folder: Path,
    *options: str,
    python: str | Path = sys.executable,
    environment: Mapping[str, str] = os.environ,
) -> Iterator[str]:
    """Start the console of an embedded cloud; return the address that the command prints, with its token."""
    command = [str(python), "-m", "mlops_cli", "console", "--home", str(home), *options]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True, env=environment) as running:
        try:
            assert running.stdout is not None
            line = running.stdout.readline()
            assert line.startswith("console: "), line
            yield line.removeprefix("console: ").strip()
        finally:
            running.terminate()


class Visit:
    """One tab: what a user sees and types, and the browser's errors meanwhile."""

    def __init__(self, page: Page, address: str) -> None:
        self.page, self.address = page, address
        self.complaints: list[str] = []
        self.expected: list[str] = []  # patterns of errors that a test expects; they can arrive until the tab is closed
        page.set_default_timeout(_PATIENCE)
        page.on("console", self._log_message)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _log_message(self, message: ConsoleMessage) -> None:
        where = message.location["url"]
        # Cognito's page on the embedded cloud has no icon; the console's pages name theirs
        if message.type in ("error", "warning") and not where.endswith("/favicon.ico"):
            self.complaints.append(f"{message.text} ({where})")

    def unexpected(self) -> list[str]:
        """Return the browser's unexpected errors."""
        return [each for each in self.complaints if not any(re.match(pattern, each) for pattern in self.expected)]

    def open(self, path: str = "/") -> Page:
        """Open a page by the sign-in address, and wait until it has loaded its data."""
        self.page.goto("about:blank")  # a new fragment alone would not reload the page
        self.page.goto(f"{self.address}&to={path}" if path != "/" else self.address)
        self.page.get_by_role("heading", level=1).wait_for()
        self.settle()
        return self.page

    def look(self, scheme: str, width: int) -> None:
        """Show the page in another colour scheme and width."""
        self.page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        self.page.set_viewport_size({"width": width, "height": _HEIGHTS[width]})

    def settle(self) -> None:
        """Wait until no request is in progress."""
        self.page.locator("main:not(:has([role=status]:text-matches('^Reading')))").wait_for()

    def violations(self, *rules: str) -> list[str]:
        """Return axe-core's violations under the page's own policy, by some rules or by all."""
        if not self.page.evaluate("'axe' in window"):
            self.page.evaluate(AXE_SCRIPT)
        options = {"resultTypes": ["violations"], **({"runOnly": rules} if rules else {})}
        found = self.page.evaluate("(options) => axe.run(document, options).then((all) => all.violations)", options)
        return [f"{each['id']}: {node['html'][:200]}" for each in found for node in each["nodes"]]

    def problems(self, *, narrow: int = 390) -> list[str]:
        """Return the accessibility problems in light and dark, narrow and wide."""
        found = []
        for width in (narrow, 1280):
            for scheme, rules in (("light", ()), ("dark", COLOURS)):
                self.look(scheme, width)
                found += self.violations(*rules)
            found += [*self.small_targets(), *(["too wide"] if self.is_too_wide() else [])]
        return found

    def is_too_wide(self) -> bool:
        """Return whether the page scrolls sideways."""
        return bool(self.page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"))

    def small_targets(self) -> list[str]:
        """Return clickable elements lower than 44 px, except links within sentences."""
        return list(
            self.page.evaluate(
                """[...document.querySelectorAll('button, select, input, textarea, nav a, .button, td a, th a')]
                  .filter((each) => each.checkVisibility() && each.getBoundingClientRect().height < 44)
                  .map((each) => each.outerHTML.slice(0, 120))"""
            )
        )


@pytest.fixture
def visit(chromium: Browser) -> Iterator[Callable[..., Visit]]:
    """Open a tab of a console, ``visit(address, scheme="dark", width=390)``, which must end without an error."""
    opened: list[Visit] = []

    def made(address: str, *, scheme: str = "light", width: int = 1280) -> Visit:
        context = chromium.new_context(
            color_scheme="dark" if scheme == "dark" else "light",
            viewport={"width": width, "height": _HEIGHTS[width]},
            reduced_motion="reduce",
        )
        opened.append(Visit(context.new_page(), address))
        return opened[-1]

    yield made
    for each in opened:
        each.page.unroute_all(behavior="ignoreErrors")
        each.page.context.close()
    assert [complaint for each in opened for complaint in each.unexpected()] == []
