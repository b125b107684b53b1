"""The first page over several accounts in the browser: every model of each, with an unreadable one among them."""

import json
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import expect
from tests.cli.deployed_unit import DeployedUnit
from tests.console.conftest import Visit, console

from mlops_local.cloud import Cloud

Open = Callable[..., Visit]
HOME, STAGING, PRODUCTION = "000000000000", "111111111111", "222222222222"


@pytest.fixture(scope="module")
def units(cloud: Cloud) -> list[DeployedUnit]:
    """One unit in two accounts and Regions, each with its own version of one model."""
    found = [
        DeployedUnit(cloud.at(account, region), "fleeted", buckets=f"fleeted-{account}")
        for account, region in ((HOME, "us-east-1"), (STAGING, "eu-west-1"))
    ]
    for unit, version in zip(found, (2, 1), strict=True):
        unit.serve(version)
    return found


@pytest.fixture(scope="module")
def address(cloud: Cloud, units: list[DeployedUnit], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The console of the first account, which reads the second by its profile; a role of the third does not exist."""
    folder = tmp_path_factory.mktemp("fleet")
    environments = [
        {"name": "build", "account": HOME, "region": "us-east-1"},
        {
            "name": "staging",
            "account": STAGING,
            "region": "eu-west-1",
            "profile": f"mlops-{STAGING}",
            "console": "https://staging.example.com",
        },
        {
            "name": "production",
            "account": PRODUCTION,
            "region": "us-east-1",
            "role": f"arn:aws:iam::{PRODUCTION}:role/MlopsFleetReader",
        },
    ]
    (folder / "fleet.json").write_text(json.dumps({"format": "mlops.fleet/1", "environments": environments}))
    with console(cloud.home, folder, "--environments", str(folder / "fleet.json")) as opened:
        yield opened


def test_all_accounts_are_on_the_first_page(visit: Open, address: str, units: list[DeployedUnit]) -> None:
    """A row links to the model's page in this console or in its account's; unreadable accounts are named."""
    tab = visit(address)
    page = tab.open("/")
    rows = page.get_by_role("table", name="Models of all accounts").locator("tbody tr").filter(has_text="fleeted")

    expect(page.get_by_role("heading", level=1)).to_have_text("Fleet")
    expect(rows).to_have_count(2)
    expect(rows.nth(0)).to_contain_text("build")
    expect(rows.nth(0)).to_contain_text("version 2")
    expect(rows.nth(1)).to_contain_text("staging")
    expect(rows.nth(1)).to_contain_text("bbbbbbbbbbbb")
    model = f"#/units/fleeted/endpoints/{units[0].endpoint}"
    expect(rows.nth(0).get_by_role("link")).to_have_attribute("href", model)
    expect(rows.nth(1).get_by_role("link")).to_have_attribute("href", f"https://staging.example.com/{model}")
    expect(page.get_by_text("production cannot be read: ")).to_contain_text("sts:AssumeRole")
    rows.nth(0).get_by_role("link").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(units[0].endpoint)
    page.get_by_role("link", name="Models", exact=True).first.click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Models")


def test_a_choice_stays_in_the_address(visit: Open, address: str) -> None:
    """Environment, unit and state filter the rows."""
    tab = visit(address)
    page = tab.open("/")
    page.get_by_label("Environment").select_option("staging")
    page.get_by_label("Unit").select_option("fleeted")

    expect(page.locator("tbody tr")).to_have_count(1)
    assert page.url.endswith("#/?environment=staging&unit=fleeted")


def test_it_can_be_read_on_any_screen(visit: Open, address: str, cloud: Cloud) -> None:
    """Light and dark, wide, and 360 px narrow: axe-core finds nothing, no page scrolls sideways, no target is too small."""
    long = DeployedUnit(cloud.at(STAGING, "eu-west-1"), "w" * 40)  # a name without a place to break it
    long.serve(1)
    tab = visit(address)
    page = tab.open("/")

    expect(page.get_by_role("table", name="Models of all accounts")).to_contain_text(long.name)
    assert tab.problems(narrow=360) == []
