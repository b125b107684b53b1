"""A person in a browser at a deployed console: distribution, Cognito's pages, API and function, on the embedded cloud with IAM on.

The names are those of AWS, by TLS, in a browser with the arguments that `mlops local browse` gives it.
"""

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, expect
from tests.console.conftest import Visit, opened_chromium
from tests.examples.conftest import layers
from tests.examples.test_hosted_console import ENDPOINT, PASSWORD, Hosted

from mlops_local import cloud as local_cloud

pytestmark = pytest.mark.cloud

__all__ = ["layers"]  # a fixture
Open = Callable[..., Visit]
MODEL = f"/units/shown/endpoints/{ENDPOINT}"


@pytest.fixture(scope="module")
def hosted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosted]:
    """The deployed example."""
    folder = tmp_path_factory.mktemp("hosted")
    cloud = local_cloud.up(folder / "cloud", clock_scale=60.0)
    try:
        yield Hosted(cloud, folder)
    finally:
        cloud.down(forget=True)


@pytest.fixture(scope="module")
def chromium(hosted: Hosted) -> Iterator[Browser]:
    """A browser as the command starts it; Playwright gives it a profile."""
    with opened_chromium(*hosted.cloud.browser_arguments()) as browser:
        yield browser


def sign_in(page: Page, hosted: Hosted, who: str) -> None:
    """Type name and password at the page of the pool, then the code of an authenticator."""
    page.locator("input[name=username]").fill(who)
    page.locator("input[name=password]").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_label("Code").fill(hosted.authenticators[who].code())
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("button", name="Sign out").wait_for()


def test_a_person_on_call_reads_and_rolls_back(visit: Open, hosted: Hosted) -> None:
    """By the distribution's own policy; a page that is loaded again signs in silently."""
    page = (tab := visit(hosted.outputs["ConsoleUrl"])).page
    page.goto(f"{hosted.outputs['ConsoleUrl']}/#{MODEL}")
    sign_in(page, hosted, "ann")
    expect(page.locator("#serves")).to_have_text("version 2 serves")
    page.reload()
    expect(page.locator(".who")).to_contain_text("ann as reader, on-call")
    seen = {each["executionArn"] for each in hosted.loop.executions("DeployMachineArn")}

    page.get_by_role("button", name="Roll back", exact=True).click()
    page.get_by_role("dialog").get_by_label("Reason").fill("wrong prices")
    page.get_by_role("dialog").get_by_role("button", name="Roll back now").click()
    expect(page.get_by_role("dialog")).to_have_count(0)

    hosted.loop.wait_execution("DeployMachineArn", seen, appear=60, finish=180)
    expect(page.locator("#serves")).to_have_text("version 1 serves")
    assert tab.violations() == []
    newest = hosted.ask("rea", "GET", f"/audit/{ENDPOINT}").json["records"][0]
    assert (newest["who"], newest["record"]["outcome"]) == ("ann", "PROMOTED"), newest


def test_a_reader_is_offered_nothing(visit: Open, hosted: Hosted) -> None:
    """The page has no button for what the group may not."""
    page = visit(hosted.outputs["ConsoleUrl"]).page
    page.goto(f"{hosted.outputs['ConsoleUrl']}/#{MODEL}")
    sign_in(page, hosted, "rea")

    expect(page.locator("#serves")).to_contain_text("serves")
    expect(page.get_by_role("button", name="Roll back")).to_have_count(0)
