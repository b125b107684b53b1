"""The console of the built wheels: pages and API are included, and every link of a page leads to a readable page."""

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import expect
from tests.cli.deployed_unit import DeployedUnit
from tests.console.conftest import Visit, console
from tests.wheels.conftest import Install, clean_environment, install, uv, wheels

from mlops_local.cloud import Cloud

pytestmark = [pytest.mark.cloud, pytest.mark.timeout(600)]

__all__ = ["install", "uv", "wheels"]  # fixtures


def test_every_link_of_the_installed_console_leads_on(
    visit: Callable[..., Visit],
    install: Install,
    cloud: Cloud,
    shop: DeployedUnit,
    package: str,
    tmp_path: Path,
) -> None:
    """From the first page by clicks alone, in an environment without this checkout."""
    python = install("mlops-cli", extras=("local", "scaffold"), needs=("mlops-local",)) / "bin" / "python"
    with console(cloud.home, tmp_path, python=python, environment=clean_environment()) as address:
        tab, read, open_ = visit(address), {"#/": ""}, ["#/"]
        page = tab.open("/")
        while open_:
            here = open_.pop()
            page.evaluate("(hash) => { location.hash = hash; }", here)
            tab.settle()
            for link in page.locator("main a[href^='#/'], nav a[href^='#/']").all():
                href = link.get_attribute("href") or ""
                # the shared cloud may have units of other files, some of them designed to fail
                is_ours = shop.name in href or href.count("/") == 1
                if is_ours and href not in read:
                    link.click()
                    tab.settle()
                    read[href] = page.get_by_role("heading", level=1).inner_text()
                    expect(page.get_by_role("alert")).to_have_count(0)
                    open_.append(href)
                    page.go_back()
                    tab.settle()
        page.goto("about:blank")  # stops its requests

    model = f"#/units/{shop.name}/endpoints/{shop.endpoint}"
    wanted = {model, f"{model}/drift", f"{model}/audit", "#/approvals", f"#/packages/{package}"}
    wanted |= {f"#/packages/{package}/lineage", f"#/units/{shop.name}/features", f"#/units/{shop.name}/audit"}
    assert wanted <= set(read)
    assert "No such page" not in read.values()
