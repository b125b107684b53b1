"""A user in a browser at a deployed console: distribution, Cognito's pages, API and function, with IAM enforced.

Host names are AWS's, by TLS, in a browser with the arguments of `mlops local browse`.
"""

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, expect
from tests.console.conftest import Visit, opened_chromium
from tests.examples.conftest import layers
from tests.examples.test_hosted_console import ENDPOINT, FEATURES, PASSWORD, Hosted, synthesize

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
        made = Hosted(cloud, synthesize(folder))
        made.fill_store()
        yield made
    finally:
        cloud.down(forget=True)


@pytest.fixture(scope="module")
def chromium(hosted: Hosted) -> Iterator[Browser]:
    """Start a browser as the command does; Playwright creates a profile."""
    with opened_chromium(*hosted.cloud.browser_arguments()) as browser:
        yield browser


def sign_in(page: Page, hosted: Hosted, who: str) -> None:
    """Enter name and password on the pool's page, then the code of an authenticator."""
    page.locator("input[name=username]").fill(who)
    page.locator("input[name=password]").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_label("Code").fill(hosted.authenticators[who].code())
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("button", name="Sign out").wait_for()


def test_a_person_on_call_reads_and_rolls_back(visit: Open, hosted: Hosted) -> None:
    """The distribution's own policy applies; a reloaded page signs in silently."""
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


def decide(page: Page, button: str, confirm: str, reason: str) -> None:
    """Press a button of a package's page, and confirm with a reason."""
    page.get_by_role("button", name=button, exact=True).click()
    page.get_by_role("dialog").get_by_label("Reason").fill(reason)
    page.get_by_role("dialog").get_by_role("button", name=confirm).click()
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_a_person_approves_and_rejects_what_they_have_read(visit: Open, hosted: Hosted) -> None:
    """From the list to the rollout in one sign-in: the user reads as a reader and decides as an approver."""
    page = (tab := visit(hosted.outputs["ConsoleUrl"])).page
    page.goto(f"{hosted.outputs['ConsoleUrl']}/#/approvals")
    sign_in(page, hosted, "ben")
    expect(page.locator(".who")).to_contain_text("ben as reader, approver")
    seen = {each["executionArn"] for each in hosted.loop.executions("DeployMachineArn")}

    page.get_by_role("link", name=f"shown-forecast/{hosted.other}").click()
    decide(page, "Reject", "Reject now", "worse in every store")
    expect(page.locator(".lead")).to_contain_text("Rejected by ben")
    page.get_by_role("link", name="Approvals", exact=True).first.click()
    expect(page.get_by_role("link", name=f"shown-forecast/{hosted.other}")).to_have_count(0)
    page.get_by_role("link", name=f"shown-forecast/{hosted.waiting}").click()
    expect(page.locator("#gate")).to_be_visible()
    expect(page.get_by_text("beats last_week")).to_be_visible()
    expect(page.get_by_role("table", name="Losses")).to_contain_text("candidate")
    decide(page, "Approve", "Approve and roll out", "better in every store")
    expect(page.locator(".lead")).to_contain_text("Approved by ben")
    expect(page.get_by_text("better in every store", exact=True)).to_be_visible()
    page.get_by_role("link", name=f"See the rollout of {ENDPOINT}").click()

    hosted.loop.wait_execution("DeployMachineArn", seen, appear=60, finish=180)
    expect(page.get_by_text("No rollout is running. The last one: promoted")).to_be_visible()
    expect(page.get_by_text(f"approved: shown-forecast/{hosted.waiting}: better in every store")).to_be_visible()
    assert tab.violations() == []
    newest = hosted.ask("rea", "GET", f"/audit/{ENDPOINT}").json["records"][0]
    assert (newest["who"], newest["record"]["outcome"]) == ("ben", "PROMOTED"), newest


@pytest.mark.parametrize("who", ["rea", "ann"])
def test_who_may_not_approve_is_offered_nothing(visit: Open, hosted: Hosted, who: str) -> None:
    """A reader and an on-call user can read the package; IAM denies them too: tests/examples/test_hosted_console.py."""
    page = visit(hosted.outputs["ConsoleUrl"]).page
    path = f"/packages/shown-forecast/{hosted.waiting}"
    page.goto(f"{hosted.outputs['ConsoleUrl']}/#{path}")
    sign_in(page, hosted, who)

    expect(page.get_by_text("Your role may not approve or reject.")).to_be_visible()
    expect(page.get_by_role("table", name="Losses")).to_be_visible()
    for name in ("Approve", "Reject"):
        expect(page.get_by_role("button", name=name)).to_have_count(0)


