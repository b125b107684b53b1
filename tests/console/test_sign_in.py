"""Users sign in at Cognito's pages, and the console allows what their groups permit."""

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from playwright.sync_api import Page, Request, Route, expect
from tests.cli.deployed_unit import DeployedUnit
from tests.console.conftest import Visit
from tests.console.hosted_front import PASSWORD, HostedFront

from mlops_local.cloud import Cloud

Open = Callable[..., Visit]


@pytest.fixture(scope="module")
def front(cloud: Cloud, shop: DeployedUnit) -> Iterator[HostedFront]:
    """The hosted console of the shop's account."""
    found = HostedFront(cloud, f"{shop.name}-console")
    try:
        yield found
    finally:
        found.shutdown()
        found.server_close()


def sign_in(page: Page, who: str) -> None:
    """Enter name and password on the pool's page."""
    page.locator("input[name=username]").fill(who)
    page.locator("input[name=password]").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()


@pytest.fixture
def opened(visit: Open, front: HostedFront, shop: DeployedUnit) -> Callable[..., Visit]:
    """Open a tab of a user who signs in: ``opened("ann", "/units/...")``."""
    # the shared cloud may have units of other files that the roles here cannot read: the first page reports them, and so
    # does the browser
    others = rf"Failed to load resource: .* 403 .*/api/v1/units/(?!{shop.name}\b)"

    def made(who: str, path: str = "/") -> Visit:
        tab = visit(front.origin)
        tab.expected.append(others)
        tab.page.goto(f"{front.origin}/#{path}")
        sign_in(tab.page, who)
        tab.page.get_by_role("button", name="Sign out").wait_for()
        return tab

    return made


def tokens(page: Page, act: Callable[[], Any]) -> dict[str, Any]:
    """Return the token endpoint's responses during a block."""
    with page.expect_response("**/oauth2/token") as found:
        act()
    answer: dict[str, Any] = found.value.json()
    return answer


def model(shop: DeployedUnit) -> str:
    """Return the path of the shop's model."""
    return f"/units/{shop.name}/endpoints/{shop.endpoint}"


def call(front: HostedFront, token: str, path: str, body: object = None) -> tuple[int, dict[str, Any]]:
    """Call the API without a browser."""
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json", "Idempotency-Key": "k" * 12}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{front.origin}/api/v1{path}", data=data, headers=headers)  # noqa: S310 - loopback
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - loopback
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def roll_back(page: Page, reason: str) -> None:
    """Request a rollback with a reason."""
    page.get_by_role("button", name="Roll back", exact=True).click()
    page.get_by_role("dialog").get_by_label("Reason").fill(reason)
    page.get_by_role("dialog").get_by_role("button", name="Roll back now").click()


def executions(shop: DeployedUnit) -> list[dict[str, Any]]:
    """Return the inputs of the Deploy machine's executions, newest first."""
    found = shop.stepfunctions.list_executions(stateMachineArn=shop.machine)["executions"]
    return [
        json.loads(shop.stepfunctions.describe_execution(executionArn=each["executionArn"])["input"]) for each in found
    ]


def test_a_person_on_call_signs_in_and_rolls_back(
    opened: Callable[..., Visit], front: HostedFront, shop: DeployedUnit
) -> None:
    """After 15 minutes the password is required again, and the entered text is kept; no token is stored."""
    page = (tab := opened("ann", model(shop))).page
    expect(page.locator(".who")).to_contain_text("ann as reader, on-call")
    expect(page.locator("#serves")).to_have_text("version 2 serves")
    stored = page.evaluate("[Object.keys(localStorage), Object.keys(sessionStorage), location.search]")
    front.age(16 * 60)
    before = len(executions(shop))

    roll_back(page, "wrong prices")
    expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text(
        "requires a sign-in within the last 15 minutes"
    )
    refused = len(executions(shop))
    tab.expected.append("Failed to load resource")  # the browser reports the rejection
    assert (tab.violations(), tab.small_targets()) == ([], [])
    page.get_by_role("dialog").get_by_role("button", name="Sign in again").click()
    sign_in(page, "ann")
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_label("Reason")).to_have_value("wrong prices")
    dialog.get_by_role("button", name="Roll back now").click()
    expect(dialog).to_have_count(0)

    assert (stored, refused) == ([[], [], ""], before)
    newest = executions(shop)[0]
    assert newest["requested_by"].endswith(f":assumed-role/{shop.name}-console-on-call/ann")
    assert (newest["reason"], newest["comment"]) == ("rollback", "wrong prices")


def test_a_page_that_is_loaded_again_signs_in_silently(opened: Callable[..., Visit], shop: DeployedUnit) -> None:
    """By the browser's Cognito session, returning to the same page."""
    page = opened("ben", model(shop)).page
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url) if "/oauth2/authorize" in request.url else None)

    page.reload()
    expect(page.locator("#serves")).to_have_text("version 2 serves")

    assert [parse_qs(urlsplit(each).query)["prompt"] for each in requests] == [["none"]]
    assert page.evaluate("location.hash") == f"#{model(shop)}"


