"""The demo with three accounts: a model trained in build, promoted to staging and production, and rolled back there.

Each stack is deployed to its own account of the embedded cloud, with IAM on: both accounts must allow access across accounts. The
clock of the embedded cloud runs two minutes per second.
"""

import shlex
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from itertools import chain
from pathlib import Path

from examples.retail import accounts_report
from examples.retail.accounts_page import write_accounts_page
from examples.retail.accounts_trip import AccountsResult, AccountsTrip
from examples.retail.demand_forecasting.replay import REPLAY
from examples.retail.loop import expect
from examples.retail.steps import Missed, silent
from mlops_local.accounts import profile

TITLE = "Demand forecasting: one model through three accounts"
ACCOUNT_COUNT = 4  # the first one is empty
FLEET_FILE = "fleet.json"
# there is no monitor, whose baseline needs more weeks of history; and no client asks for a whole week, but the planner for many
REPLAYED = replace(REPLAY, first=31, whole_every=None)
FEW_ROWS = 8  # a call: of more calls that the first model answers, more is known of how seldom it fails
PLANNED_WEEKS = 9
PLANNED_EVERY = (
    2  # which call of the traffic is the planner's: more fail than the alarm allows where it knows few calls
)


def run(
    *, page: Path, echo: Callable[[str], None], begin: Callable[[str], None] = silent, keep: Path | None = None
) -> AccountsResult:
    """Send two models through the accounts once, and write the page.

    Args:
        page: File for the page.
        echo: Called with one line at the end of each step.
        begin: Called with a step's name at its start. Default: no call.
        keep: Folder of an embedded cloud that is left running. Default: the cloud is stopped.
    """
    trip = AccountsTrip(REPLAYED, echo, begin=begin)
    started, ended = time.monotonic(), False
    with tempfile.TemporaryDirectory(prefix="mlops-demo-") as folder:
        home = Path(folder) / "cloud" if keep is None else keep
        try:
            trip.start(home, account_count=ACCOUNT_COUNT)
            trip.deploy_accounts(Path(folder))
            trip.ingest()
            travel(trip, home)
            ended = True
        except Missed:
            trip.keep_evidence(page.with_suffix(".evidence"))
            ended = True
        finally:
            if keep is None or not ended:  # also stops the cloud after an interruption
                trip.stop()
    result = trip.result
    result.seconds = time.monotonic() - started
    missed = next((row.name for row in result.rows if not row.ok), None)
    verdict = "Every account did what it should." if missed is None else f"Stopped at: {missed}."
    note = (
        f"{result.seconds:.0f} s in all. Real transactions of 457 grocery stores over 2017 (completejourney). The embedded cloud "
        "ran the templates that go to three AWS accounts, IAM on."
    )
    write_accounts_page(
        page,
        title=TITLE,
        ok=result.ok,
        verdict=verdict,
        note=note,
        rows=result.rows,
        accounts=result.accounts,
        events=result.events,
    )
    echo(f"{'ok' if result.ok else 'MISSED'}: {note}")
    echo(f"page: {page}")
    if keep is not None and hasattr(trip, "running"):
        result.home = keep
        _print_next_commands(trip, keep, echo)
    return result


def travel(trip: AccountsTrip, home: Path) -> None:
    """Promote two models through deployed accounts; production rolls the second one back.

    Args:
        trip: The trip, with its features in build.
        home: Folder of the embedded cloud.
    """
    with trip.step("build: train on real sales, measure, gate, register") as detail:
        package = trip.train("no model yet")
        trip.trained(package, detail, "PendingManualApproval")
    before = first_model(trip, trip.version_of(package))
    with trip.step(
        "build: exported for an accelerator, trained again, gated against the model in production"
    ) as detail:
        trip.wait_for_report(trip.build, trip.production, before)
        trip.deploy_next()
        package = trip.train("exported for an accelerator")
        trip.trained(package, detail, "PendingManualApproval")
    after = second_model(trip, trip.version_of(package))
    with trip.step("production: a planner requests nine weeks at once, and the model is rolled back") as detail:
        take_back(trip, before, after, detail)
    with trip.step("staging and build report the rollback; the audit chains of all accounts are intact") as detail:
        show(trip, home, before, after, detail)


def first_model(trip: AccountsTrip, version: str) -> str:
    """Promote the first model through the accounts, and return production's version of it.

    Args:
        version: The version in build, which waits for an approval.
    """
    build, staging, production = trip.places.values()
    with trip.step("build: ann approves, and it is released") as detail:
        trip.approved(trip.ann, version, build, "better than every naive forecast", detail)
        release = trip.released(version, build)
        detail.append(f"SHA-256 {release.model_sha256[:12]}")
    with trip.step("staging: copied, compared, approved by policy, served") as detail:
        staged = trip.taken(version, build, staging, "APPROVED")
        detail.append(accounts_report.in_words(staged.reason))
        trip.serving(str(staged.version), staging)
    with trip.step("production: copied, compared; it waits, and ann may not approve there") as detail:
        produced = trip.taken(str(staged.version), staging, production, "WAITING")
        detail.append(trip.refused(trip.ann, str(produced.version), production))
        expect(production.loop.live() is None, "production serves before its own person approved")
    with trip.step("production: ben approves, and it serves the same model as staging") as detail:
        trip.approved(trip.ben, str(produced.version), production, "staging serves it", detail)
        trip.serving(str(produced.version), production)
        rows = trip.replay.requests(trip.first)
        theirs, ours = (
            [call.predictions for call in place.loop.invoke(rows, place.name, size=FEW_ROWS)]
            for place in (staging, production)
        )
        expect(theirs == ours, "staging and production answer differently")
        detail.append(f"{len(rows)} forecasts, each the same as staging's")
    return str(produced.version)


