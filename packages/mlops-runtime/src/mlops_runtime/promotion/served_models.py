"""Adapter of ``served_models``: keeps what targets say that they serve, and tells the own source what is served here and behind.

A report is the state of a row, not the content of an event; a schedule repeats it, so that a lost event is made up for.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from mlops_runtime.contracts import canonical_json, from_json, to_dict
from mlops_runtime.contracts.events import BusEvent, DetailType, EventDetail, event_source
from mlops_runtime.contracts.release import ReleaseRecord
from mlops_runtime.contracts.rollout import LivePointer
from mlops_runtime.contracts.served_model import (
    AskedRetraining,
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
from mlops_runtime.promotion.target_environment import ServedSettings
from mlops_runtime.retraining.alarm_evidence import RINGS, AlarmEvidence
from mlops_runtime.rollout.audit_chain import AuditChain
from mlops_runtime.rollout.deploy_guard import ALARM
from mlops_runtime.rollout.rollout_table import RolloutTable

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_s3 import S3Client

ATTEMPTS = 8  # against other reports at the same time

logger = logging.getLogger(__name__)


class BusyError(Exception):
    """Other reports moved the row again and again; the message comes again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedHere:
    """The endpoint of the registry's stack, the offers by which the source's releases are known, and what confirms alarms."""

    endpoint: str
    chain: AuditChain
    offers: OfferTable
    evidence: AlarmEvidence | None = None

    def state(self, here: LinkedEnvironment) -> ServedState | None:
        """Return what the endpoint serves."""
        row = self.chain.table.read()
        bindings = {each.package: _binding(each.record_uri) for each in self.offers.offers() if each.package}
        return own_state(row, self.chain.newest(row, LOOK_BACK), bindings=bindings, here=here)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModels:
    """What one registry knows of its targets and tells its source.

    Args:
        s3: Client.
        events: Client.
        table: What targets serve.
        targets: Whose reports count.
        settings: Whether there is a source, and whose model is the champion.
        bucket: Artifacts bucket, with the releases.
        bus: The unit's bus, whose rule sends to the source.
        recheck_rule: ARN of the schedule's rule.
        served: The endpoint here. Default: the registry has none, or no source.
    """

    s3: "S3Client"
    events: "EventBridgeClient"
    table: DownstreamTable
    targets: TargetSettings
    settings: ServedSettings
    bucket: str
    bus: str
    recheck_rule: str
    served: ServedHere | None = None

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], client: Callable[[str], Any]) -> "ServedModels":
        """Read from the variables that the registry gives to the function.

        Args:
            environ: The variables.
            client: Gives a boto3 client by service name.
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
            served=served,
        )

    def handle(self, message: Message) -> None:
        """Keep what a target says, or tell the source what is served; what changes nothing is logged by name.

        Raises:
            BusyError: If other reports were kept all the time.
        """
        try:
            said = self._handled(bus_event(message.body), message.sent)
        except IgnoredReportError as ignored:
            _log(message, "IGNORED", str(ignored)[:1000])
            return
        _log(message, "DONE", said)

    def _handled(self, event: BusEvent, now: datetime) -> str:
        here = self.targets.here
        if (event.account, event.region) != (here.account, here.region):
            return self._reported(target_event(event, settings=self.targets, now=now), now)
        check_age(event, now)
        if event.source == "aws.events" and self.recheck_rule in (event.resources or ()):
            told = self._tell([*self._own(), *self.table.read().states])
            return f"{told}; {self._ask(self.settings.alarms, event.id, now)}"
        if (event.source, event.detail_type) == ALARM:
            return self._ask(self._fired(event), event.id, now)
        if self.served is not None and self._is_rollout(event, self.served.endpoint):
            return self._tell(self._own())
        raise IgnoredReportError(
            f"{event.detail_type[:100]!r} of {event.source[:100]!r} says nothing of what is served"
        )

    def _is_rollout(self, event: BusEvent, endpoint: str) -> bool:
        kind = (event.source, event.detail_type, event.detail.get("subject"))
        return kind == (event_source(self.targets.unit), DetailType.ROLLOUT_FINISHED, endpoint)

    def _reported(self, event: TargetEvent, now: datetime) -> str:
        state = self._known(reported_state(event, settings=self.targets, now=now))
        if event.detail_type == DetailType.MODEL_SERVED:
            kept = self._keep(state)
            return f"kept what {kept.name} serves; {self._tell([kept])}"
        wish = wish_of(event, state)
        # a request about a model that does not serve there any more is stale; one about what is known is not
        with suppress(KnownReportError):
            self._keep(state)
        kept = next(each for each in self.table.read().states if (each.via, each.name) == (state.via, state.name))
        if kept.asked is not None and kept.asked.id == wish.id:
            raise IgnoredReportError(f"{state.name}: request {wish.id[:16]} was answered: {kept.asked.answer}")
        answer = self._pass_on(wish)
        self._note(
            state,
            AskedRetraining(id=wish.id, at=str(to_dict(now)), alarm=wish.alarm, reason=wish.reason, answer=answer),
        )
        return f"{state.name} asks for a retraining: {answer}"

    def _known(self, state: ServedState) -> ServedState:
        releases = {each.binding: record for each in state.versions if (record := self._release(each.binding))}
        return with_releases(state, releases, group=self.targets.group)

    def _pass_on(self, wish: RetrainingWish) -> str:
        """Hand a request to the pipelines here, else to the source in an event of its own."""
        if self.settings.pipelines:
            for pipeline in self.settings.pipelines:
                self._put(DetailType.RETRAINING_REQUESTED, _request(pipeline, wish))
            return f"handed to {', '.join(self.settings.pipelines)}"
        if not self.settings.has_source:
            return f"{self.targets.group} has no retraining pipeline here"
        told = relayed(wish.state)
        if told is None:
            return "the model was made here, and no retraining pipeline is here"
        detail = retraining_wanted(self.targets.group, replace(wish, state=told))
        self._put(DetailType.RETRAINING_REQUESTED, detail)
        return "reported to the source"

    def _note(self, state: ServedState, asked: AskedRetraining) -> None:
        """Keep what became of a request beside the version that serves there; a newer report of that stays."""
        for _ in range(ATTEMPTS):
            before = self.table.read()
            states = tuple(
                replace(each, asked=asked) if (each.via, each.name) == (state.via, state.name) else each
                for each in before.states
            )
            if self.table.move(before.seen, states, self._champion(states)):
                return
        raise BusyError(f"what targets of {self.targets.group} asked for moved {ATTEMPTS} times while it was kept")

    def _fired(self, event: BusEvent) -> tuple[str, ...]:
        name = str(event.detail.get("alarmName"))
        if name not in self.settings.alarms:
            raise IgnoredReportError(f"alarm {name[:140]!r} asks for no retraining here")
        return (name,)

    def _ask(self, names: tuple[str, ...], event_id: str, now: datetime) -> str:
        """Ask the source for a retraining where an alarm is in ALARM and the monitor's newest report confirms it."""
        if self.served is None or self.served.evidence is None or not names:
            return "no alarm asks"
        found = self.served.evidence.read(names, now)
        ringing = [name for name in names if found.states.get(name) == RINGS]
        confirmed = [name for name in ringing if name not in found.doubts]
        if not confirmed:
            why = "; ".join(f"{name}: {found.doubts[name]}" for name in ringing)
            return f"no alarm asks{': ' if why else ''}{why}"
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
        return f"asked the source for a retraining: {wish.reason}"

    def _keep(self, known: ServedState) -> ServedState:
        for _ in range(ATTEMPTS):
            before = self.table.read()
            states = kept_with(self._listed(before), known)
            if self.table.move(before.seen, states, self._champion(states)):
                return next(each for each in states if (each.via, each.name) == (known.via, known.name))
        raise BusyError(f"what targets of {self.targets.group} serve moved {ATTEMPTS} times while it was kept")

    def _listed(self, known: Downstream) -> list[ServedState]:
        """Return what is known of targets that are still listed, and behind them."""
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
        try:
            content = self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read()
        except ClientError as error:
            if error.response["Error"]["Code"] != "NoSuchKey":
                raise
            return None
        return from_json(ReleaseRecord, content)

    def _own(self) -> list[ServedState]:
        found = None if self.served is None else self.served.state(self.targets.here)
        return [] if found is None else [found]

    def _tell(self, states: list[ServedState]) -> str:
        """Put what is served on the unit's bus, as the source knows it; a rule sends it there."""
        if not self.settings.has_source:
            return "there is no source to tell"
        told = list(_told(states))
        for state in told:
            self._put(DetailType.MODEL_SERVED, model_served(self.targets.group, state))
        return f"told the source of {len(told)} environments"

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
            raise BusyError(
                f"{self.bus} did not take {detail_type}: {entry.get('ErrorCode')}: {entry.get('ErrorMessage')}"
            )


def _request(pipeline: str, wish: RetrainingWish) -> EventDetail:
    attributes = {
        "environment": wish.state.name,
        "alarm": wish.alarm,
        "faults": wish.faults,
        "report": wish.report,
    }
    return EventDetail(id=wish.id, subject=pipeline, outcome="REQUESTED", reason=wish.reason, attributes=attributes)


def _told(states: list[ServedState]) -> Iterator[ServedState]:
    for state in states:
        told = state if state.via is None else relayed(state)
        if told is None:
            logger.info(
                canonical_json({"left": state.name, "reason": "it serves what the source did not release"}).decode()
            )
        else:
            yield told


def _binding(record_uri: str) -> str:
    return record_uri.rpartition("/")[2].removesuffix(".json")


def _log(message: Message, decision: str, what: str) -> None:
    logger.info(json.dumps({"message": message.id, "decision": decision, "what": what}))
