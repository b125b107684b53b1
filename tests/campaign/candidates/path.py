"""The steps of a candidate before traffic that need no cloud: evaluation, gate, server, golden requests."""

import hashlib
import io
import tarfile
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from examples.retail.demand_forecasting.declaration import (
    EVALUATION,
    GATE,
    GOLDEN,
    MAX_DEVIATION,
    MAX_SLOWDOWN,
)
from tests.campaign.candidates.catalogue import Bad, Good
from tests.campaign.candidates.kinds import Candidate
from tests.campaign.candidates.servers import NotHealthyError, Platform, Server
from tests.campaign.candidates.world import Splits, decided_at, fresh, splits

from mlops_runtime.contracts import canonical_json, to_dict
from mlops_runtime.contracts.model import GateResult
from mlops_runtime.contracts.serving import GoldenSpec
from mlops_runtime.jobs.evaluate import Inputs, evaluate
from mlops_runtime.jobs.job_environment import JobError
from mlops_runtime.retraining.loss_intervals import CHAMPION
from mlops_runtime.retraining.registration_gate import evaluate_gate
from mlops_runtime.rollout.golden_rehearsal import GoldenCaller, GoldenCallError, read_answer
from mlops_runtime.rollout.golden_set import read_set
from mlops_runtime.serving.http_app import answer
from mlops_runtime.serving.onnx_model import load_archive
from mlops_runtime.serving.served_model import ModelError

LAYERS = ("evaluation", "gate", "server", "golden", "canary")
CONTENT = GOLDEN.read_bytes()
# as declared in the unit's stack
SPEC = GoldenSpec(
    uri="s3://assets/golden.jsonl",
    sha256=hashlib.sha256(CONTENT).hexdigest(),
    max_deviation=MAX_DEVIATION,
    max_latency_ms=250,  # a dedicated machine; the unit allows for shared ones
    max_slowdown=MAX_SLOWDOWN,
)
_SHOWN = 300


@dataclass(slots=True, kw_only=True)
class Found:
    """Result of a candidate. ``layer`` is the layer that stopped it; if it is None, only a rollout is left to do so."""

    layer: str | None = None
    reason: str = ""
    loss: float | None = None
    fresh: dict[str, Any] = field(default_factory=dict)
    plain: bool | None = None
    seconds: float = 0.0


