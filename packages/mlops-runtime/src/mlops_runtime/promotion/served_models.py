"""Adapter of the function ``served_models``: stores reports of targets on their live models, and reports to the own source.

A report contains the state of a row, not of an event, and a schedule repeats it, so that a lost event has no lasting effect.
"""

import hashlib
import json
import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from mlops_runtime.contracts import canonical_json, from_dict, from_json, to_dict
from mlops_runtime.contracts.events import BusEvent, DetailType, EventDetail, event_source
from mlops_runtime.contracts.release import ReleaseRecord
from mlops_runtime.contracts.rollout import LivePointer
from mlops_runtime.contracts.served_model import (
    RequestedRetraining,
    RetrainingWish,
    ServedState,
    model_served,
    retraining_wanted,
)
from mlops_runtime.lambda_protocol import Message
from mlops_runtime.promotion.downstream_table import Downstream, DownstreamTable
from mlops_runtime.promotion.environment_link import LinkedEnvironment, release_key
from mlops_runtime.promotion.offer_table import OfferTable
from mlops_runtime.promotion.served_reports import (
    IgnoredReportError,
    KnownReportError,
    TargetEvent,
    TargetSettings,
    bus_event,
    champion_of,
    champion_pointer,
    check_age,
    kept_with,
    reported_state,
    target_event,
    wish_of,
    with_releases,
)
from mlops_runtime.promotion.served_state import LOOK_BACK, own_state, relayed
from mlops_runtime.promotion.stopped_rules import stopped_line, stopped_rules
from mlops_runtime.promotion.target_environment import ServedSettings
from mlops_runtime.refused_calls import Tolerated
from mlops_runtime.registry.package_approval import BusRules
from mlops_runtime.retraining.request_evidence import IN_ALARM, AlarmEvidence
from mlops_runtime.rollout.audit_chain import AuditChain
from mlops_runtime.rollout.deploy_guard import ALARM
from mlops_runtime.rollout.rollout_table import RolloutTable

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_s3 import S3Client

ATTEMPTS = 8  # against other reports at the same time

logger = logging.getLogger(__name__)


