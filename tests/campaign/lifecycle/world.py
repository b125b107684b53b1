"""The lifecycle of one stack on a cloud: created, failing, changed, failing, deleted, failing, created again."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from examples.retail.demo_eks import create_cluster
from tests.campaign.lifecycle.answers import Call, calls, overdue
from tests.campaign.lifecycle.assemblies import put_ids, resources, synthesize
from tests.campaign.lifecycle.cells import CREATE, UPDATE, Cell
from tests.campaign.lifecycle.changes import changed_property
from tests.campaign.lifecycle.inventory import inventory
from tests.campaign.lifecycle.settings import differences, settings

from mlops_constructs import Profile
from mlops_local.cloud import Cloud
from mlops_local.stacks import deployer
from mlops_local.stacks.deployer import DeployError, ResourceEvent

LONGEST = 600.0  # embedded seconds of one operation: less than the shortest ServiceTimeout, which shows that none was waited for
UNTOUCHED = "no property of this type updates"
CAUSE = "a fault of the campaign"
_SHOWN_GROUP = "sg-0123456789abcdef0"


@dataclass
class Operation:
    """Result of one operation."""

    status: str
    seconds: float
    events: list[ResourceEvent] = field(default_factory=list)

    def causes(self) -> list[ResourceEvent]:
        """Events of resources that failed by themselves."""
        return [event for event in self.events if event.failed and event.resource_type != "AWS::CloudFormation::Stack"]


class Lifecycle:
    """The cloud, one stack on it in one profile, and whether it is deployed."""

    def __init__(self, cloud: Cloud, folder: Path, stack: str, profile: str) -> None:
        self.cloud, self.stack, self.profile = cloud, stack, Profile(profile)
        name = f"{stack}-{profile}"
        self.plain = synthesize(folder / name, stack, self.profile)
        self.changed = synthesize(folder / f"{name}-changed", stack, self.profile, changed=True)
        if stack == "FirstService":
            made = create_cluster(cloud, "retail")
            for assembly in (self.plain, self.changed):
                put_ids(assembly, {_SHOWN_GROUP: made.security_group_id})
        deployer.bootstrap(cloud)
        self._is_deployed = self._met = False
        self._calls: list[Call] = []
        self._kept: set[str] = set()
        # a cell starts with the resources at the end of the one before, so that leftovers are one cell's problem only
        self._empty: frozenset[str] | None = None
        self._settled: dict[str, str] | None = None

    def resources(self) -> dict[str, dict[str, Any]]:
        """The template's resources."""
        return resources(self.plain, self.stack)

    def run(self, cell: Cell) -> dict[str, Any]:
        """Run a cell; return its problems."""
        begun = time.monotonic()
        problems: list[str] = []
        self._calls.clear()
        self._kept.clear()
        outcome = {CREATE: self._create, UPDATE: self._update}.get(cell.case, self._delete)(cell, problems)
        return {
            "key": cell.key,
            "stack": cell.stack,
            "profile": cell.profile,
            "case": cell.case,
            "kind": cell.kind,
            "outcome": outcome,
            "problems": problems,
            "property": changed_property(cell.kind) if cell.case == UPDATE else None,
            "kept": sorted(self._kept),
            "calls": len(self._calls),
            "longest": max((round(call.share, 3) for call in self._calls), default=0.0),
            "seconds": round(time.monotonic() - begun, 1),
        }

    def finish(self) -> list[str]:
        """Deploy without a fault, and delete: both succeed, and nothing unnamed is left."""
        problems: list[str] = []
        self._ensure_deployed(problems)
        self._destroy(problems)
        return problems

    def _create(self, cell: Cell, problems: list[str]) -> str:
        if self._is_deployed:
            self._destroy(problems)
        before = self._emptiness()
        failed = self._operate("create", cell, self.plain)
        self._check(failed, cell, problems)
        kept = _named(failed, "DELETE_FAILED")
        if failed.status == "ROLLBACK_FAILED" and kept and self.profile is Profile.PRODUCTION:
            self._kept.update(e.logical_id for e in failed.events if e.status == "DELETE_FAILED")
            odd = [e for e in failed.events if e.status == "DELETE_FAILED" and not _may_stay(e)]
            problems += [f"the rollback could not delete {event.logical_id}: {event.reason}" for event in odd]
        elif failed.status != "ROLLBACK_COMPLETE":
            problems.append(f"the creation ended as {failed.status}")
        deletion = self._delete_stack()
        if deletion.status != "DELETE_COMPLETE":
            problems.append(f"the failed stack's deletion ended as {deletion.status}")
        self._check_left(before, [*failed.events, *deletion.events], problems)
        return failed.status

    def _update(self, cell: Cell, problems: list[str]) -> str:
        self._ensure_deployed(problems)
        if not self._is_deployed:
            return "not deployed"
        before = settings(self.cloud) if self._settled is None else self._settled
        failed = self._operate("update", cell, self.changed)
        if changed_property(cell.kind) is None:
            self._expect(failed, "UPDATE_COMPLETE", problems)
            self._expect(self._deploy(self.plain), "UPDATE_COMPLETE", problems)
            problems += [f"an update and its reversal {found}" for found in self._differences(before)]
            return UNTOUCHED
        self._check(failed, cell, problems)
        if not self._met:
            problems.append(f"the update never reached {cell.target}")
        if failed.status != "UPDATE_ROLLBACK_COMPLETE":
            problems.append(f"the update ended as {failed.status}")
        problems += [f"the failed update {found}" for found in self._differences(before)]
        return failed.status

    def _delete(self, cell: Cell, problems: list[str]) -> str:
        self._ensure_deployed(problems)
        if not self._is_deployed:
            return "not deployed"
        self._put_fault("delete", cell)
        failed = self._delete_stack()
        met = self._end_fault()
        self._check_time(failed, problems)
        if met:
            if failed.status != "DELETE_FAILED":
                problems.append(f"the deletion ended as {failed.status}")
            again = self._delete_stack()
            self._check_time(again, problems)
        else:
            again = failed
        self._is_deployed = False
        if again.status != "DELETE_COMPLETE":
            causes = "; ".join(f"{e.logical_id}: {e.reason}" for e in again.causes())
            problems.append(f"the {'second ' if met else ''}deletion ended as {again.status}: {causes}")
        self._check_left(self._emptiness(), [*failed.events, *again.events], problems)
        self._give_up_names()
        return f"{failed.status}, {again.status}" if met else "kept"

    def _ensure_deployed(self, problems: list[str]) -> None:
        if self._is_deployed:
            return
        self._emptiness()
        self._settled = None
        made = self._deploy(self.plain)
        self._expect(made, "CREATE_COMPLETE", problems)
        self._is_deployed = made.status == "CREATE_COMPLETE"

    def _destroy(self, problems: list[str]) -> None:
        if not self._is_deployed:
            return
        deletion = self._delete_stack()
        self._is_deployed = False
        self._expect(deletion, "DELETE_COMPLETE", problems)
        self._check_left(self._emptiness(), deletion.events, problems)
        self._give_up_names()

    def _emptiness(self) -> frozenset[str]:
        """Resources that exist without the stack."""
        if self._empty is None:
            self._empty = inventory(self.cloud)
        return self._empty

    def _differences(self, before: dict[str, str]) -> list[str]:
        self._settled = settings(self.cloud)
        return differences(before, self._settled)

    def _operate(self, operation: str, cell: Cell, assembly: Path) -> Operation:
        self._put_fault(operation, cell)
        done = self._deploy(assembly)
        self._met = self._end_fault()
        return done

    def _deploy(self, assembly: Path) -> Operation:
        events: list[ResourceEvent] = []
        before = self.cloud.clock()["epoch"]
        try:
            deployer.deploy(self.cloud, assembly, [self.stack], on_event=events.append)
            status = next((e.status for e in reversed(events) if e.logical_id == self.stack), "no changes")
        except DeployError as error:
            status = error.status
            if not events:
                events += [ResourceEvent(self.stack, self.stack, "none", "NOT_STARTED_FAILED", str(error))]
        return Operation(status, self.cloud.clock()["epoch"] - before, events)

    def _delete_stack(self) -> Operation:
        events: list[ResourceEvent] = []
        before = self.cloud.clock()["epoch"]
        try:
            deployer.destroy(self.cloud, self.plain, [self.stack], on_event=events.append)
            status = "DELETE_COMPLETE"
        except DeployError as error:
            status = error.status
        return Operation(status, self.cloud.clock()["epoch"] - before, events)

    def _check(self, operation: Operation, cell: Cell, problems: list[str]) -> None:
        """The fault is the only cause, and nothing waited for a timeout."""
        self._check_time(operation, problems)
        forward = [event for event in operation.causes() if not event.status.startswith("DELETE_")]
        others = [event for event in forward if not (event.logical_id == cell.target and CAUSE in event.reason)]
        problems += [f"{event.logical_id} failed too: {event.reason}" for event in others]
        if len(forward) == len(others):
            problems.append(f"the fault at {cell.target} was not the cause: {operation.status}")

    def _check_time(self, operation: Operation, problems: list[str]) -> None:
        made = calls(operation.events, self.resources())
        self._calls += made
        problems += overdue(made)
        if operation.seconds > LONGEST:
            problems.append(f"an operation took {operation.seconds:.0f} s")
        problems += [
            f"{event.logical_id} waited for a timeout: {event.reason}"
            for event in operation.events
            if "timed out" in event.reason.lower() or "did not respond" in event.reason.lower()
        ]

    def _check_left(self, before: frozenset[str], events: list[ResourceEvent], problems: list[str]) -> None:
        """Every leftover is named by an event of a retained resource, and only PRODUCTION retains."""
        self._empty = inventory(self.cloud)
        named = {e.physical_id for e in events if e.status in ("DELETE_SKIPPED", "DELETE_FAILED")}
        problems += [
            f"left and not named: {name}"
            for name in sorted(self._empty - before)
            if not (self.profile is Profile.PRODUCTION and any(_is_of(name, physical_id) for physical_id in named))
        ]

    def _expect(self, operation: Operation, status: str, problems: list[str]) -> None:
        self._check_time(operation, problems)
        if operation.status != status:
            causes = "; ".join(f"{event.logical_id}: {event.reason}" for event in operation.causes())
            problems.append(f"expected {status}, got {operation.status}: {causes}")

    def _give_up_names(self) -> None:
        """Delete resources with fixed names that PRODUCTION retained: `docs/adopt.md` is tested elsewhere."""
        if self.profile is Profile.DEVELOPMENT:
            return
        self._empty = None
        sagemaker, glue = self.cloud.client("sagemaker"), self.cloud.client("glue")
        for body in self.resources().values():
            properties = body.get("Properties", {})
            if body["Type"] == "AWS::SageMaker::ModelPackageGroup":
                sagemaker.delete_model_package_group(ModelPackageGroupName=properties["ModelPackageGroupName"])
            elif body["Type"] == "AWS::Glue::Database":
                glue.delete_database(Name=properties["DatabaseInput"]["Name"])

    def _put_fault(self, operation: str, cell: Cell) -> None:
        match = f'"logical_id": "{cell.target}"'
        fault = {
            "integration": f"cloudformation:{operation}",
            "match": match,
            "error": "InternalFailure",
            "cause": CAUSE,
        }
        self._control([fault])

    def _end_fault(self) -> bool:
        """Remove the fault, and return whether it was met."""
        met = any(fault["met"] for fault in self._control(None))
        self._control([])
        return met

    def _control(self, body: list[dict[str, Any]] | None) -> list[dict[str, Any]]:
        return list(self.cloud.call("/_mlops/faults", body))


def _named(operation: Operation, status: str) -> list[str]:
    return [event.physical_id for event in operation.events if event.status == status]


def _may_stay(event: ResourceEvent) -> bool:
    """Whether a rollback may leave a resource: a bucket with objects, and its dependencies (ADR 19)."""
    if "its dependents could not be deleted" in event.reason:
        return True
    return event.resource_type == "AWS::S3::Bucket" and "not empty" in event.reason.lower()


def _is_of(name: str, physical_id: str) -> bool:
    """Whether an inventory entry is the resource of an event; Glue tables are named without their database."""
    found = name.split(" ", 2)[2]
    return found == physical_id or found.endswith(f"/{physical_id}") or physical_id.endswith(f"/{found}")
