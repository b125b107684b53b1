"""State of the accounts at the end of the demo: output of the ``mlops`` commands, and the audit records."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from examples.retail.accounts_page import Account, Event
from examples.retail.accounts_trip import GROUP, Place
from examples.retail.demand_forecasting.accounts_stack import PRODUCTION
from mlops_cli.audit import verify
from mlops_cli.fleet import fleet as fleet_command
from mlops_cli.promotions import promotions
from mlops_local.accounts import profile
from mlops_runtime.business_unit.deployed_chain import open_chain
from mlops_runtime.business_unit.deployed_entries import Entries
from mlops_runtime.contracts.rollout import AuditRecord, Outcome
from mlops_runtime.registry.package_approval import person_of

_BAD = (Outcome.ROLLED_BACK, Outcome.REFUSED, Outcome.FAILED, Outcome.REJECTED)
_BACK = "back to "  # prefix of the reason of a promotion that is a rollback
_PACKAGE = ":model-package/"
_POLICY = ":assumed-role/mlops-promote-"  # approves packages that the source approved
_MACHINE = re.compile(r"[0-9a-f-]{32}")  # in the name of an execution


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """JSON output of the commands: of the fleet, and of each account by the name of its environment.

    ``chain`` is from ``mlops audit verify --follow``: the last account's chain and those of all accounts before it.
    """

    fleet: Mapping[str, Any]
    promotions: Mapping[str, Mapping[str, Any]]
    chain: Mapping[str, Any]


def write_fleet(path: Path, places: Sequence[Place]) -> None:
    """Write the file of accounts for ``mlops fleet``."""
    environments = [
        {
            "name": place.name,
            "account": place.account.number,
            "region": place.account.region,
            "profile": profile(place.account.number),
        }
        for place in places
    ]
    path.write_text(json.dumps({"format": "mlops.fleet/1", "environments": environments}, indent=2))


def report(places: Sequence[Place], *, home: Path, fleet: Path) -> Report:
    """Run the commands, and return their output.

    Args:
        places: The accounts, in the order of a promotion.
        home: Folder of the embedded cloud.
        fleet: File written by `write_fleet`.

    Raises:
        UserError: If a command fails, with its message.
    """
    *sources, last = places
    return Report(
        fleet=_answer(fleet_command, environments=fleet, home=home),
        promotions={
            place.name: _answer(promotions, GROUP, profile=_profile(place), home=home, last=20) for place in places
        },
        chain=_answer(
            verify,
            f"{GROUP}.promotions",
            follow=True,
            profile=_profile(last),
            source_profiles=[_profile(place) for place in sources],
            home=home,
        ),
    )


def accounts(places: Sequence[Place], found: Report) -> Iterator[Account]:
    """Yield the state of each account for the page."""
    models = {each["environment"]: each for each in found.fleet["models"]}
    for place in places:
        model = models.get(place.name, {})
        version = model.get("version")
        yield Account(
            name=place.name,
            number=place.account.number,
            region=place.account.region,
            state=str(model.get("state", "trains; serves nothing")),
            version=None if version is None else str(version),
            digest=model.get("digest"),
            facts=tuple(_facts(found, place)),
        )


def events(places: Sequence[Place]) -> Iterator[Event]:
    """Yield the records of all audit chains of the accounts, except those without a change."""
    for place in places:
        entries = Entries(ssm=place.account.client("ssm"))
        registry = entries.registry(GROUP)
        names = {
            registry.releases,
            GROUP if place.is_serving else None,
            f"{GROUP}.promotions" if registry.inbox else None,
        }
        for name in sorted(each for each in names if each is not None):
            chain = open_chain(place.account.client, entries.chain(name))
            for record in chain.newest(chain.table.read(), 100):
                if record.outcome is not Outcome.UNCHANGED:
                    yield _event(place.name, record)


def targets(history: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return an account's information on the targets of its releases, by the name of the environment."""
    return {each["name"]: each for each in history.get("targets", ())}


def is_rollback(record: AuditRecord) -> bool:
    """Return whether a record is of a version that serves again after a later one was promoted."""
    return record.outcome is Outcome.PROMOTED and record.reason.startswith(_BACK)


def in_words(text: str) -> str:
    """Return a sentence with ARNs replaced by versions and people.

    Example:
        >>> in_words("approved: arn:aws:sagemaker:us-east-1:333333333333:model-package/demand-forecast/2: staging served it")
        'approved: version 2: staging served it'
        >>> in_words("approved there by arn:aws:sts::111111111111:assumed-role/Build-Approver/ann")
        'approved there by ann'
        >>> in_words("approved there by arn:aws:sts::222222222222:assumed-role/mlops-promote-08e3632b0ea93833/54cd8c28-1")
        'approved there by policy'
    """
    return " ".join(_word(each) for each in text.split(" "))


def _word(word: str) -> str:
    arn = word.rstrip(":;,")
    if not arn.startswith("arn:"):
        return word
    name = "policy" if _POLICY in arn else person_of(arn)
    return (f"version {name}" if _PACKAGE in arn else name) + word[len(arn) :]


def _event(name: str, record: AuditRecord) -> Event:
    back = is_rollback(record)
    who = person_of(record.requested_by)
    return Event(
        at=record.at,
        account=name,
        word="rolled back" if back else record.outcome.value.lower().replace("_", " "),
        text=in_words(record.reason) + ("" if _MACHINE.search(who) else f" ({who})"),
        digest=record.model_sha256,
        is_bad=back or record.outcome in _BAD,
    )


def _facts(found: Report, place: Place) -> Iterator[str]:
    history = found.promotions[place.name]
    waiting = [each for each in history["offers"] if each["state"] == "WAITING"]
    yield from (f"version {_number(each['version'])} waits for an approval" for each in waiting)
    yield from (
        f"released version {_number(each['version'])}, approved by {in_words(each['approved_by'])}"
        for each in history["releases"]
    )
    for target, state in targets(history).items():
        via = "" if state["via"] in (None, target) else f", as {state['via']} says"
        serves = state["serves"]
        yield f"knows that {target} serves {'nothing' if serves is None else _known(serves)}{via}"
        for back in state["rolled_back"]:
            yield f"knows that {target} rolled back {_known(back)}{via}"
    if place.environment == PRODUCTION:
        names = " and ".join(each["name"] for each in found.chain["sources"])
        yield f"its audit chain is intact, and so are those of {names}"


def _known(version: Mapping[str, Any]) -> str:
    return f"version {_number(version['released_as'])}"


def _number(version: str) -> str:
    return version.rpartition("/")[2]


def _profile(place: Place) -> str:
    return profile(place.account.number)


def _answer(command: Callable[..., None], *arguments: str, **options: object) -> dict[str, Any]:
    """Run a command in this process, and return its JSON output."""
    with redirect_stdout(StringIO()) as printed:
        command(*arguments, **options, as_json=True)
    return dict(json.loads(printed.getvalue()))
