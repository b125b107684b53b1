"""Two deployed accounts; the attacker controls the source's objects, registry and bus.

The attacker imitates the source's Release machine and goes beyond it. The schedules of both sides are disabled, so that
all effects are those of the attack.
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, timedelta
from pathlib import Path
from typing import Any

from tests.campaign.faults.control import put_faults
from tests.examples import models
from tests.examples.test_two_accounts import BUILD, GROUP, MODEL, STAGING, UNIT, Accounts, synthesize
from tests.released import Released, release

from mlops_local.cloud import Cloud
from mlops_runtime.business_unit.deployed_chain import open_chain, public_key_of
from mlops_runtime.business_unit.deployed_entries import Entries
from mlops_runtime.contracts.events import DetailType, event_source, model_released
from mlops_runtime.contracts.rollout import AuditRecord
from mlops_runtime.promotion.environment_link import inbox_arn, promotions_chain
from mlops_runtime.promotion.offer_table import Offer

OTHER = "333333333333"
INBOX = inbox_arn(unit=UNIT, model=MODEL, environment=STAGING.linked)
_FOLDERS = tuple(f"{folder}/{GROUP}/" for folder in ("models", "evaluations", "gates"))
_HELD = timedelta(minutes=30)  # embedded time; half a real minute, which the clock jumps over


@dataclass(frozen=True, kw_only=True)
class Record:
    """The bytes of a record, and their location."""

    content: bytes
    bucket: str
    key: str

    @property
    def uri(self) -> str:
        """S3 URI of the record."""
        return f"s3://{self.bucket}/{self.key}"

    @property
    def sha256(self) -> str:
        """SHA-256 of the bytes."""
        return hashlib.sha256(self.content).hexdigest()


class Besieged:
    """Both accounts, the attacker's actions in the source, and the target's state.

    Args:
        cloud: The embedded cloud, with four accounts.
        folder: Folder of the assembly.
    """

    def __init__(self, cloud: Cloud, folder: Path) -> None:
        self.accounts, self.cloud = Accounts(cloud, synthesize(folder)), cloud
        self.build, self.staging = self.accounts.build, self.accounts.staging
        self.bucket, self.own = self.accounts.source["ArtifactsBucket"], self.accounts.target["ArtifactsBucket"]
        self.offers, self.loop, self.number, self.versions = self.accounts.offers, self.accounts.loop, 0, 0
        for place in (self.build, self.staging):
            events = place.client("events")
            for rule in events.list_rules()["Rules"]:
                if "ScheduleExpression" in rule or place is self.build:
                    events.disable_rule(Name=rule["Name"])
        self._s3, self._sagemaker = self.build.client("s3"), self.build.client("sagemaker")
        self._queues = self.staging.client("sqs")

    # the attacker's actions

    def claim(self, **options: Any) -> Released:
        """Return a release like the source's, without writing it."""
        self.number += 1
        factor = options.pop("factor", 100.0 + self.number)
        archive, model_sha256 = models.archive(factor)
        at = options.pop("released_at", None) or self.accounts.now().astimezone(UTC).isoformat()
        arguments = {"version": self.versions + 1, "bucket": self.bucket, **options}
        return release(
            archive=archive,
            model_sha256=model_sha256,
            unit=UNIT,
            model=MODEL,
            source=BUILD.linked,
            execution=f"run-{self.number}",
            released_at=at,
            **arguments,
        )

    def forge(self, *, status: str = "Approved", approval: str | None = None, **options: Any) -> Released:
        """Write and register a release whose package is approved in the source, without a record."""
        released = self.claim(is_signed=False, **options)
        for key, content in released.objects.items():
            self.put(key, content)
        self.versions += 1
        arn = self._sagemaker.create_model_package(**released.request)["ModelPackageArn"]
        assert arn == released.record.package.package_arn
        if status != "PendingManualApproval":
            self.decide(arn, status, released.record.approval if approval is None else approval)
            reported = self._sagemaker.describe_model_package(ModelPackageName=arn)
            return released.changed(approved_by=reported["LastModifiedBy"]["IamIdentity"]["Arn"])
        return released

    def decide(self, package: str, status: str, words: str) -> None:
        """Set the status of a package of the source."""
        self._sagemaker.update_model_package(
            ModelPackageArn=package, ModelApprovalStatus=status, ApprovalDescription=words
        )

    def put(self, key: str, content: bytes, **arguments: Any) -> None:
        """Write an object of the source, with S3's checksum."""
        self._s3.put_object(Bucket=self.bucket, Key=key, Body=content, **({"ChecksumAlgorithm": "SHA256"} | arguments))

    def delete(self, key: str) -> None:
        """Delete an object of the source."""
        self._s3.delete_object(Bucket=self.bucket, Key=key)

    def raw(self, content: bytes, *, key: str | None = None) -> Record:
        """Write bytes as a record, and offer them."""
        self.number += 1
        binding = hashlib.sha256(f"raw {self.number}".encode()).hexdigest()
        record = Record(content=content, bucket=self.bucket, key=key or f"releases/{GROUP}/{binding}.json")
        self.put(record.key, content)
        self.announce(record)
        return record

    def offer(self, released: Released) -> Released:
        """Write the record of a release, and offer it."""
        self.put(released.key, released.content)
        self.announce(released)
        return released

    def announce(self, offered: Released | Record, **entry: Any) -> None:
        """Put the event of a release on the source's own bus, as its machine does, or on another bus."""
        detail = model_released(GROUP, record_uri=offered.uri, record_sha256=offered.sha256)
        reported = {
            "id": detail.id,
            "subject": detail.subject,
            "outcome": detail.outcome,
            "attributes": dict(detail.attributes),
            "version": detail.version,
        }
        changes = entry.pop("detail", {})
        self.send(
            self.build.client("events"),
            {
                "EventBusName": self.accounts.source["EventBus"],
                "Source": event_source(UNIT),
                "DetailType": DetailType.MODEL_RELEASED.value,
                "Detail": json.dumps(reported | changes),
                **entry,
            },
        )

    def send(self, client: Any, entry: dict[str, Any]) -> str:
        """Put an event; return EventBridge's error."""
        return str(client.put_events(Entries=[entry])["Entries"][0].get("ErrorMessage", ""))

    def deliver(self, body: str) -> None:
        """Send a message to the guard's queue."""
        self._queues.send_message(QueueUrl=self.accounts.target["OffersQueue"], MessageBody=body)

    @contextmanager
    def held(self, state: str, match: str = "") -> Iterator[Callable[[], None]]:
        """Hold the next execution before a task's call until the block ends; yields a function that waits until it is held.

        The call then fails once and is retried, like a throttled call.
        """
        integration = {
            "FindImage": "ecr:describeImages",
            "Copy": "s3:copyObject",
            "Register": "sagemaker:createModelPackage",
            "Decide": "lambda:invoke",
            "Approve": "sagemaker:updateModelPackage",
        }
        fault = {"integration": integration[state], "state": state, "match": match, "error": "S3.S3Exception"}
        put_faults(self.cloud, fault | {"cause": "slow down", "seconds": _HELD.total_seconds()})

        def reached() -> None:
            self.until(lambda: self.cloud.call("/_mlops/faults")[0]["met"])

        try:
            yield reached
        finally:
            self.cloud.clock_jump(by=_HELD)
            put_faults(self.cloud)

    def start(self, offered: Released | Record) -> str:
        """Start the Promote machine manually as the root of the target; return the execution."""
        requested = {"record_uri": offered.uri, "record_sha256": offered.sha256}
        machine = self.accounts.target["PromoteMachineArn"]
        started = self.staging.client("stepfunctions").start_execution(
            stateMachineArn=machine, input=json.dumps(requested)
        )
        return str(started["executionArn"])

    # the target's state

    def decided(self, offered: Released | Record) -> Offer:
        """Return the result of an offer, once it is decided and nothing runs any more."""

        def done() -> Offer | None:
            offer = self.offers.read(offered.sha256)
            return None if offer is None or offer.state == "OFFERED" else offer

        self.until(done)
        self.loop.wait_idle("PromoteMachineArn")
        offer = done()
        assert offer is not None
        return offer

    def quiet(self) -> None:
        """Wait until the guard has processed all deliveries, and nothing runs."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]

        def empty() -> bool:
            url = self.accounts.target["OffersQueue"]
            found = self._queues.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
            return not any(int(found[name]) for name in names)

        self.until(empty)
        self.loop.wait_idle("PromoteMachineArn")

    def packages(self) -> dict[str, str]:
        """Return the status of every package of the target."""
        found = self.loop.sagemaker.list_model_packages(ModelPackageGroupName=GROUP, MaxResults=100)
        return {each["ModelPackageArn"]: each["ModelApprovalStatus"] for each in found["ModelPackageSummaryList"]}

    def kept(self) -> set[str]:
        """Return the keys of served objects."""
        found = self.loop.s3.list_objects_v2(Bucket=self.own).get("Contents", [])
        return {each["Key"] for each in found if each["Key"].startswith(_FOLDERS)}

    def chain(self) -> tuple[list[AuditRecord], list[str]]:
        """Return the target's audit records of promotions, and the problems of their chain."""
        client = self.staging.client
        entry = Entries(ssm=client("ssm")).chain(promotions_chain(GROUP))
        chain = open_chain(client, entry)
        return chain.newest(chain.table.read(), 1000), chain.problems(public_key_of(client, entry).is_signed)

    @staticmethod
    def until(look: Callable[[], Any], seconds: float = 60.0) -> Any:
        """Call a function until its result is true."""
        deadline = time.monotonic() + seconds
        while not (found := look()):
            assert time.monotonic() < deadline, f"nothing after {seconds} s"
            time.sleep(0.05)
        return found
