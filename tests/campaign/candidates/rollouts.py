"""The last layer: candidates that passed all others are registered, approved by the approver, and rolled out under traffic.

One demand stack on the embedded cloud serves all of them; a promoted model serves until the next promotion.
"""

import hashlib
import os
import sys
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from examples.retail.demand_forecasting import data
from examples.retail.demand_forecasting.replay import REPLAY
from examples.retail.loop import Loop
from examples.retail.transactions import week_start
from tests.campaign.candidates import images
from tests.campaign.candidates.catalogue import CHALLENGERS, SEED, Bad, Good, bad_ones, good_ones
from tests.campaign.candidates.kinds import Candidate
from tests.campaign.candidates.path import model_sha256
from tests.campaign.candidates.run import record, results

from mlops_cli.stacks import synthesize_app
from mlops_local import cloud as local_cloud
from mlops_local.runners import EXTRA
from mlops_local.stacks import deployer
from mlops_runtime.registry.model_package import registered_metadata
from mlops_runtime.rollout.execution_names import version_name

PART = "rollouts"
CLOCK_SCALE = 60.0
WEEK = 48  # week of the replayed requests; the first that no candidate was trained on
GOOD_SAMPLE = 6
_REGISTRY = "000000000000.dkr.ecr.us-east-1.amazonaws.com"
_IMAGE = "mlops-runtime"


class Shop:
    """The deployed unit.

    Args:
        folder: A folder of its own.
        faults: The faulty images that candidates may use.
    """

    def __init__(self, folder: Path, faults: set[tuple[str, str]]) -> None:
        os.environ[EXTRA] = images.serve_commands(faults)
        self.cloud = local_cloud.up(folder / "cloud", clock_scale=CLOCK_SCALE)
        try:
            self.cloud.clock_jump(to=week_start(WEEK))
            synthesize_app(None, folder / "assembly")
            stack = "DemandForecasting"
            outputs = deployer.deploy(self.cloud, folder / "assembly", stacks=[stack])[stack]
            self.loop = Loop(client=self.cloud.client, outputs=outputs, unit="demand", now=self.now)
            self.loop.wait_idle("DeployMachineArn")
        except BaseException:
            self.cloud.down(forget=True)
            raise

    def now(self) -> datetime:
        """Return the cloud's time."""
        return datetime.fromisoformat(self.cloud.clock()["now"])

    def roll_out(self, candidate: Candidate, number: int) -> dict[str, Any]:
        """Register, approve and roll out one candidate; return its result and its traffic in the meantime."""
        loop, began, started = self.loop, time.monotonic(), self.now()
        seen = {execution["executionArn"] for execution in loop.executions("DeployMachineArn")}
        package = self._register(candidate, number)
        loop.approve(package, "the gate and the golden requests say so")
        if loop.live() is None:
            execution, failed, answered = self._end(seen), 0, 0
        else:
            requests, whole_every = data.requests_for_week(WEEK), REPLAY.whole_every
            with loop.traffic(requests, f"replay-{number}", whole_every=whole_every) as traffic:
                execution = self._end(seen)
            failed, answered = traffic.refused, traffic.answered
        live, ended = loop.live(), self.now()
        config = version_name(loop.endpoint, execution)
        minutes = (ended - started).total_seconds() / 60
        ours, all_calls = loop.invocations(config, started, ended), max(1, failed + answered)
        is_live = live is not None and live.model_package_arn == package
        last = loop.audit()[-1]
        return {
            "promoted": is_live,
            "outcome": last.outcome.value,
            "reason": last.reason[:300],
            "minutes": round(minutes, 1),
            "calls": ours,
            "failed": failed,
            "answered": answered,
            "traffic_minutes": round(minutes * min(1.0, ours / all_calls), 2),
            "seconds": round(time.monotonic() - began, 1),
        }

    def _register(self, candidate: Candidate, number: int) -> str:
        loop, content = self.loop, candidate.served or candidate.archive
        bucket = loop.outputs["ArtifactsBucket"]
        key = f"models/{loop.endpoint}/campaign-{number}/output/model.tar.gz"
        loop.s3.put_object(Bucket=bucket, Key=key, Body=content)
        texts = ("training_set_id", "execution", "baseline_uri", "evaluation_uri")
        metadata = {
            "artifact_sha256": hashlib.sha256(candidate.archive).hexdigest(),
            "model_sha256": model_sha256(candidate.archive),
            "baseline_sha256": "8" * 64,
            **{text: f"s3://{bucket}/campaign/{number}/{text}" for text in texts},
        }
        name = _IMAGE if candidate.image is None else images.repository(*candidate.image)
        container = {
            "Image": f"{_REGISTRY}/{name}@sha256:{'0' * 64}",
            "ModelDataUrl": f"s3://{bucket}/{key}",
            "Environment": {"MLOPS_MODEL_SHA256": metadata["model_sha256"]},
        }
        created = loop.sagemaker.create_model_package(
            ModelPackageGroupName=loop.endpoint,
            ModelApprovalStatus="PendingManualApproval",
            CustomerMetadataProperties=registered_metadata(container, metadata),
            InferenceSpecification={
                "Containers": [container],
                "SupportedContentTypes": ["application/json", "text/csv"],
                "SupportedResponseMIMETypes": ["application/json", "text/csv"],
            },
        )
        return str(created["ModelPackageArn"])

    def _end(self, seen: set[str]) -> str:
        """Wait for the end of the execution that the approval starts, whatever its result."""
        deadline = time.monotonic() + 900
        while time.monotonic() < deadline:
            ended = [
                e
                for e in self.loop.executions("DeployMachineArn")
                if e["executionArn"] not in seen and e["status"] != "RUNNING"
            ]
            if ended:
                return str(ended[0]["executionArn"])
            time.sleep(0.3)
        raise AssertionError("the rollout did not end within 900 s")


