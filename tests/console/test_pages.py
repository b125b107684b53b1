"""Every page in the browser: readable on any screen, light and dark, and safe against markup in data."""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect
from tests.cli.deployed_unit import DeployedUnit
from tests.console.conftest import HOSTILE, Visit
from tests.released import release
from tests.runtime.business_unit.unit_samples import EMPTY, LIVE

from mlops_local.cloud import Cloud
from mlops_runtime.console.model_state import ModelState, state_of
from mlops_runtime.console.page_files import PAGES
from mlops_runtime.contracts import canonical_json
from mlops_runtime.promotion.environment_link import LinkedEnvironment
from mlops_runtime.registry.package_approval import ApprovalRule, RegistryEntry, registry_parameter

Open = Callable[..., Visit]
MODEL, PACKAGE = "/units/{unit}/endpoints/{endpoint}", "/packages/{package}"
# a non-native clickable element
PRESSED_BY_OTHERS = r"<(?!button|a |form|select|input)[a-z]+[^>]*on(Click|Key\w+|Mouse\w+)="
PRESSED = "a[href], button:not([disabled]), select, input, textarea, summary"


def as_is(data: dict[str, Any]) -> None:
    """Leave the API's response unchanged."""


def paused(data: dict[str, Any]) -> None:
    """Make the unit paused."""
    data |= {"is_paused": True, "is_stopped": True}


def rolling_out(data: dict[str, Any]) -> None:
    """Make a rollout running."""
    data["overview"] |= {"running": ["approval-3"], "progress": {**PROGRESS, "request_reason": "approval"}}
    data["rollout"] = [{"name": "step", "text": "1 of 2"}]


def rolling_back(data: dict[str, Any]) -> None:
    """Make a rollback running."""
    data["overview"] |= {"running": ["rollback-1"], "progress": {**PROGRESS, "request_reason": "rollback"}}


def retrained(data: dict[str, Any]) -> None:
    """Make a pipeline retrain the model."""
    data["retraining"] = {"pipeline": "browsed", "last_execution": None}


def approvable(data: dict[str, Any]) -> None:
    """Make the package pending without objections."""
    data |= {"can_approve": True, "can_reject": True}
    data["review"] |= {"approval": "PendingManualApproval", "problems": []}


PROGRESS = {
    "percent": 50,
    "package": "arn:aws:sagemaker:us-east-1:000000000000:model-package/browsed/3",
    "steps": 2,
    "step": 1,
    "bakes": [600, 600],
    "until": None,
    "is_watched": False,
    "verdict": None,
}
# every button that opens a dialog: its page, and the API's response for the page
DIALOGS: dict[str, tuple[str, Callable[[dict[str, Any]], None]]] = {
    "Roll back": (MODEL, as_is),
    "Abort the rollback": (MODEL, rolling_back),
    "Pause automation": (MODEL, as_is),
    "Resume automation": (MODEL, paused),
    "Retrain": (MODEL, retrained),
    "Abort the rollout": (f"{MODEL}/rollout", rolling_out),
    "Approve": (PACKAGE, approvable),
    "Reject": (PACKAGE, approvable),
}


def paths(shop: DeployedUnit, package: str) -> list[str]:
    """Paths of the pages behind the #."""
    model = f"/units/{shop.name}/endpoints/{shop.endpoint}"
    more = [f"{model}/{page}" for page in ("rollout", "drift", "audit")]
    return [
        "/",
        "/approvals",
        model,
        *more,
        f"/units/{shop.name}/audit",
        f"/packages/{package}",
        f"/packages/{package}/lineage",
        f"/units/{shop.name}/features",
    ]


def test_every_page_can_be_read(visit: Open, address: str, shop: DeployedUnit, package: str) -> None:
    """axe-core finds nothing, nothing scrolls sideways, clickable elements are 44 px high, and Tab reaches them."""
    tab, found = visit(address, width=390), {}
    for path in paths(shop, package):
        page = tab.open(path)
        found[path] = unreached(page)
        found[path] += tab.problems()

    assert found == {path: [] for path in paths(shop, package)}
    # native elements respond to Enter or Space like to a click
    assert [each.name for each in (PAGES / "app").glob("*.js") if re.search(PRESSED_BY_OTHERS, each.read_text())] == []