class Way:
    """Evaluates candidates against one champion, whose server runs throughout.

    Args:
        champion: ``model.tar.gz`` of the live model.
        folder: A folder of its own.
        spec: The golden set's limits. Default: `SPEC`.
    """

    def __init__(self, champion: bytes, folder: Path, spec: GoldenSpec = SPEC) -> None:
        self._folder, self._spec = folder, spec
        self._champion = folder / "live.tar.gz"
        self._champion.write_bytes(champion)
        self._live = Server(champion, model_sha256(champion))
        self._live.start()

    def stop(self) -> None:
        """Stop the champion's server."""
        self._live.stop()

    def judge(self, cell: Bad | Good, candidate: Candidate, *, is_compared: bool = True) -> Found:
        """Take one candidate through the layers until one of them stops it.

        Args:
            cell: Description of the candidate.
            candidate: The candidate.
            is_compared: Whether also to check a plain update and the candidate's quality on later weeks, which no layer sees.
        """
        started = time.monotonic()
        found = Found()
        try:
            self._evaluated(cell, candidate, found)
            self._served(candidate, found, is_requested=is_compared and isinstance(cell, Bad))
            if is_compared:
                found.fresh = self.later(cell, candidate)
        finally:
            found.seconds = round(time.monotonic() - started, 2)
        return found

    def _evaluated(self, cell: Bad | Good, candidate: Candidate, found: Found) -> None:
        try:
            result, found.loss = self._gate(candidate.archive, candidate.splits or splits(cell.week), cell.week)
        except (JobError, ModelError) as error:
            found.layer, found.reason = "evaluation", str(error)[:_SHOWN]
            return
        if result.verdict.value != "PASSED":
            found.layer, found.reason = "gate", result.reason[:_SHOWN]

    def _gate(self, archive: bytes, taken: Splits, week: int, *, is_fresh: bool = False) -> tuple[GateResult, float]:
        with tempfile.TemporaryDirectory(dir=self._folder) as name:
            path = Path(name) / "model.tar.gz"
            path.write_bytes(archive)
            inputs = Inputs(
                train=taken.train,
                holdout=taken.holdout,
                manifest=taken.manifest,
                candidate=path,
                champion=self._champion,
                champion_sha256=None
                if self._champion is None
                else hashlib.sha256(self._champion.read_bytes()).hexdigest(),
            )
            evaluation, _ = evaluate(EVALUATION, inputs, "s3://artifacts/baseline.json")
        sha256 = "" if is_fresh else hashlib.sha256(canonical_json(evaluation)).hexdigest()
        now = None if is_fresh else decided_at(week)
        result = evaluate_gate(evaluation, GATE, uri="s3://artifacts/evaluation.json", sha256=sha256, now=now)
        return result, float(evaluation.metrics["candidate"])

    def later(self, cell: Bad | Good, candidate: Candidate) -> dict[str, Any]:
        """Return the candidate's quality on weeks that the gate never saw, by the gate's own rule against the champion.

        A faulty or slow image is bad regardless of its forecasts.
        """
        if candidate.image is not None or (isinstance(cell, Bad) and cell.kind.name == "slow"):
            return {"is_good": False, "reason": "it is bad regardless of its forecasts"}
        try:
            result, loss = self._gate(candidate.served or candidate.archive, fresh(cell.week), cell.week, is_fresh=True)
        except (JobError, ModelError) as error:
            return {"is_good": False, "reason": str(error)[:_SHOWN]}
        checks = [check for check in result.checks if check.rival == CHAMPION]
        failed = [check.reason for check in checks if not check.passed]
        reason = "; ".join(failed) if checks else result.reason
        high = next((check.high for check in checks if check.segment is None), None)
        return {"is_good": bool(checks) and not failed, "loss": loss, "high": high, "reason": reason[:_SHOWN]}

    def _served(self, candidate: Candidate, found: Found, *, is_requested: bool) -> None:
        """Start the server and send it golden requests, if the gate let the candidate pass.

        For the comparison with a plain update, a stopped candidate is loaded and called once by the server's own code.
        """
        if found.layer is not None:
            found.plain = _would_answer(candidate) if is_requested else None
            return
        server = Server(candidate.served or candidate.archive, model_sha256(candidate.archive), candidate.image)
        try:
            server.start()
            found.plain = _answers(server)
            found.layer, found.reason = self._golden(server)
        except NotHealthyError as error:
            found.plain, found.layer, found.reason = False, "server", str(error)
        finally:
            server.stop()

    def _golden(self, server: Server) -> tuple[str | None, str]:
        platform: Any = Platform(CONTENT, candidate=server, live=self._live)
        caller = GoldenCaller(s3=platform, runtime=platform, bucket="artifacts")
        event: Mapping[str, Any] = {
            "mode": "check", "endpoint": "candidate", "golden": to_dict(self._spec), "live_endpoint": "live",
            "now": "2017-08-01T09:00:00Z", "execution": "arn:execution",
        }  # fmt: skip
        try:
            verdict = caller.handle(event)
        except GoldenCallError as error:
            return "golden", str(error)[:_SHOWN]
        return (None, "") if verdict["passed"] else ("golden", str(verdict["reason"])[:_SHOWN])


def model_sha256(archive: bytes) -> str:
    """Return the SHA-256 of ``model.onnx`` in an archive, as registration does; of empty bytes if it is missing."""
    content = b""
    try:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
            stream = tar.extractfile("model.onnx")
            content = b"" if stream is None else stream.read()
    except (OSError, EOFError, KeyError, tarfile.TarError):
        pass
    return hashlib.sha256(content).hexdigest()


def _would_answer(candidate: Candidate) -> bool:
    """Return whether the server would start with a candidate and answer its first call."""
    request = read_set(CONTENT)[0]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tar.gz"
        path.write_bytes(candidate.served or candidate.archive)
        try:
            model = load_archive(path, expected_sha256=model_sha256(candidate.archive))
            body, kind = answer(model, request.content_type, None, request.body.encode())
        except Exception:  # ONNX Runtime raises its own types, all direct children of Exception
            return False
    return read_answer(body, kind).problem is None


def _answers(server: Server) -> bool:
    """Return whether a first call gets 2xx: all that a plain update could notice."""
    request = read_set(CONTENT)[0]
    try:
        status, body, kind = server.send(request.body.encode(), {"content-type": request.content_type})
    except OSError:
        return False
    return 200 <= status < 300 and read_answer(body, kind).problem is None
