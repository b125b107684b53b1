"""The demo on a cluster: the unit serves from two slots, a good version takes over by canary under load, a bad one is rolled back.

Cluster, pods and load balancer are those of the embedded cloud: a Kubernetes API with field ownership and authentication, real
servers with the credentials of their pod identity, and a real weighted proxy. The unit's stack is the same as for AWS.
"""

import json
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3

from examples.retail.demand_forecasting.replay import REPLAY
from examples.retail.eks_loop import EksLoop
from examples.retail.loop import expect
from examples.retail.page import files_folder, write_page
from examples.retail.planted import register_bad_package
from examples.retail.steps import Missed, Result, Trip, silent
from mlops_cli.stacks import run_build, synthesize
from mlops_local import cloud as local_cloud
from mlops_local.stacks import deployer
from mlops_runtime.contracts.monitor import MonitorState
from mlops_runtime.contracts.monitor_report import monitor_states
from mlops_runtime.contracts.rollout import Outcome
from mlops_runtime.eks.cluster_client import Address, BearerToken, Cluster

CLUSTER = "retail"
_SUBNETS = ("10.0.0.0/20", "10.0.16.0/20")
_DIGEST = "sha256:" + "0" * 64


def run(*, page: Path, echo: Callable[[str], None], begin: Callable[[str], None] = silent) -> Result:
    """Run the unit on a cluster once, write the page, and stop the cloud.

    Args:
        page: File for the page.
        echo: Called with one line at the end of each step.
        begin: Called with a step's name at its start. Default: no call.
    """
    trip = EksTrip(REPLAY, echo, begin=begin)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mlops-demo-") as folder:
        try:
            trip.start(Path(folder) / "cloud")
            trip.make_cluster()
            trip.deploy(Path(folder))
            trip.ingest()
            travel(trip)
            trip.write_files(files_folder(page))
        except Missed:
            trip.keep_evidence(page.with_suffix(".evidence"))
        finally:
            trip.stop()
    result = trip.result
    result.seconds = time.monotonic() - started
    missed = next((row.name for row in result.rows if not row.ok), None)
    verdict = "Every step did what it should." if missed is None else f"Stopped at: {missed}."
    note = (
        f"{result.seconds:.0f} s in all. Served from two slots of a cluster of the embedded cloud, behind a weighted proxy. "
        "Real transactions of 457 grocery stores over 2017 (completejourney). The template is the one that goes to AWS."
    )
    write_page(page, words=REPLAY.words, ok=result.ok, verdict=verdict, note=note, rows=result.rows, weeks=result.weeks)
    echo(f"{'ok' if result.ok else 'MISSED'}: {note}")
    echo(f"page: {page}")
    return result