def test_a_long_audit_log_is_verified_in_parts(visit: Open, address: str, cloud: Cloud) -> None:
    """The page requests one part after the other, each by the hash that the previous one returned."""
    long = DeployedUnit(cloud, "long-log")
    for _ in range(201):
        long.serve(1)
    page = (tab := visit(address)).open(f"/units/{long.name}/endpoints/{long.endpoint}/audit")
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))

    page.get_by_role("button", name="Verify every record").click()
    expect(page.locator("main")).to_contain_text("201 records, signed with the key")

    parts = [url.partition("/verification")[2].partition("-")[0] for url in requests if "/verification" in url]
    assert parts == ["", "?until=2"]
    expect(page.locator("main").get_by_text("intact", exact=True)).to_be_visible()
    assert tab.violations() == []


def test_every_dialog_can_be_read(visit: Open, address: str, shop: DeployedUnit, package: str) -> None:
    """The same for each dialog; it requires a reason, Tab reaches all of it, and Escape returns the focus to its button."""
    found: dict[str, list[str]] = {}
    for name, (where, change) in DIALOGS.items():
        tab, path = visit(address), where.format(**names(shop, package))
        answered(tab.page, f"**/api/v1{path.removesuffix('/rollout')}", change)
        page = tab.open(path)
        button = page.get_by_role("button", name=name, exact=True)
        button.focus()
        page.keyboard.press("Enter")
        dialog = page.get_by_role("dialog")
        expect(dialog.get_by_label("Reason")).to_be_focused()
        found[name] = unreached(page, "dialog ")
        found[name] += tab.problems()
        page.keyboard.press("Escape")
        expect(dialog).to_have_count(0)
        expect(button).to_be_focused()

    assert found == {name: [] for name in DIALOGS}


def test_every_dialog_is_among_those_that_are_read() -> None:
    """A new dialog must be in the list: pages contain the labels of their dialogs."""
    sources = "".join(each.read_text() for each in (PAGES / "app").glob("*.js"))
    labels = re.findall(r"<\$\{Ask\} label=(\$\{[^}]*\}|\"[^\"]*\")", sources)
    named = [name for label in labels for name in re.findall(r"[\"']([^\"']+)[\"']", label) if name != "rollback"]

    assert sorted(named) == sorted(DIALOGS)


def names(shop: DeployedUnit, package: str) -> dict[str, str]:
    """Names in the addresses of pages."""
    return {"unit": shop.name, "endpoint": shop.endpoint, "package": package}


def unreached(page: Page, where: str = "") -> list[str]:
    """Return clickable elements that Tab alone does not reach."""
    wanted = page.evaluate(
        """(those) => [...document.querySelectorAll(those)].filter((each) => each.checkVisibility())
          .map((each, at) => { each.dataset.at = at; return each.outerHTML.slice(0, 80); })""",
        ", ".join(f"{where}{each.strip()}" for each in PRESSED.split(",")),
    )
    reached = set()
    for _ in range(len(wanted) + 8):  # including the browser's own stops
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement?.dataset?.at"))
    return [each for at, each in enumerate(wanted) if str(at) not in reached]


def test_text_of_others_stays_text(visit: Open, address: str, shop: DeployedUnit) -> None:
    """A reason with markup in it is shown literally."""
    page = visit(address).open(f"/units/{shop.name}/endpoints/{shop.endpoint}/rollout")

    expect(page.get_by_text(HOSTILE)).to_be_visible()
    expect(page.locator("main img, main script")).to_have_count(0)


def answered(page: Page, address: str, change: Callable[[dict[str, Any]], object]) -> None:
    """Pass the API's responses at an address through ``change``."""

    def fulfil(route: Route) -> None:
        answer = route.fetch(headers={**route.request.headers, "if-none-match": ""}, max_retries=3)
        data = answer.json()
        change(data)
        route.fulfill(response=answer, json=data)

    page.route(address, fulfil)


