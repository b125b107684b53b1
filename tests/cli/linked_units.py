"""One unit in two accounts of an embedded cloud: one releases versions, the other receives them."""

from dataclasses import replace
from typing import Any

from tests.cli.deployed_unit import DeployedUnit
from tests.released import release

from mlops_local.cloud import Cloud
from mlops_runtime.contracts import canonical_json, content_hash
from mlops_runtime.contracts.rollout import AuditRecord, Outcome
from mlops_runtime.contracts.served_model import ServedState
from mlops_runtime.promotion.downstream_table import DownstreamTable
from mlops_runtime.promotion.environment_link import LinkedEnvironment, NamedEnvironment, promotions_chain
from mlops_runtime.promotion.offer_table import OfferTable
from mlops_runtime.registry.package_approval import (
    ApprovalRule,
    BusRules,
    RegistryEntry,
    RegistryInbox,
    registry_parameter,
)
from mlops_runtime.rollout.audit_chain import GENESIS, AuditChain, Move
from mlops_runtime.rollout.rollout_table import RolloutTable

SOURCE = LinkedEnvironment(account="111111111111", region="us-east-1")
TARGET = LinkedEnvironment(account="222222222222", region="us-east-1")
PROFILES = {"source": f"mlops-{SOURCE.account}", "target": f"mlops-{TARGET.account}"}


class LinkedUnits:
    """Both accounts, with methods that imitate their machines; ``name`` is the unit's in both."""

    def __init__(self, cloud: Cloud, name: str) -> None:
        self.group = f"{name}-forecast"
        self.source, self.target = (
            DeployedUnit(cloud.at(each.account, each.region), name, buckets=f"{name}-{each.account}")
            for each in (SOURCE, TARGET)
        )
        self.here = cloud.at(TARGET.account, TARGET.region)
        self.releases = f"{name}-releases"
        self.source.s3.create_bucket(Bucket=self.releases)
        self.source.publish(replace(self.source.unit_entry, artifacts_bucket=self.releases))
        table = f"{name}-promotions"
        self._make_table(self.target, table)
        self.offers = OfferTable(self.target.dynamodb, table)
        row = RolloutTable(self.target.dynamodb, table, promotions_chain(self.group))
        self.promotions = replace(self.target.chain, table=row)
        staging = NamedEnvironment(name="staging", account=TARGET.account, region=TARGET.region)
        self._publish(self.source, releases=self.group, targets=(staging,))
        self._publish(
            self.target, inbox=RegistryInbox(table=table, source=SOURCE, source_name="build", max_wait_seconds=21600)
        )

    def release(self, version: int, **changes: str) -> AuditRecord:
        """Release a version: audit record and object, whose record may differ."""
        record = self._append(self.source.chain, Outcome.RELEASED, version)
        found = release(
            version=version, unit=self.source.name, source=SOURCE, released_at=f"2017-08-01T0{version}:00:00Z"
        )
        found = found.changed(
            audit_chain=self.group, audit_sequence=record.sequence, audit_hash=content_hash(record), **changes
        )
        self.source.s3.put_object(Bucket=self.releases, Key=f"releases/{self.group}/{version}.json", Body=found.content)
        return record

    def take(self, version: int, source_record: str) -> None:
        """Receive a release: offer and audit record."""
        sha256, at = f"{version:064d}", f"2017-08-01T0{version}:05:00Z"
        self.offers.offer(f"s3://theirs/releases/{self.group}/{sha256}.json", sha256, at)
        theirs = SOURCE.arn("sagemaker", f"model-package/{self.group}/{version}")
        self.offers.decide(
            sha256,
            state="REFUSED",
            reason="the image is missing",
            package="",
            may_pass=True,
            at=at,
            source_package=theirs,
        )
        self._append(self.promotions, Outcome.REGISTERED, version, source_record=source_record)

    def take_from_each_other(self) -> None:
        """Let the source receive versions from the target too, without a record of their release."""
        table = f"{self.source.name}-promotions"
        self._make_table(self.source, table)
        back = RegistryInbox(table=table, source=TARGET, source_name="staging", max_wait_seconds=21600)
        self._publish(self.source, releases=self.group, inbox=back)
        there = RegistryInbox(table=self.offers.table, source=SOURCE, source_name="build", max_wait_seconds=21600)
        self._publish(self.target, releases=self.group, inbox=there)

    def stop(self) -> str:
        """Disable a rule for the target's offers and delete another; return the first one's bus."""
        events, bus = self.here.client("events"), f"{self.group}-inbox"
        events.create_event_bus(Name=bus)
        events.put_rule(
            Name="offers",
            EventBusName=bus,
            State="DISABLED",
            EventPattern='{"source": ["a"]}',
            Description="What build offers",
        )
        inbox = RegistryInbox(table=self.offers.table, source=SOURCE, source_name="build", max_wait_seconds=21600)
        self._publish(self.target, inbox=inbox, rules=(BusRules(bus=bus, names=("offers",)), BusRules(names=("gone",))))
        return bus

    @staticmethod
    def _make_table(unit: DeployedUnit, name: str) -> None:
        unit.dynamodb.create_table(
            TableName=name,
            AttributeDefinitions=[{"AttributeName": "endpoint", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "endpoint", "KeyType": "HASH"}],
            BillingMode="PAY_PER_REQUEST",
        )

    def report(self, state: ServedState) -> None:
        """Store a target's report about the model it serves."""
        table = DownstreamTable(self.source.dynamodb, self.source.unit_entry.automation_table, self.group)
        assert table.move(None, [state], None)

    def _append(self, chain: AuditChain, outcome: Outcome, version: int, **more: Any) -> AuditRecord:
        def follow(row: Any) -> Move:
            return Move(
                record=AuditRecord(
                    endpoint=row.endpoint,
                    sequence=row.audit_sequence + 1,
                    previous=row.audit_head or GENESIS,
                    outcome=outcome,
                    reason="as asked",
                    execution=f"arn:one:{version}",
                    at=f"2017-08-01T0{version}:00:00Z",
                    requested_by="build",
                    model_sha256=f"{version:064x}",
                    **more,
                )
            )

        return chain.append(follow)

    @staticmethod
    def _publish(unit: DeployedUnit, **more: Any) -> None:
        entry = RegistryEntry(group=unit.endpoint, unit=unit.name, rule=ApprovalRule(), **more)
        unit.cloud.client("ssm").put_parameter(
            Name=registry_parameter(unit=unit.name, group=unit.endpoint),
            Value=canonical_json(entry).decode(),
            Type="String",
            Overwrite=True,
        )