def test_a_reader_sees_no_buttons_and_is_refused(
    opened: Callable[..., Visit], front: HostedFront, shop: DeployedUnit
) -> None:
    """The API rejects them too."""
    page = opened("ben", model(shop)).page
    expect(page.locator("#serves")).to_have_text("version 2 serves")
    token = tokens(page, page.reload)["access_token"]

    expect(page.get_by_role("button", name="Roll back")).to_have_count(0)
    expect(page.get_by_role("button", name="Pause automation")).to_have_count(0)
    status, problem = call(front, token, f"{model(shop)}/rollbacks", {"reason": "no", "expect": {"live": "2"}})
    assert (status, problem["detail"]) == (403, "rollBack requires the role on-call; this console has reader")


def test_tokens_are_renewed_before_they_end_and_rotate(opened: Callable[..., Visit]) -> None:
    """Each refresh token is used once."""
    page = opened("ben").page
    page.clock.install()
    sent: list[str] = []

    def seen(request: Request) -> None:
        if "/oauth2/token" in request.url:
            sent.append(parse_qs(request.post_data or "")["refresh_token"][0])

    page.on("request", seen)
    for _ in range(2):
        tokens(page, lambda: page.clock.fast_forward("04:30"))

    assert len(set(sent)) == 2
    expect(page.get_by_role("alert")).to_have_count(0)


def test_signing_out_ends_the_session_and_the_tokens(opened: Callable[..., Visit], front: HostedFront) -> None:
    """The page says so, and the next sign-in requires the password."""
    page = (tab := opened("ben")).page
    token = tokens(page, page.reload)["refresh_token"]
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Signed out")
    assert (tab.violations(), tab.small_targets()) == ([], [])
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator("input[name=password]")).to_be_visible()

    form = urlencode({"grant_type": "refresh_token", "client_id": front.client, "refresh_token": token}).encode()
    with pytest.raises(urllib.error.HTTPError, match="400"):
        urllib.request.urlopen(f"{front.cloud.endpoint_url}/oauth2/token", form, timeout=30)  # noqa: S310 - loopback


def test_an_answer_that_was_not_asked_for_signs_in_nobody(visit: Open, front: HostedFront) -> None:
    """With a foreign state, or an error of the sign-in page; the button starts again."""
    page = visit(front.origin).page
    page.goto(f"{front.origin}/?code=stolen&state=foreign")
    expect(page.get_by_role("alert")).to_contain_text("belongs to another tab, or was already used. Nothing was done")
    expect(page.get_by_role("button", name="Sign out")).to_have_count(0)

    page.get_by_role("button", name="Sign in").click()
    sign_in(page, "ben")
    page.get_by_role("button", name="Sign out").wait_for()


def test_a_code_that_was_used_signs_in_nobody(visit: Open, front: HostedFront) -> None:
    """The first exchange used it."""
    tab = visit(front.origin)

    def first(route: Route) -> None:
        form = route.request.post_data_buffer
        urllib.request.urlopen(f"{front.cloud.endpoint_url}/oauth2/token", form, timeout=30)  # noqa: S310 - loopback
        route.continue_()

    tab.page.route("**/oauth2/token", first)
    tab.page.goto(front.origin)
    sign_in(tab.page, "ben")

    expect(tab.page.get_by_role("alert")).to_contain_text("invalid_grant")
    expect(tab.page.get_by_role("button", name="Sign in")).to_be_visible()
    tab.expected.append("Failed to load resource")  # the browser reports the rejection


def test_tokens_of_another_sign_in_are_refused(opened: Callable[..., Visit]) -> None:
    """Their nonce differs."""
    tab = opened("ben")
    before = tokens(tab.page, tab.page.reload)
    tab.page.route(
        "**/oauth2/token", lambda route: route.fulfill(json=before, headers={"Access-Control-Allow-Origin": "*"})
    )

    tab.page.reload()

    expect(tab.page.get_by_role("alert")).to_contain_text("The tokens do not belong to this sign-in. Nothing was done")
    expect(tab.page.get_by_role("button", name="Sign out")).to_have_count(0)


def test_a_person_of_no_group_is_told_whom_to_ask(opened: Callable[..., Visit]) -> None:
    """The page names the contact, and offers to sign out."""
    tab = opened("cleo")
    expect(tab.page.get_by_role("alert")).to_have_count(1)
    expect(tab.page.get_by_role("alert").first).to_contain_text(
        "ask the user pool's administrator to add you to one of reader"
    )
    tab.expected.append("Failed to load resource")  # the browser reports the rejections


def test_tokens_of_another_kind_are_refused(opened: Callable[..., Visit], front: HostedFront, cloud: Cloud) -> None:
    """An ID token, a modified token, one of a foreign pool, and none."""
    page = opened("ben").page
    given = tokens(page, page.reload)
    other = HostedFront(cloud, "foreign-console")
    try:
        assert [
            call(front, token, "/me")[0]
            for token in (given["access_token"], given["id_token"], given["access_token"][:-8] + "AAAAAAAA", "")
        ] == [200, 401, 401, 401]
        assert call(other, given["access_token"], "/me")[0] == 401
    finally:
        other.shutdown()
        other.server_close()
