"""Maps a source's events and a schedule to executions of the Promote machine: each offer is stored, started once, and retried.

The content of an event is not trusted: it names a record that the machine copies and checks. Since executions may die, a schedule
starts undecided offers again.
"""

import json
import logging
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from mlops_runtime.contracts import ContractError, from_dict, to_dict
from mlops_runtime.contracts.events import DetailType, EventDetail, event_source
from mlops_runtime.contracts.monitor import metric_namespace
from mlops_runtime.lambda_protocol import Message
from mlops_runtime.promotion.environment_link import LinkedEnvironment
from mlops_runtime.promotion.offer_table import Offer, OfferTable
from mlops_runtime.rollout.event_origin import EVENT_ID, age_problem, read_event
from mlops_runtime.rollout.execution_names import execution_arn, start_once

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient

# EventBridge delivers for a day: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-retry-policy.html
OLDEST = timedelta(hours=25)
CHARACTERS_OF_NAME = 40
# number of offers that were neither taken nor finally refused in time, published with each check of the schedule
OVERDUE_METRIC = "OffersOverdue"
GROUP_DIMENSION = "ModelPackageGroup"
_NAMED = 20  # records that a log line names

_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)

logger = logging.getLogger(__name__)


class IgnoredOfferError(Exception):
    """An event that offers no release; the message states the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferSettings:
    """The source and the model whose offers are accepted."""

    machine_arn: str  # the Promote machine
    unit: str
    group: str  # the package group
    source: LinkedEnvironment  # the source environment, whose events count
    recheck_rule: str  # ARN of the scheduled rule
    max_wait: timedelta  # time after which an open offer is overdue


def overdue_line(offers: Sequence[Offer], *, settings: OfferSettings, now: datetime) -> str:
    """Return the log line that publishes the number of overdue offers in CloudWatch's embedded metric format.

    See: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
    """
    overdue = [each.record_uri for each in offers if each.is_overdue(now, settings.max_wait)]
    records = {"records": overdue[:_NAMED]}
    return count_line(OVERDUE_METRIC, len(overdue), records, unit=settings.unit, group=settings.group, now=now)


def count_line(
    metric: str, count: int, named: Mapping[str, Sequence[str]], *, unit: str, group: str, now: datetime
) -> str:
    """Return the log line that publishes a count of a package group; ``named`` is only logged."""
    directive = {
        "Namespace": metric_namespace(unit),
        "Dimensions": [[GROUP_DIMENSION]],
        "Metrics": [{"Name": metric, "Unit": "Count"}],
    }
    metadata = {"Timestamp": int(now.timestamp() * 1000), "CloudWatchMetrics": [directive]}
    return json.dumps({"_aws": metadata, GROUP_DIMENSION: group, metric: count, **named})


def execution_name(offer: Offer) -> str:
    """Return the name of an offer's execution: one for each attempt."""
    return f"{offer.record_sha256[:CHARACTERS_OF_NAME]}-{offer.attempts}"


def offered(body: str, *, settings: OfferSettings, now: datetime) -> tuple[str, str] | None:
    """Return URI and hash of the record that an event offers; None for an event of the schedule.

    Args:
        body: The message.
        settings: Accepted source and model.
        now: When the queue received the message.

    Raises:
        IgnoredOfferError: If the event is malformed, stale, or of another source, unit or group.
    """
    try:
        event = read_event(body)
        if event.source == "aws.events" and event.resources == (settings.recheck_rule,):
            return None
        detail = from_dict(EventDetail, event.detail)
    except ContractError as error:
        raise IgnoredOfferError(str(error)) from error
    if problem := age_problem(event, now=now, oldest=OLDEST):
        raise IgnoredOfferError(f"{problem}: too old, or in the future")
    found = {
        "source": (event.source, event_source(settings.unit)),
        "detail type": (event.detail_type, DetailType.MODEL_RELEASED.value),
        "account": (event.account, settings.source.account),
        "region": (event.region, settings.source.region),
        "group": (detail.subject, settings.group),
        "outcome": (detail.outcome, "RELEASED"),
    }
    wrong = [
        f"{name} is {str(value)[:100]!r}, not {wanted!r}" for name, (value, wanted) in found.items() if value != wanted
    ]
    if wrong or not EVENT_ID.fullmatch(event.id):
        raise IgnoredOfferError("; ".join(wrong) or "the event's id is malformed")
    attributes = detail.attributes or {}
    uri, sha256 = attributes.get("record_uri", ""), attributes.get("record_sha256", "")
    place = rf"s3://[a-z0-9][a-z0-9.-]{{1,61}}[a-z0-9]/releases/{re.escape(settings.group)}/[0-9a-f]{{64}}\.json"
    if not re.fullmatch(place, uri, re.ASCII) or not _SHA256.fullmatch(sha256):
        raise IgnoredOfferError(
            f"{uri[:200]!r} with SHA-256 {sha256[:100]!r} is not a release record of {settings.group}"
        )
    return uri, sha256


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferGuard:
    """Starts the Promote machine for offers."""

    stepfunctions: "SFNClient"
    table: OfferTable
    settings: OfferSettings  # accepted source and model

    def handle(self, message: Message) -> list[str]:
        """Start the execution of an offer, once, or on schedule those of all open offers; return their ARNs."""
        at = str(to_dict(message.sent))
        try:
            found = offered(message.body, settings=self.settings, now=message.sent)
        except IgnoredOfferError as ignored:
            logger.info(json.dumps({"message": message.id, "decision": "IGNORED", "reason": str(ignored)[:1000]}))
            return []
        if found is None:
            offers = list(self.table.offers())
            # CloudWatch only reads metrics from a line of pure JSON, without a log prefix
            sys.stdout.write(f"{overdue_line(offers, settings=self.settings, now=message.sent)}\n")
            started = [arn for offer in offers if (arn := self._again(offer, at)) is not None]
        else:
            offer = self.table.offer(*found, at)
            # a repeated event finds its execution already started, and changes no decision
            started = [self._start(offer)] if offer.state == "OFFERED" else []
        logger.info(
            json.dumps({"message": message.id, "decision": "STARTED" if started else "LEFT", "executions": started})
        )
        return started

    def _again(self, offer: Offer, at: str) -> str | None:
        if not offer.is_open or self._runs(offer):
            return None
        if not self.table.again(offer, at):
            return None
        current = self.table.read(offer.record_sha256)
        return None if current is None else self._start(current)

    def _runs(self, offer: Offer) -> bool:
        arn = execution_arn(self.settings.machine_arn, execution_name(offer))
        try:
            return self.stepfunctions.describe_execution(executionArn=arn)["status"] == "RUNNING"
        except self.stepfunctions.exceptions.ExecutionDoesNotExist:
            return False

    def _start(self, offer: Offer) -> str:
        request = {"record_uri": offer.record_uri, "record_sha256": offer.record_sha256}
        return start_once(self.stepfunctions, self.settings.machine_arn, execution_name(offer), request)