def second_model(trip: AccountsTrip, version: str) -> str:
    """Promote the second model through the accounts by canary, and return production's version of it.

    Args:
        version: The version in build, which waits for an approval.
    """
    build, staging, production = trip.places.values()
    with trip.step("staging: it takes over by canary, under calls of its clients") as detail:
        trip.approved(trip.ann, version, build, "as good, and faster", detail)
        with trip.traffic_to(staging, trip.replay.requests(trip.first)) as traffic:
            staged = str(trip.taken(version, build, staging, "APPROVED").version)
            trip.promoted(staged, staging, traffic, detail)
    with trip.step("staging: a probation of six hours, and only then it is offered to production") as detail:
        live = staging.loop.live()
        expect(live is not None and live.probation_until is not None, "staging has no probation")
        expect(staging.released(staged) is None, "staging released a model on probation")
        trip.running.clock_jump(by=timedelta(hours=7, minutes=1))  # its schedule asks every hour
        produced = str(trip.taken(staged, staging, production, "WAITING").version)
        detail.append(f"released at {trip.released(staged, staging).released_at[:16]}; it waits in production")
    with (
        trip.step("production: ben approves, and it takes over by canary") as detail,
        trip.traffic_to(production, trip.replay.requests(trip.first)) as traffic,
    ):
        trip.approved(trip.ben, produced, production, "it served staging through its probation", detail)
        trip.promoted(produced, production, traffic, detail)
    return produced


def take_back(trip: AccountsTrip, before: str, after: str, detail: list[str]) -> None:
    """Send production more rows at once than the second model supports, and check that it rolls back automatically."""
    production = trip.production
    weeks = range(trip.first - PLANNED_WEEKS, trip.first)
    season = list(chain.from_iterable(trip.replay.requests(week) for week in weeks))
    expect(production.serves(after), f"{after} does not serve")
    with trip.traffic_to(production, season, whole_every=PLANNED_EVERY) as traffic:
        trip.serving(before, production)
    expect(traffic.refused > 0, "no call of the planner failed, so nothing was verified")
    record = next(each for each in reversed(production.loop.audit()) if accounts_report.is_rollback(each))
    (call,) = production.loop.invoke(season, f"after-{trip.now():%Y%m%d%H%M%S}", size=len(season))
    detail.append(f"{traffic.refused} calls failed, and {traffic.answered} of other clients succeeded")
    detail.append(accounts_report.in_words(record.reason))
    detail.append(f"version {before.rpartition('/')[2]} answers its {call.rows} rows")


def show(trip: AccountsTrip, home: Path, before: str, after: str, detail: list[str]) -> None:
    """Check with the ``mlops`` commands what staging and build report of production, and that all chains are intact.

    Args:
        home: Folder of the embedded cloud.
        before: The version that production serves.
        after: The version that it rolled back.
        detail: The results are appended.
    """
    places = list(trip.places.values())
    for place in (trip.staging, trip.build):
        served = trip.wait_for_report(place, trip.production, before, after)
        detail.append(f"{place.name} reports that production serves version {served.rpartition('/')[2]} again")
    fleet = home / FLEET_FILE
    accounts_report.write_fleet(fleet, places)
    found = accounts_report.report(places, home=home, fleet=fleet)
    trip.result.accounts = tuple(accounts_report.accounts(places, found))
    trip.result.events = tuple(accounts_report.events(places))
    unread = [each["unread"] for each in found.chain["sources"] if each["unread"] is not None]
    expect(found.chain["is_whole"] and not unread, f"the chains are not whole: {found.chain}")
    detail.append(f"{len(trip.result.events)} audit records in three accounts, every chain intact")


def _print_next_commands(trip: AccountsTrip, home: Path, echo: Callable[[str], None]) -> None:
    where = f"--home {shlex.quote(str(home))}"
    fleet = shlex.quote(str(home / FLEET_FILE))
    echo(f"kept: the embedded cloud at {trip.running.endpoint_url}; its clock shows {trip.now():%Y-%m-%d %H:%M} UTC")
    echo(f"look: mlops fleet --environments {fleet} {where}")
    for place in trip.places.values():
        echo(f"look: mlops promotions --profile {profile(place.account.number)} {where}")
    echo(f"end:  mlops local down {where}")