def chosen(folder: Path) -> dict[str, Bad | Good]:
    """Return the candidates to roll out: every bad one that passed all other layers, and a seeded sample of such good ones.

    The first seed of each kind and severity comes first, so that a run of limited time covers every kind.
    """
    bad, good = results(folder, "bad"), results(folder, "good")
    through = [cell for cell in bad_ones() if bad.get(cell.key, {"layer": "none yet"})["layer"] is None]
    through.sort(key=lambda cell: cell.seed)
    order = np.random.default_rng(SEED).permutation(CHALLENGERS)
    drawn = [cell for _, cell in sorted(zip(order.tolist(), good_ones(), strict=True), key=lambda pair: pair[0])]
    passed = [cell for cell in drawn if cell.key in good and good[cell.key]["layer"] is None]
    sample = [cell for cell in passed if good[cell.key]["fresh"]["is_good"]][:GOOD_SAMPLE]
    pairs: list[Bad | Good] = []
    for index in range(max(len(through), len(sample))):
        pairs += [cells[index] for cells in (through, sample) if index < len(cells)]
    return {cell.key: cell for cell in pairs}


def run(folder: Path, work: Path, echo: Callable[[str], None], *, seconds: float | None = None) -> None:
    """Roll out candidates without a result, for at most the given seconds. Default: all."""
    cells = {key: cell for key, cell in chosen(folder).items() if key not in results(folder, PART)}
    if not cells:
        return
    made = {key: cell.make() for key, cell in cells.items()}
    shop = Shop(work, {candidate.image for candidate in made.values() if candidate.image is not None})
    try:
        champion = Candidate(archive=(folder / "champion.tar.gz").read_bytes())
        ends = None if seconds is None else time.monotonic() + seconds
        echo(f"champion: {shop.roll_out(champion, 0)}")
        for number, (key, candidate) in enumerate(made.items(), 1):
            if ends is not None and time.monotonic() > ends:
                return
            line: Mapping[str, Any] = {"key": key, **shop.roll_out(candidate, number)}
            record(folder, PART, dict(line))
            echo(f"{key}: {line}")
    finally:
        shop.cloud.down(forget=True)


if __name__ == "__main__":
    limit = float(sys.argv[3]) if len(sys.argv) > 3 else None
    run(Path(sys.argv[1]), Path(sys.argv[2]), lambda text: print(text, flush=True), seconds=limit)  # noqa: T201