def test_a_model_without_monitor_and_predecessor(visit: Open, address: str, shop: DeployedUnit) -> None:
    """The page claims nothing about monitors, and says why there is no rollback; the button looks disabled."""
    tab, path = visit(address), f"/units/{shop.name}/endpoints/{shop.endpoint}"
    page = tab.open(path)
    back = page.get_by_role("button", name="Roll back", exact=True)
    colour = "each => getComputedStyle(each).backgroundColor"
    red = back.evaluate(colour)

    def first(data: dict[str, Any]) -> None:
        cause = state_of(replace(EMPTY, state="InService", live=LIVE))[1]
        data |= {"cause": cause, "before": None, "overview": {**data["overview"], "monitor": None, "running": []}}

    answered(page, f"**/api/v1{path}", first)
    tab.open(path)
    expect(page.locator("#cause")).to_have_text("no monitor has decided on this model yet")
    expect(page.get_by_text("there is nothing to roll back to")).to_be_visible()
    expect(back).to_be_disabled()
    assert back.evaluate(colour) != red


def test_a_rollback_that_runs_is_not_rolled_back(visit: Open, address: str, shop: DeployedUnit) -> None:
    """Pressing the button again would end the rollback, says the page, with the share of traffic already shifted."""
    tab, path = visit(address), f"/units/{shop.name}/endpoints/{shop.endpoint}"
    package = f"arn:aws:sagemaker:us-east-1:000000000000:model-package/{shop.endpoint}/1"

    def way_back(data: dict[str, Any]) -> None:
        progress = {"request_reason": "rollback", "percent": 100, "package": package}
        data["overview"] |= {"running": ["rollback-1"], "progress": progress}

    answered(tab.page, f"**/api/v1{path}", way_back)
    page = tab.open(path)
    expect(page.locator("#share")).to_have_text(f"{shop.endpoint}/1 has 100 % of the traffic.")
    expect(page.get_by_role("button", name="Roll back", exact=True)).to_have_count(0)
    page.get_by_role("button", name="Abort the rollback").click()
    expect(page.get_by_role("dialog")).to_contain_text("The running rollback is aborted: version 2 continues")


def test_wide_intervals_are_drawn_whole(visit: Open, address: str, package: str) -> None:
    """Two different intervals look different, also far from the limit; table headings are on one line."""
    tab, path = visit(address), f"/packages/{package}"

    def better(data: dict[str, Any]) -> None:
        for check, low in zip(data["gate"]["checks"], (-0.9, -0.6), strict=True):
            check |= {"low": low, "high": low + 0.1}

    answered(tab.page, f"**/api/v1{path}", better)
    page = tab.open(path)
    ends = page.locator("#gate ~ table .interval line.span").evaluate_all(
        "all => all.map((each) => [each.getAttribute('x1'), each.getAttribute('x2')].map(parseFloat))"
    )
    heads = page.locator("#gate ~ table thead th").evaluate_all(
        """all => all.map((each) => {
          const words = document.createRange();
          words.selectNodeContents(each.querySelector('button')?.firstChild ?? each);
          const {top, bottom} = words.getBoundingClientRect();
          return (top + bottom) / 2;
        })"""
    )

    assert sorted(end for both in ends for end in both) == pytest.approx([0, 50 / 9, 50 / 3, 200 / 9])
    assert max(heads) - min(heads) < 2


def test_lineage_is_drawn_as_it_is_listed(visit: Open, address: str, shop: DeployedUnit, package: str) -> None:
    """A box for each table, the set, the code, the package and each endpoint; a small screen has the lists only."""
    tab, path = visit(address), f"/packages/{package}/lineage"

    def full(data: dict[str, Any]) -> None:
        reads = [
            {"table": name, "snapshot": "9", "columns": ["units"], "is_entities": False}
            for name in ("sales_v1", HOSTILE)
        ]
        built = {"name": "demand", "rows": 120, "split": {}, "service": None, "engine": "duckdb", "source": {}}
        served = {"endpoint": shop.endpoint, "at": "2017-07-01T00:00:00Z", "who": "ann"}
        data |= {
            "training_set": {**built, "reads": reads},
            "code": {"code": "arn:aws:s3:::code"},
            "promotions": [{**served, "sequence": 2}, {**served, "sequence": 5}],
        }

    answered(tab.page, f"**/api/v1{path}", full)
    page = tab.open(path)
    names = page.locator("svg.graph text.name").all_text_contents()
    graph = page.locator("svg.graph")

    assert [names[0], names[1][:10], *names[2:]] == [
        "sales_v1",
        HOSTILE[:10],
        "demand",
        "code",
        package,
        shop.endpoint,
    ]
    expect(page.locator("svg.graph path.edge")).to_have_count(5)  # two tables, set and code, and the endpoint
    expect(page.locator("svg.graph")).to_contain_text("record 2, 5")
    expect(graph).to_be_visible()
    assert (tab.violations(), tab.is_too_wide()) == ([], False)
    tab.look("dark", 390)
    expect(graph).to_be_hidden()
    assert (tab.violations(), tab.is_too_wide()) == ([], False)


