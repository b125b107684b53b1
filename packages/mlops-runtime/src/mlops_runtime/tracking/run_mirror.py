"""Mirror a retraining as an MLflow run, its package as a model version, and the live version as an alias."""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from mlops_runtime.contracts.model import Evaluation
from mlops_runtime.contracts.retraining import TrainingMetrics
from mlops_runtime.retraining.evaluation_evidence import loss_of
from mlops_runtime.tracking.mlflow_rest import Metric, MlflowRest, ModelVersion

EXECUTION, PACKAGE = "mlops.execution", "mlops.package"
LIVE = "live"
_NOT_OF_KEYS = re.compile(r"[^A-Za-z0-9_\-. /]")
_LONGEST_KEY, _LONGEST_PARAM, _LONGEST_TAG = 250, 6000, 5000
_FAILED = "FAILED"


@dataclass(frozen=True, slots=True, kw_only=True)
class MirroredPackage:
    """A model package: its ARN, the location of its archive, and its metadata."""

    arn: str
    source: str
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class MirroredRun:
    """A retraining that has ended."""

    pipeline: str
    execution: str  # ARN of the execution
    outcome: str  # `REGISTERED`, `APPROVED`, `REJECTED`, or `FAILED`
    reason: str  # reason of the outcome
    trigger: str  # trigger of the retraining
    ended: datetime  # when it ended
    evaluation: Evaluation | None = None  # the evaluation; None if the retraining ended before it
    training: TrainingMetrics | None = None  # metrics reported by the training script
    hyperparameters: Mapping[str, str] = field(default_factory=dict)  # hyperparameters of the training job
    package: MirroredPackage | None = None  # the package that it registered

    @property
    def name(self) -> str:
        """Name of the execution and of the run."""
        return self.execution.rpartition(":")[2]

    def metrics(self) -> Iterator[Metric]:
        """Yield losses by rival and by segment, and the script's own metrics and curves."""
        at = int(self.ended.timestamp() * 1000)
        found: list[tuple[str, float, int]] = []
        if self.evaluation is not None:
            metric = self.evaluation.metric
            found += [(f"{metric}.{rival}", value, 0) for rival, value in self.evaluation.metrics.items()]
            for segment in self.evaluation.segments or ():
                found += [
                    (f"{metric}.{rival}/{segment.name}", loss_of(segment.blocks, metric, rival), 0)
                    for rival in self.evaluation.metrics
                    if all(rival in block.absolute_error for block in segment.blocks)
                ]
        if self.training is not None:
            found += [(f"training.{name}", value, 0) for name, value in self.training.metrics.items()]
            for name, values in self.training.curves.items():
                points = zip(self.training.steps, values, strict=False)
                found += [(f"training.{name}", value, int(step)) for step, value in points if value is not None]
        for key, value, step in found:
            if math.isfinite(value):
                yield Metric(_key(key), float(value), step, at)

    def tags(self) -> dict[str, str]:
        """Return tags that identify the run in other systems."""
        found = {
            EXECUTION: self.execution,
            "mlops.pipeline": self.pipeline,
            "mlops.outcome": self.outcome,
            "mlops.reason": self.reason,
            "mlops.trigger": self.trigger,
        }
        if self.evaluation is not None:
            found |= {
                "mlops.training_set": self.evaluation.training_set_id,
                "mlops.model_sha256": self.evaluation.model_sha256,
            }
        if self.package is not None:
            found |= {PACKAGE: self.package.arn}
            found |= {
                f"mlops.{name}": value
                for name, value in self.package.metadata.items()
                if name in ("commit", "code_sha256", "flavor", "trust")
            }
        return {name: value[:_LONGEST_TAG] for name, value in found.items() if value}


class RunMirror:
    """Writes results of retrainings to MLflow, where all runs are of one experiment; repeating a write changes nothing."""

    def __init__(self, mlflow: MlflowRest, *, experiment: str, model: str) -> None:
        self._mlflow, self._experiment, self._model = mlflow, experiment, model

    def record(self, run: MirroredRun) -> None:
        """Write a run, and a version for its package.

        Raises:
            TrackingAwayError: If MLflow is unavailable.
            TrackingRefusedError: If it rejects a request.
        """
        experiment = self._mlflow.experiment(self._experiment)
        known = self._mlflow.run(experiment, EXECUTION, run.execution)
        ended = int(run.ended.timestamp() * 1000)
        made = (
            self._mlflow.start_run(experiment, name=run.name, started=ended, tags={EXECUTION: run.execution})
            if known is None
            else str(known["info"]["run_id"])
        )
        params = {_key(name): value[:_LONGEST_PARAM] for name, value in run.hyperparameters.items()}
        self._mlflow.log(made, metrics=list(run.metrics()), params=params, tags=run.tags())
        self._mlflow.end_run(made, status="FAILED" if run.outcome == _FAILED else "FINISHED", ended=ended)
        if run.package is not None:
            self._version(run.package, made)

    def point(self, package: MirroredPackage) -> None:
        """Point the alias to the version of the live package.

        Raises:
            TrackingAwayError: If MLflow is unavailable.
            TrackingRefusedError: If it rejects a request.
        """
        self._mlflow.set_alias(self._model, LIVE, self._version(package, None).version)

    def _version(self, package: MirroredPackage, run: str | None) -> ModelVersion:
        """Return the version of a package, creating it if it is missing."""
        self._mlflow.registered_model(self._model, description=f"Packages of {self._model} in the model registry")
        known = next(
            (each for each in self._mlflow.versions(self._model) if each.tags.get(PACKAGE) == package.arn), None
        )
        if known is not None:
            return known
        return self._mlflow.make_version(
            self._model,
            source=package.source,
            run=run,
            tags={PACKAGE: package.arn},
            description=f"{package.arn.rpartition('model-package/')[2]}; approvals and traffic are decided there",
        )


def _key(text: str) -> str:
    """Return a valid MLflow key."""
    return _NOT_OF_KEYS.sub("_", text)[:_LONGEST_KEY]