class BusyError(Exception):
    """Other reports kept changing the row; the message is redelivered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedHere:
    """The endpoint of the registry's stack, the offers of the source's releases, and the evidence that confirms alarms."""

    endpoint: str
    chain: AuditChain
    offers: OfferTable
    evidence: AlarmEvidence | None = None

    def state(self, here: LinkedEnvironment) -> ServedState | None:
        """Return the endpoint's state for the source."""
        row = self.chain.table.read()
        bindings = {each.package: _binding(each.record_uri) for each in self.offers.offers() if each.package}
        return own_state(row, self.chain.newest(row, LOOK_BACK), bindings=bindings, here=here)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModels:
    """Reports of a registry's targets, and its own reports to its source."""

    s3: "S3Client"
    events: "EventBridgeClient"
    table: DownstreamTable  # known states of targets
    targets: TargetSettings  # targets whose reports count
    settings: ServedSettings  # whether there is a source, and the environment of the champion
    bucket: str  # artifacts bucket, with the releases
    bus: str  # the unit's bus, with a rule that sends to the source
    recheck_rule: str  # ARN of the scheduled rule
    rules: tuple[BusRules, ...]  # the registry's rules, whose state the schedule checks
    served: ServedHere | None = None  # the endpoint here. Default: the registry has no endpoint or no source

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], client: Callable[[str], Any]) -> "ServedModels":
        """Create it from the function's environment variables.

        Args:
            environ: The variables.
            client: Returns the boto3 client of a service name.
        """
        settings, dynamodb = from_json(ServedSettings, environ["SERVED_MODELS"]), client("dynamodb")
        here = LinkedEnvironment(account=environ["ACCOUNT"], region=environ["AWS_REGION"])
        served = None
        if "ENDPOINT" in environ:
            table = RolloutTable(dynamodb, environ["ROLLOUT_TABLE"], environ["ENDPOINT"])
            s3, audit = client("s3"), environ["AUDIT_BUCKET"]
            served = ServedHere(
                endpoint=environ["ENDPOINT"],
                chain=AuditChain(s3=s3, bucket=audit, table=table, heads=""),
                offers=OfferTable(dynamodb, environ["PROMOTIONS_TABLE"]),
                evidence=AlarmEvidence.from_environment(environ, client("cloudwatch"), s3) if settings.alarms else None,
            )
        return cls(
            s3=client("s3"),
            events=client("events"),
            table=DownstreamTable(dynamodb, environ["AUTOMATION_TABLE"], settings.group),
            targets=TargetSettings(unit=environ["UNIT"], group=settings.group, here=here, targets=settings.targets),
            settings=settings,
            bucket=environ["ARTIFACTS_BUCKET"],
            bus=environ["BUS"],
            recheck_rule=environ["RECHECK_RULE"],
            rules=tuple(from_dict(BusRules, each) for each in json.loads(environ["RULES"])),
            served=served,
        )

    def handle(self, message: Message) -> None:
        """Store a target's report, or report to the source; an event without effect is logged.

        Raises:
            BusyError: If other reports kept changing the row.
        """
        try:
            outcome = self._handled(bus_event(message.body), message.sent)
        except IgnoredReportError as ignored:
            _log(message, "IGNORED", str(ignored)[:1000])
            return
        _log(message, "DONE", outcome)

    def _handled(self, event: BusEvent, now: datetime) -> str:
        here = self.targets.here
        if (event.account, event.region) != (here.account, here.region):
            return self._reported(target_event(event, settings=self.targets, now=now), now)
        check_age(event, now)
        if event.source == "aws.events" and self.recheck_rule in (event.resources or ()):
            sent_reports = self._report([*self._own(), *self.table.read().states])
            try:
                requested = self._request_retraining(self.settings.alarms, event.id, now)
            finally:  # also where the alarm is about a model that the source did not release
                self._publish_stopped_rules(now)
            return f"{sent_reports}; {requested}"
        if (event.source, event.detail_type) == ALARM:
            return self._request_retraining(self._fired(event), event.id, now)
        if self.served is not None and self._is_rollout(event, self.served.endpoint):
            return self._report(self._own())
        raise IgnoredReportError(f"{event.detail_type[:100]!r} of {event.source[:100]!r} is not about a served model")

    def _publish_stopped_rules(self, now: datetime) -> None:
        stopped = list(stopped_rules(self.events, self.rules))
        line = stopped_line(stopped, unit=self.targets.unit, group=self.targets.group, now=now)
        sys.stdout.write(f"{line}\n")  # without a log prefix, as CloudWatch only reads metrics from pure JSON

    def _is_rollout(self, event: BusEvent, endpoint: str) -> bool:
        kind = (event.source, event.detail_type, event.detail.get("subject"))
        return kind == (event_source(self.targets.unit), DetailType.ROLLOUT_FINISHED, endpoint)

    def _reported(self, event: TargetEvent, now: datetime) -> str:
        state = self._known(reported_state(event, settings=self.targets, now=now))
        if event.detail_type == DetailType.MODEL_SERVED:
            kept = self._keep(state)
            return f"kept what {kept.name} serves; {self._report([kept])}"
        wish = wish_of(event, state)
        # a request about a model that is no longer live there is stale; one about a known state is not
        with suppress(KnownReportError):
            self._keep(state)
        kept = next(each for each in self.table.read().states if (each.via, each.name) == (state.via, state.name))
        if kept.requested is not None and kept.requested.id == wish.id:
            raise IgnoredReportError(f"{state.name}: request {wish.id[:16]} was answered: {kept.requested.answer}")
        answer = self._pass_on(wish)
        self._note(
            state,
            RequestedRetraining(id=wish.id, at=str(to_dict(now)), alarm=wish.alarm, reason=wish.reason, answer=answer),
        )
        return f"{state.name} requests a retraining: {answer}"

    def _known(self, state: ServedState) -> ServedState:
        releases = {each.binding: record for each in state.versions if (record := self._release(each.binding))}
        return with_releases(state, releases, group=self.targets.group)

    def _pass_on(self, wish: RetrainingWish) -> str:
        """Pass a request to the pipelines here, else to the source in a separate event."""
        if self.settings.pipelines:
            for pipeline in self.settings.pipelines:
                self._put(DetailType.RETRAINING_REQUESTED, _request(pipeline, wish))
            return f"passed to {', '.join(self.settings.pipelines)}"
        if not self.settings.has_source:
            return f"{self.targets.group} has no retraining pipeline here"
        relayed_state = relayed(wish.state)
        if relayed_state is None:
            return "the model was trained here, and there is no retraining pipeline here"
        detail = retraining_wanted(self.targets.group, replace(wish, state=relayed_state))
        self._put(DetailType.RETRAINING_REQUESTED, detail)
        return "reported to the source"

    def _note(self, state: ServedState, request: RequestedRetraining) -> None:
        """Store the answer to a request with the state of its environment; a newer report of the state is kept."""

        def noted(known: Downstream) -> tuple[ServedState, ...]:
            return tuple(
                replace(each, requested=request) if (each.via, each.name) == (state.via, state.name) else each
                for each in known.states
            )

        self._write(noted, "request")

    def _fired(self, event: BusEvent) -> tuple[str, ...]:
        name = str(event.detail.get("alarmName"))
        if name not in self.settings.alarms:
            raise IgnoredReportError(f"alarm {name[:140]!r} requests no retraining here")
        return (name,)

    def _request_retraining(self, names: tuple[str, ...], event_id: str, now: datetime) -> str:
        """Request a retraining from the source if an alarm is in ALARM and the monitor's newest report confirms it."""
        if self.served is None or self.served.evidence is None or not names:
            return "no alarm requests a retraining"
        found = self.served.evidence.read(names, now)
        firing = [name for name in names if found.states.get(name) == IN_ALARM]
        confirmed = [name for name in firing if name not in found.doubts]
        if not confirmed:
            why = "; ".join(f"{name}: {found.doubts[name]}" for name in firing)
            return f"no alarm requests a retraining{': ' if why else ''}{why}"
        states = self._own()
        if not states:
            raise IgnoredReportError(f"{confirmed[0]} is in ALARM, but no release of the source serves")
        here, faults = self.targets.here, "; ".join(found.faults)
        wish = RetrainingWish(
            state=states[0],
            id=hashlib.sha256(f"{here.account}/{here.region}/{event_id}".encode()).hexdigest(),
            alarm=confirmed[0],
            reason=f"in ALARM: {', '.join(confirmed)}",
            faults=faults,
            report=found.report,
        )
        self._put(DetailType.RETRAINING_REQUESTED, retraining_wanted(self.targets.group, wish))
        return f"requested a retraining from the source: {wish.reason}"

    def _keep(self, known: ServedState) -> ServedState:
        states = self._write(lambda before: kept_with(self._listed(before), known), "report")
        return next(each for each in states if (each.via, each.name) == (known.via, known.name))

    def _write(self, follow: Callable[[Downstream], tuple[ServedState, ...]], what: str) -> tuple[ServedState, ...]:
        """Write the states that follow the known ones, and return them."""
        for _ in range(ATTEMPTS):
            before = self.table.read()
            states = follow(before)
            if self.table.move(before.seen, states, self._champion(states)):
                return states
        raise BusyError(
            f"the row of targets of {self.targets.group} changed {ATTEMPTS} times while a {what} was written"
        )

    def _listed(self, known: Downstream) -> list[ServedState]:
        """Return the known states of targets that are still listed, and of environments behind them."""
        names = [each.name for each in self.targets.targets]
        return [each for each in known.states if each.via in names]

    def _champion(self, states: tuple[ServedState, ...]) -> LivePointer | None:
        state = champion_of(states, targets=self.targets.targets, name=self.settings.champion)
        if state is None or state.serves is None:
            return None
        record = self._release(state.serves.binding)
        return None if record is None else champion_pointer(state, record)

    def _release(self, binding: str) -> ReleaseRecord | None:
        key = release_key(group=self.targets.group, binding=binding)
        with Tolerated("NoSuchKey"):
            return from_json(ReleaseRecord, self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read())
        return None

    def _own(self) -> list[ServedState]:
        found = None if self.served is None else self.served.state(self.targets.here)
        return [] if found is None else [found]

    def _report(self, states: list[ServedState]) -> str:
        """Put states on the unit's bus, in the source's terms; a rule sends them to the source."""
        if not self.settings.has_source:
            return "there is no source to report to"
        reported = list(_reportable(states))
        for state in reported:
            self._put(DetailType.MODEL_SERVED, model_served(self.targets.group, state))
        return f"reported {len(reported)} environments to the source"

    def _put(self, detail_type: DetailType, detail: EventDetail) -> None:
        answer = self.events.put_events(
            Entries=[
                {
                    "EventBusName": self.bus,
                    "Source": event_source(self.targets.unit),
                    "DetailType": detail_type.value,
                    "Detail": json.dumps(to_dict(detail)),
                }
            ]
        )
        (entry,) = answer["Entries"]
        if "EventId" not in entry:
            raise BusyError(f"{self.bus} rejected {detail_type}: {entry.get('ErrorCode')}: {entry.get('ErrorMessage')}")


def _request(pipeline: str, wish: RetrainingWish) -> EventDetail:
    attributes = {"environment": wish.state.name, "alarm": wish.alarm, "faults": wish.faults, "report": wish.report}
    return EventDetail(id=wish.id, subject=pipeline, outcome="REQUESTED", reason=wish.reason, attributes=attributes)


def _reportable(states: list[ServedState]) -> Iterator[ServedState]:
    for state in states:
        reported = state if state.via is None else relayed(state)
        if reported is None:
            logger.info(
                canonical_json(
                    {"left": state.name, "reason": "it serves a model that the source did not release"}
                ).decode()
            )
        else:
            yield reported


def _binding(record_uri: str) -> str:
    return record_uri.rpartition("/")[2].removesuffix(".json")


def _log(message: Message, decision: str, what: str) -> None:
    logger.info(json.dumps({"message": message.id, "decision": decision, "what": what}))