def test_a_person_who_approves_is_warned_and_led_on(
    visit: Open, address: str, shop: DeployedUnit, package: str
) -> None:
    """Names imported by a pickle, and endpoints of the same archive; the message stays when the button has gone."""
    tab, path = visit(address), f"/packages/{package}"
    approval = {"now": "PendingManualApproval"}

    def pickled(data: dict[str, Any]) -> None:
        data |= {"pickled": ["os.system"], "can_approve": True}
        data["review"] |= {"approval": approval["now"], "problems": []}
        data["endpoints"][0]["is_same"] = True

    def approve(route: Route) -> None:
        approval["now"] = "Approved"
        route.fulfill(json={"package": package, "approval": "Approved", "identity": "", "said": "", "changed": True})

    answered(tab.page, f"**/api/v1{path}", pickled)
    tab.page.route(f"**/api/v1{path}/approval", approve)
    page = tab.open(path)
    expect(
        page.get_by_text("The pickle imports os.system; this list is not a guarantee, as unpickling can run any code.")
    ).to_be_visible()
    expect(page.get_by_text(f"{shop.endpoint} already serves the archive of this package")).to_be_visible()
    page.get_by_role("button", name="Approve", exact=True).click()
    page.get_by_role("dialog").get_by_label("Reason").fill("better")
    page.get_by_role("dialog").get_by_role("button", name="Approve and roll out").click()

    link = page.get_by_role("link", name=f"See the rollout of {shop.endpoint}")
    expect(link).to_have_attribute("href", f"#/units/{shop.name}/endpoints/{shop.endpoint}/rollout")
    expect(page.get_by_role("button", name="Approve", exact=True)).to_have_count(0)
    expect(page.get_by_text("Approved. Its rollout starts automatically.")).to_be_visible()


def test_states_are_in_the_order_of_the_api() -> None:
    """The pages sort states in the API's order."""
    words = (PAGES / "app" / "words.js").read_text().partition("ORDER = [")[2].partition("]")[0]

    assert [each.strip(" '\n") for each in words.split(",") if each.strip()] == [each.value for each in ModelState]


def test_a_registry_without_an_endpoint_is_among_the_models(
    visit: Open, address: str, cloud: Cloud, shop: DeployedUnit
) -> None:
    """If models are trained for other accounts, the row links to the approved version, and is as readable."""
    entry = RegistryEntry(group=f"{shop.name}-price", unit=shop.name, rule=ApprovalRule())
    parameter, sagemaker = registry_parameter(unit=entry.unit, group=entry.group), cloud.client("sagemaker")
    sagemaker.create_model_package_group(ModelPackageGroupName=entry.group)
    here = LinkedEnvironment(account="000000000000", region="us-east-1")
    registered = sagemaker.create_model_package(**release(unit=shop.name, model="price", source=here).request)
    sagemaker.update_model_package(
        ModelPackageArn=registered["ModelPackageArn"], ModelApprovalStatus="Approved", ApprovalDescription="by hand"
    )
    ssm = cloud.client("ssm")
    ssm.put_parameter(Name=parameter, Value=canonical_json(entry).decode(), Type="String")
    try:
        tab = visit(address, scheme="dark", width=390)
        row = tab.open("/").get_by_role("row").filter(has_text=f"{entry.group}")
        expect(row).to_contain_text("registry without an endpoint")
        expect(row.get_by_role("link", name="version 1")).to_have_attribute("href", f"#/packages/{entry.group}/1")
        found = [*tab.violations(), *tab.small_targets(), *(["too wide"] if tab.is_too_wide() else [])]
    finally:
        ssm.delete_parameter(Name=parameter)

    assert found == []