def test_a_reader_is_offered_nothing(visit: Open, hosted: Hosted) -> None:
    """The page has no buttons for actions that the group may not perform."""
    page = visit(hosted.outputs["ConsoleUrl"]).page
    page.goto(f"{hosted.outputs['ConsoleUrl']}/#{MODEL}")
    sign_in(page, hosted, "rea")

    expect(page.locator("#serves")).to_contain_text("serves")
    expect(page.get_by_role("button", name="Roll back")).to_have_count(0)


def test_a_person_without_a_group_reads_once_what_to_do(visit: Open, hosted: Hosted) -> None:
    """After being added to a group the user has to sign in again, because the groups are in the token."""
    tab = visit(hosted.outputs["ConsoleUrl"], width=390)
    tab.expected += [r"Failed to load resource: .* 403 .*/api/v1/"]
    tab.page.goto(f"{hosted.outputs['ConsoleUrl']}/#{MODEL}")
    sign_in(tab.page, hosted, "zoe")

    expect(tab.page.get_by_role("alert")).to_have_count(1)
    expect(tab.page.get_by_role("alert")).to_contain_text("ask the user pool's administrator to add you")
    assert tab.violations() == []
    people, pool = hosted.cloud.client("cognito-idp"), hosted.outputs["UserPool"]
    people.admin_add_user_to_group(UserPoolId=pool, Username="zoe", GroupName="approver")
    people.admin_add_user_to_group(UserPoolId=pool, Username="zoe", GroupName="on-call")
    tab.page.get_by_role("button", name="Sign in again").click()
    sign_in(tab.page, hosted, "zoe")
    expect(tab.page.locator(".who")).to_contain_text("zoe as reader, on-call, approver")
    expect(tab.page.get_by_role("button", name="Roll back", exact=True)).to_be_visible()


def test_an_approver_finds_a_feature_and_who_read_it(visit: Open, hosted: Hosted) -> None:
    """As a reader: the function does not have the feature store's library."""
    page = (tab := visit(hosted.outputs["ConsoleUrl"])).page
    page.goto(f"{hosted.outputs['ConsoleUrl']}/#{FEATURES}")
    sign_in(page, hosted, "ben")

    page.get_by_label("Words").fill("on_hand")
    page.get_by_role("button", name="Find").click()
    expect(page.get_by_role("table")).to_contain_text("Stock on the shelves of a store")
    page.get_by_role("button", name="Show").click()

    expect(page.get_by_role("status").filter(has_text="shelves")).to_contain_text("shelves: on_hand")
    assert tab.violations() == []


def test_a_console_without_any_unit_says_what_to_do(visit: Open, hosted: Hosted) -> None:
    """If the units' stacks were deleted and the console's was not; a link to a model shows the same."""
    ssm = hosted.cloud.client("ssm")
    pages = ssm.get_paginator("get_parameters_by_path").paginate(Path="/mlops", Recursive=True)
    kept = [each for page in pages for each in page["Parameters"]]
    assert any(each["Name"].startswith("/mlops/shown/endpoint/") for each in kept)
    tab = visit(hosted.outputs["ConsoleUrl"])
    tab.expected += [r"Failed to load resource: .* 404 .*/api/v1/"]
    try:
        for each in kept:
            ssm.delete_parameter(Name=each["Name"])
        tab.page.goto(f"{hosted.outputs['ConsoleUrl']}/")
        sign_in(tab.page, hosted, "rea")
        expect(
            tab.page.get_by_text("No business unit is deployed here. Deploy a stack with: mlops deploy")
        ).to_be_visible()
        assert tab.violations() == []
        status, body = hosted.ask("rea", "GET", "/units/shown").status, hosted.ask("rea", "GET", "/units/shown").json
        tab.page.goto(f"{hosted.outputs['ConsoleUrl']}/#{MODEL}")
        expect(tab.page.get_by_role("alert").first).to_contain_text(body["detail"])
    finally:
        for each in kept:
            ssm.put_parameter(Name=each["Name"], Value=each["Value"], Type=each["Type"], Overwrite=True)

    assert status == 404
    assert "mlops deploy" in body["detail"]
