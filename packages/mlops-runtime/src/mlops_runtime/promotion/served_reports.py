"""Validation of targets' reports on their live models: sender, released versions, and known states. Pure.

A listed account may report on itself and on environments behind it, but never on another listed account.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from mlops_runtime.contracts import ContractError, from_dict, from_json
from mlops_runtime.contracts.events import BusEvent, DetailType, EventDetail, event_source
from mlops_runtime.contracts.release import ReleaseRecord
from mlops_runtime.contracts.rollout import LivePointer
from mlops_runtime.contracts.served_model import ATTRIBUTE, WANTED, RetrainingWish, ServedState, ServedVersion
from mlops_runtime.iso_time import parse_time
from mlops_runtime.promotion.environment_link import LinkedEnvironment, NamedEnvironment, downstream_chain
from mlops_runtime.promotion.served_state import MOST_ROLLED_BACK
from mlops_runtime.registry.model_package import version_of
from mlops_runtime.rollout.deploy_plan import package_pointer
from mlops_runtime.rollout.event_origin import EVENT_ID, NEWEST, age_problem, read_event

# EventBridge delivers for a day: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-retry-policy.html
OLDEST = timedelta(hours=25)
MOST_HOPS = 8
MOST_STATES = 50  # of one source, well below the size limit of the row

_FORMS = {
    "account": re.compile(r"[0-9]{12}", re.ASCII),
    "region": re.compile(r"[a-z]{2}(-[a-z]+)+-[0-9]", re.ASCII),
    "name": re.compile(r"[a-z][a-z0-9-]{0,18}[a-z0-9]", re.ASCII),
}
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_VERSION = re.compile(r"[a-z0-9-]{1,63}/[0-9]{1,10}", re.ASCII)
_SHOWN = 100
_LONGEST_TEXT = 500


class IgnoredReportError(Exception):
    """An event of a target without effect; the message states the reason."""


class KnownReportError(IgnoredReportError):
    """A report of a known state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetSettings:
    """The group, and the ``targets`` whose reports count; ``here`` is the source."""

    unit: str
    group: str
    here: LinkedEnvironment
    targets: tuple[NamedEnvironment, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetEvent:
    """An event of a listed target on this group."""

    sender: NamedEnvironment
    detail_type: str
    detail: EventDetail


def target_event(event: BusEvent, *, settings: TargetSettings, now: datetime) -> TargetEvent:
    """Validate an event of a target.

    Args:
        event: The event; its account and Region are set by AWS.
        settings: Targets whose events count.
        now: When the queue received the message.

    Raises:
        IgnoredReportError: If it is malformed, stale, of an account that is not listed, or about another unit or group.
    """
    sender = next((t for t in settings.targets if (t.account, t.region) == (event.account, event.region)), None)
    if sender is None:
        listed = ", ".join(f"{each.account} {each.region}" for each in settings.targets) or "none"
        raise IgnoredReportError(
            f"{event.account} {event.region} is not a target of {settings.group}; listed: {listed}"
        )
    check_age(event, now)
    try:
        detail = from_dict(EventDetail, event.detail)
    except ContractError as error:
        raise IgnoredReportError(str(error)) from error
    found = {"source": (event.source, event_source(settings.unit)), "group": (detail.subject, settings.group)}
    wrong = [f"{name} is {_shown(value)}, not {wanted!r}" for name, (value, wanted) in found.items() if value != wanted]
    if event.detail_type not in (DetailType.MODEL_SERVED, DetailType.RETRAINING_REQUESTED):
        wrong.append(f"{_shown(event.detail_type)} is not an event that a target sends")
    if not EVENT_ID.fullmatch(event.id) or not EVENT_ID.fullmatch(detail.id):
        wrong.append("its id is malformed")
    if wrong:
        raise IgnoredReportError(f"{sender.name}: {'; '.join(wrong)}")
    return TargetEvent(sender=sender, detail_type=event.detail_type, detail=detail)


def bus_event(body: str) -> BusEvent:
    """Return the event of a message.

    Raises:
        IgnoredReportError: If it is malformed.
    """
    try:
        return read_event(body)
    except ContractError as error:
        raise IgnoredReportError(str(error)) from error


def check_age(event: BusEvent, now: datetime) -> None:
    """Check the age of an event.

    Raises:
        IgnoredReportError: If it is older than EventBridge's delivery time, or in the future.
    """
    if problem := age_problem(event, now=now, oldest=OLDEST):
        raise IgnoredReportError(f"{problem}: too old, or in the future")


def reported_state(event: TargetEvent, *, settings: TargetSettings, now: datetime) -> ServedState:
    """Return the reported state of a target, or of an environment behind it.

    Raises:
        IgnoredReportError: If it is malformed, in the future, or about an environment on which the target may not report.
    """
    sender = event.sender
    try:
        state = from_json(ServedState, (event.detail.attributes or {}).get(ATTRIBUTE, ""))
    except ContractError as error:
        raise IgnoredReportError(f"{sender.name}: {error}") from error
    problems = [*_state_problems(state, now), *_place_problems(state, sender, settings)]
    if problems:
        raise IgnoredReportError(f"{sender.name}: {'; '.join(problems)}")
    return replace(state, name=sender.name if state.hops == 1 else state.name, via=sender.name, requested=None)


def wish_of(event: TargetEvent, state: ServedState) -> RetrainingWish:
    """Return the retraining that a target requests.

    Args:
        event: The target's event.
        state: Its reported state, checked against the releases.

    Raises:
        IgnoredReportError: If no model is live there, or the event names no alarm.
    """
    attributes = {
        name: str(value)[:_LONGEST_TEXT] for name, value in event.detail.attributes.items() if name != ATTRIBUTE
    }
    problems = []
    if event.detail.outcome != WANTED:
        problems.append(f"outcome is {_shown(event.detail.outcome)}, not {WANTED!r}")
    if state.serves is None:
        problems.append("it serves no model that could be retrained")
    if not attributes.get("alarm", "").isprintable() or not attributes.get("alarm"):
        problems.append(f"alarm is {_shown(attributes.get('alarm'))}")
    if problems:
        raise IgnoredReportError(f"{state.name}: {'; '.join(problems)}")
    return RetrainingWish(
        state=state,
        id=event.detail.id,
        alarm=attributes["alarm"],
        reason=event.detail.reason[:_LONGEST_TEXT],
        faults=attributes.get("faults", ""),
        report=attributes.get("report", ""),
    )


def with_releases(state: ServedState, releases: Mapping[str, ReleaseRecord], *, group: str) -> ServedState:
    """Return a state with the source's own versions, matched by the bindings of its releases.

    Raises:
        IgnoredReportError: If it names a model that was not released here.
    """
    problems = []
    for each in state.versions:
        record = releases.get(each.binding)
        if record is None or record.group != group:
            problems.append(f"release {each.binding[:16]}, of {each.version}, was not made here")
        elif record.package.model_sha256 != each.model_sha256:
            problems.append(
                f"release {each.binding[:16]} is of model {record.package.model_sha256[:16]}, not {each.model_sha256[:16]}"
            )
    if problems:
        raise IgnoredReportError(f"{state.name}: {'; '.join(dict.fromkeys(problems))}")

    def known(version: ServedVersion) -> ServedVersion:
        record = releases[version.binding]
        own = version_of(record.package.package_arn or "")
        return replace(version, released_as=own or None, origin=record.origin)

    serves = None if state.serves is None else known(state.serves)
    return replace(state, serves=serves, rolled_back=tuple(known(each) for each in state.rolled_back))


def kept_with(kept: Sequence[ServedState], state: ServedState) -> tuple[ServedState, ...]:
    """Return the known states of all targets with a reported one added; earlier rollbacks stay known.

    Raises:
        IgnoredReportError: If a newer or the same state of the environment is known.
    """
    key = _key(state)
    before = next((each for each in kept if _key(each) == key), None)
    if before is not None:
        if (parse_time(state.at), state.sequence) < (parse_time(before.at), before.sequence):
            raise IgnoredReportError(
                f"{state.name}: record {state.sequence} of {state.at} is stale: record {before.sequence} of {before.at} is known"
            )
        back = {(each.version, each.at): each for each in (*state.rolled_back, *before.rolled_back)}
        newest = sorted(back.values(), key=lambda each: parse_time(each.at), reverse=True)[:MOST_ROLLED_BACK]
        state = replace(state, rolled_back=tuple(newest), requested=before.requested)
        if state == before:
            raise KnownReportError(f"{state.name}: record {state.sequence} of {state.at} is known")
        if state.sequence == before.sequence and state.at == before.at:
            raise IgnoredReportError(
                f"{state.name}: record {state.sequence} of {state.at} was reported with other content"
            )
    others = [each for each in kept if _key(each) != key]
    if len(others) >= MOST_STATES:
        raise IgnoredReportError(f"{state.name}: {MOST_STATES} environments are already known, which is the maximum")
    return (*others, state)


def champion_of(
    states: Sequence[ServedState], *, targets: Sequence[NamedEnvironment], name: str | None = None
) -> ServedState | None:
    """Return the environment whose model candidates are compared with; None if it has not reported a live model.

    Args:
        states: The known states.
        targets: The listed targets, in order.
        name: Name of the environment. Default: the farthest one along the chain; of several, the first in the order of targets.
    """
    order = {each.name: place for place, each in enumerate(targets)}
    known = [each for each in states if each.via in order and name in (None, each.name)]
    found = min(known, key=lambda each: (-each.hops, order[str(each.via)], each.name, each.region), default=None)
    return None if found is None or found.serves is None else found


def champion_pointer(state: ServedState, record: ReleaseRecord) -> LivePointer:
    """Return an environment's live version as a live pointer to the source's own package and objects."""
    serves = state.serves
    if serves is None:
        raise TypeError("an environment that is champion serves a version, got none")
    return package_pointer(
        record.package,
        record.binding,
        endpoint=downstream_chain(record.group),
        config=f"{state.name} {serves.version}",
        model=serves.version,
        spec_sha256="",
        spec_uri="",
        execution=record.execution,
        since=serves.at,
    )


def _key(state: ServedState) -> tuple[str | None, str, str]:
    return state.via, state.account, state.region


def _state_problems(state: ServedState, now: datetime) -> list[str]:
    problems = [
        f"{name} is {_shown(getattr(state, name))}"
        for name, form in _FORMS.items()
        if (name != "name" or state.hops > 1) and not form.fullmatch(getattr(state, name))
    ]
    if not 1 <= state.hops <= MOST_HOPS:
        problems.append(f"hops is {state.hops}, must be 1 to {MOST_HOPS}")
    if state.sequence < 1 or len(state.rolled_back) > MOST_ROLLED_BACK:
        problems.append(f"record {state.sequence} with {len(state.rolled_back)} versions rolled back")
    for each in state.versions:
        if not (_SHA256.fullmatch(each.model_sha256) and _SHA256.fullmatch(each.binding)):
            problems.append(f"{_shown(each.model_sha256)} and {_shown(each.binding)} are not hashes")
        if not _VERSION.fullmatch(each.version):
            problems.append(f"version is {_shown(each.version)}")
    for text in (state.at, *(each.at for each in state.versions)):
        try:
            ahead = parse_time(text) - now
        except ValueError:
            problems.append(f"{_shown(text)} is not a time")
            continue
        if ahead > NEWEST:
            problems.append(f"{text} is in the future")
    return problems


def _place_problems(state: ServedState, sender: NamedEnvironment, settings: TargetSettings) -> list[str]:
    place = LinkedEnvironment(account=state.account, region=state.region)
    if state.hops == 1:
        return [] if place == sender.place else [f"reports {place.account} {place.region} as its own environment"]
    listed = [each.name for each in settings.targets if each.place == place or each.name == state.name]
    if listed:
        return [f"reports on {listed[0]}, which reports on itself"]
    return ["reports on its own source"] if place == settings.here else []


def _shown(value: object) -> str:
    return repr(value)[:_SHOWN]
