"""``python -m tests.security.record FOLDER [TARGET]`` runs the loop of a retail unit and records its calls for `replay`.

The demo's trip: create, train, evaluate, register, approve by policy and by hand, canary, promote, roll back, monitor,
retrain by an alarm; then a person rolls back, and the stack is destroyed. TARGET ``eks`` does the same between two slots;
``front_door`` covers calls of programs and people to an API and a console. FOLDER gets the journal of IAM evaluations and
the resource names; ``python -m tests.security.needs TARGET FOLDER`` converts both into the file that tests replay.
"""

import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from examples.retail import demo_eks
from examples.retail.demo import UNITS
from examples.retail.demo_eks import EksTrip
from examples.retail.loop import expect
from examples.retail.steps import Missed, Trip
from tests.security.front_door import STACK as FRONT_DOOR
from tests.security.front_door_trip import FrontDoorTrip, synthesize
from tests.security.needs import JOURNAL, OPERATIONS, RESOURCES
from tests.security.units import DIGEST, flags

from mlops_local import cloud as local_cloud
from mlops_local.cloud import Cloud
from mlops_local.stacks import deployer
from mlops_runtime.contracts import canonical_json
from mlops_runtime.contracts.rollout import DeployReason, DeployRequest
from mlops_runtime.layers.layer_wheels import build_layers

UNIT = "demand_forecasting"


def record(folder: Path, echo: Callable[[str], None], *, target: str = "sagemaker") -> None:
    """Run the loop once.

    Args:
        folder: Destination of the journal and the resource names.
        echo: Called with one line per step.
        target: ``sagemaker``, ``eks`` or ``front_door``. Default: ``sagemaker``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    list(build_layers(names=["monitor"]))
    if target == "front_door":
        _record_front_door(folder, echo)
    else:
        _record_loop(folder, echo, target)


def _record_front_door(folder: Path, echo: Callable[[str], None]) -> None:
    with tempfile.TemporaryDirectory(prefix="mlops-record-") as scratch:
        assembly = synthesize(Path(scratch), digest=DIGEST, context=flags())
        cloud = local_cloud.up(Path(scratch) / "cloud", clock_scale=120.0)
        try:
            trip = FrontDoorTrip(cloud, assembly, echo)
            _keep_names(cloud, FRONT_DOOR, folder)
            trip.go()
            trip.keep(folder / OPERATIONS)
            _expect_no_denial(next(cloud.home.rglob(JOURNAL)))
            deployer.destroy(cloud, assembly, [FRONT_DOOR])
        finally:
            _keep_journal(cloud.home, folder)
            cloud.down(forget=True)


def _record_loop(folder: Path, echo: Callable[[str], None], target: str) -> None:
    replay, travel = UNITS[UNIT]
    trip = EksTrip(replay, echo) if target == "eks" else Trip(replay, echo)
    with tempfile.TemporaryDirectory(prefix="mlops-record-") as scratch:
        home = Path(scratch) / "cloud"
        try:
            trip.start(home)
            if isinstance(trip, EksTrip):
                trip.make_cluster()
            trip.deploy(Path(scratch))
            _keep_names(trip.running, trip.replay.stack, folder)
            try:
                trip.ingest()
                if isinstance(trip, EksTrip):
                    demo_eks.travel(trip)
                else:
                    travel(trip)
                _roll_back_by_hand(trip)
            except Missed:
                echo("a step missed: what was called until then is kept")
            deployer.destroy(trip.running, Path(scratch) / "assembly", [replay.stack])
        finally:
            _keep_journal(home, folder)
            trip.stop()


def _keep_journal(home: Path, folder: Path) -> None:
    journal = next(home.rglob(JOURNAL), None)
    if journal is not None:
        shutil.copy(journal, folder / JOURNAL)


def _expect_no_denial(journal: Path) -> None:
    """Accept console pages that report a denied part, which no test would see."""
    denied = [row for row in map(json.loads, journal.read_text().splitlines()) if not row["allowed"]]
    expect(not denied, f"roles lack rights that they ask for: {denied}")


def _keep_names(cloud: Cloud, stack: str, folder: Path) -> None:
    pages = cloud.client("cloudformation").get_paginator("list_stack_resources")
    rows = [r for page in pages.paginate(StackName=stack) for r in page["StackResourceSummaries"]]
    names = {row["LogicalResourceId"]: row["PhysicalResourceId"] for row in rows}
    (folder / RESOURCES).write_text(json.dumps({"stack": stack, "names": names}, indent=1))


def _roll_back_by_hand(trip: Trip) -> None:
    """Request a rollback to the previous version from the Deploy machine."""
    with trip.step("a person rolls back") as detail:
        seen = trip.seen("DeployMachineArn")
        request = DeployRequest(
            reason=DeployReason.ROLLBACK, requested_by="recorder", requested_at=f"{trip.now():%Y-%m-%dT%H:%M:%SZ}"
        )
        trip.running.client("stepfunctions").start_execution(
            stateMachineArn=trip.loop.outputs["DeployMachineArn"], input=canonical_json(request).decode()
        )
        trip.loop.wait_execution("DeployMachineArn", seen, appear=30, finish=180)
        detail.append(f"version {trip.live_version()} serves again")


if __name__ == "__main__":
    record(Path(sys.argv[1]), lambda line: print(line, flush=True), target=(*sys.argv[2:], "sagemaker")[0])  # noqa: T201 - a command