def test_costs_stand_beside_each_model(visit: Open, address: str, shop: DeployedUnit) -> None:
    """If they are known; the embedded cloud bills nothing, and the page says so instead of zero."""
    tab = visit(address)
    page = tab.open("/")
    expect(page.get_by_text("not known here: the embedded cloud bills nothing")).to_be_visible()

    def billed(data: dict[str, Any]) -> None:
        costs = {"units": {shop.name: 7.02}, "endpoints": {shop.endpoint: 5.52}}
        data |= {"day": "2026-11-28", "currency": "USD", "unread": "", **costs}

    answered(page, "**/api/v1/costs", billed)
    tab.open("/")
    row = page.get_by_role("row", name=shop.endpoint)
    expect(row.get_by_text("5.52 USD")).to_be_visible()
    expect(page.get_by_text(f"{shop.name} 7.02 USD")).to_be_visible()
    assert (tab.violations(), tab.is_too_wide()) == ([], False)


def test_choices_stand_in_the_address(visit: Open, address: str, shop: DeployedUnit) -> None:
    """Unit and state survive a reload, and can be shared with another user."""
    tab = visit(address)
    page = tab.open("/")
    page.get_by_label("Unit").select_option(shop.name)
    page.get_by_label("State").select_option("deleted")
    expect(page.get_by_text("No model matches these filters.")).to_be_visible()
    page.reload()

    expect(page.get_by_label("Unit")).to_have_value(shop.name)
    page.get_by_label("State").select_option("limits violated")
    expect(page.get_by_role("link", name=shop.endpoint, exact=True)).to_be_visible()


def test_keys_alone_go_everywhere(visit: Open, address: str, shop: DeployedUnit) -> None:
    """Tab and Enter lead past the menu into the content, and to a model's page, whose heading then has the focus."""
    tab = visit(address)
    page = tab.open("/")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    link = page.get_by_role("link", name=shop.endpoint, exact=True)
    for _ in range(30):
        page.keyboard.press("Tab")
        if link.evaluate("(each) => each === document.activeElement"):
            break
    page.keyboard.press("Enter")

    expect(page.get_by_role("heading", level=1, name=shop.endpoint)).to_be_focused()


def test_old_data_stays_with_its_age(visit: Open, address: str, shop: DeployedUnit) -> None:
    """If the console stops responding, the page shows the age of its data and what to check."""
    tab = visit(address)
    page = tab.open(f"/units/{shop.name}/endpoints/{shop.endpoint}")
    expect(page.locator("#serves")).to_have_text("version 2 serves")
    page.route("**/api/**", lambda route: route.abort())
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")

    expect(page.get_by_text("ago. It cannot be refreshed")).to_be_visible()
    expect(page.locator("#serves")).to_have_text("version 2 serves")
    tab.expected.append("Failed to load resource")  # the browser reports the interrupted requests


def test_nobody_reads_without_the_token(visit: Open, address: str) -> None:
    """A page opened without the token asks for the address with the token."""
    tab = visit(address)
    tab.page.goto(address.partition("#")[0])

    expect(tab.page.get_by_role("alert")).to_contain_text("mlops console")


def test_the_clock_is_the_clouds_and_goes_on(visit: Open, address: str, shop: DeployedUnit) -> None:
    """A jump of the embedded clock is shown at once; an unchanged response does not set the time back."""
    tab = visit(address)
    page = tab.open(f"/units/{shop.name}/endpoints/{shop.endpoint}")
    clock = "import(document.querySelector('script[type=module]').src.replace('main.js', 'words.js')).then((it) => it.now())"
    before = page.evaluate(clock)
    with page.expect_response("**/api/v1/me"):
        page.get_by_role("button", name="+ 1 hour").click()
    expect(page.get_by_text("Advanced by 1 hour.")).to_be_visible()
    with page.expect_response(lambda answer: answer.status == 304):
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")

    assert page.evaluate(clock) - before > 3_599_000  # responses have whole seconds


def test_a_model_that_may_not_be_read_is_named_above_the_others(visit: Open, address: str, shop: DeployedUnit) -> None:
    """With the reason; the other models are shown."""
    tab = visit(address)
    page = tab.page

    def denied(data: dict[str, Any]) -> None:
        data["unread"] = {"endpoint secret": "AWS refused GetItem (AccessDeniedException): no"}

    answered(page, f"**/api/v1/units/{shop.name}", denied)
    tab.open("/")

    expect(page.get_by_text(f"{shop.name}, endpoint secret, cannot be read: AWS refused GetItem")).to_be_visible()
    expect(page.get_by_role("row", name=shop.endpoint)).to_be_visible()
    assert not tab.violations()