class EksTrip(Trip):
    """A trip of the unit that serves from a cluster."""

    loop: EksLoop
    cluster: Cluster
    _attributes: Mapping[str, Any]

    def make_cluster(self) -> None:
        """Create the platform team's cluster."""
        with self.step("create the platform team's cluster") as detail:
            made = create_cluster(self.running, CLUSTER)
            self.cluster = made.cluster
            self._attributes = {
                "name": CLUSTER,
                "security_group_id": made.security_group_id,
                "subnet_cidrs": list(_SUBNETS),
            }
            detail.append(f"{CLUSTER} at {made.endpoint}")

    def deploy(self, folder: Path) -> None:
        """Synthesize the app for the cluster, and deploy only the unit's stack."""
        stack = self.replay.stack
        with self.step("synthesize the unit for the cluster") as detail:
            run_build("mlops assets build")
            context = {"image_digest": _DIGEST, "stacks": [stack], "target": "eks", "cluster": self._attributes}
            synthesize("python app.py", folder / "assembly", context, self.running.environment())
            detail.append(f"stack {stack}")
        with self.step("deploy: the tenant's resources on the cluster are created, nothing is live yet") as detail:
            outputs = deployer.deploy(self.running, folder / "assembly", stacks=[stack])[stack]
            self.meet(self.running, outputs)
            detail.append(f"{len(outputs)} outputs")

    def meet(self, running: local_cloud.Cloud, outputs: Mapping[str, str]) -> None:
        """Start with a stack that was just deployed.

        Args:
            running: The cloud.
            outputs: The stack's outputs.
        """
        super().meet(running, outputs)
        self.loop = EksLoop(
            client=running.client,
            outputs=outputs,
            unit=self.replay.unit,
            now=self.now,
            cluster=self.cluster,
            address=local_address(running, outputs["ServiceUrl"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeCluster:
    """A cluster of the embedded cloud, with its creator's access."""

    cluster: Cluster
    endpoint: str
    security_group_id: str


def create_cluster(running: local_cloud.Cloud, name: str) -> MadeCluster:
    """Create a cluster with EKS Auto Mode, metrics and only access entries; its creator, the root user, is administrator.

    Functions of units use the private endpoint; this machine, which is outside of every network, uses the public one.

    Args:
        running: The cloud.
        name: Name of the cluster.
    """
    eks, iam = running.client("eks"), running.client("iam")
    trust = {"Effect": "Allow", "Principal": {"Service": "eks.amazonaws.com"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    role = iam.create_role(RoleName=f"{name}-cluster", AssumeRolePolicyDocument=document)["Role"]["Arn"]
    eks.create_cluster(
        name=name,
        roleArn=role,
        resourcesVpcConfig={"endpointPublicAccess": True, "endpointPrivateAccess": True},
        accessConfig={"authenticationMode": "API"},
        computeConfig={"enabled": True},
        kubernetesNetworkConfig={"elasticLoadBalancing": {"enabled": True}},
        storageConfig={"blockStorage": {"enabled": True}},
    )
    eks.create_addon(clusterName=name, addonName="metrics-server")
    made = eks.describe_cluster(name=name)["cluster"]
    session = boto3.Session(**running.root_keys(), region_name="us-east-1")
    return MadeCluster(
        cluster=Cluster(Address(url=made["endpoint"]), token=BearerToken(session, name)),
        endpoint=made["endpoint"],
        security_group_id=made["resourcesVpcConfig"]["clusterSecurityGroupId"],
    )


def local_address(running: local_cloud.Cloud, url: str) -> str:
    """Return the address of a load balancer on this machine, since its name only resolves in AWS.

    Args:
        running: The cloud.
        url: Its address on AWS.
    """
    name = url.partition("://")[2]
    balancers = running.client("elbv2").describe_load_balancers()["LoadBalancers"]
    arn = next(row["LoadBalancerArn"] for row in balancers if row["DNSName"] == name)
    reported = running.status()["load_balancing"]["load_balancers"]
    return str(next(iter(next(row["listeners"] for row in reported if row["arn"] == arn).values())))


def travel(trip: EksTrip) -> None:
    """Run the loop: a first model, two weeks, a second model that takes over, and a bad one that is rolled back.

    Args:
        trip: A trip with a deployed stack and ingested features.
    """
    loop, replay, first = trip.loop, trip.replay, trip.first
    with trip.step("train the first model, gate it, register it") as detail:
        package = trip.train("no model yet")
        trip.trained(package, detail)
    with trip.step("the first model serves from a slot") as detail:
        trip.deployed(package["ModelPackageArn"], Outcome.PROMOTED)
        detail.append(loop.summary())
    with trip.step("replay two weeks as live requests; the servers capture them") as detail:
        for week in (first, first + 1):
            report = trip.replay_period(week)
            expect(report.drift.state is not MonitorState.NO_CAPTURE, f"week {week}: nothing was captured")
            states = monitor_states(report)
            detail.append(f"week {week}: drift {states['drift']}, quality {states['quality']}")
        detail.append(f"{loop.captured()} objects of captures in S3, {loop.counted()} counted")
    upcoming = replay.requests(first + 2)
    with trip.step("retrain on the current data, gate it against the live model") as detail:
        package = trip.train("more is known")
        trip.trained(package, detail)
    with trip.step("the new model takes over by canary, under load") as detail:
        trip.promote(package["ModelPackageArn"], upcoming, detail)
        detail.append(loop.summary())

    def release() -> str:
        bad = register_bad_package(loop, trip.live(), replay.bad_script)
        loop.approve(bad, "looks good, easy to explain")
        return bad

    with trip.step("a bad model is approved by hand, and rolled back under load") as detail:
        trip.roll_back(upcoming, release, detail)
        detail.append(loop.summary())
    with trip.step(
        "no client got an error of the traffic shift, and the slot without traffic is scaled to zero"
    ) as detail:
        loop.verify_shifts()
        detail.append(f"{loop.sent} requests during two rollouts, {loop.broken} errors of the traffic shift")
        detail.append(loop.verify_rest())
        detail.append(f"all of {loop.wait_captured()} answered calls are captured")
    trip.verify_audit()
