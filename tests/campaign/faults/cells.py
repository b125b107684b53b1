"""Cells of the fault campaigns on the embedded cloud: one call of a machine, one kind of fault, its duration."""

import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from tests.campaign.machine import SERVICES

_JOB = "SageMaker.AmazonSageMakerException"  # the only error of the optimized integration
FOR_GOOD = 10_000
SEED = 20261129
# integration of the Retrain machine, its arguments where two calls share one, and the condition under which the call
# happens: see ``retraining.MODES``
RETRAIN_CALLS = (
    ("dynamodb:getItem", "", ""),
    ("sagemaker:createProcessingJob.sync", "-prep", ""),
    ("sagemaker:createTrainingJob.sync", "-train", ""),
    ("sagemaker:createProcessingJob.sync", "-eval", ""),
    ("lambda:invoke", "evaluation_uri", ""),
    ("sagemaker:createModelPackage", "", ""),
    ("sagemaker:updateModelPackage", "", ""),
    ("sns:publish", "", "paused"),
    ("lambda:invoke", '"REJECTED"', "rejected"),
    ("lambda:invoke", '"FAILED"', "failing"),
    ("dynamodb:updateItem", "last_outcome", ""),
    ("events:putEvents", "MLOps Retraining Finished", ""),
)
KINDS = ("throttle", "5xx", "timeout", "reset", "access denied", "validation", "latency", "stop")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One cell. ``count`` calls meet the fault; ``after`` means that the work was done and the response was lost."""

    integration: str
    match: str = ""
    kind: str
    count: int
    after: bool
    mode: str = ""
    state: str = ""

    @property
    def key(self) -> str:
        """Key of the results."""
        stays = "for good" if self.count == FOR_GOOD else f"{self.count}x"
        what = f"{self.state} {self.integration}" if self.state else f"{self.integration} {self.match}"
        what = f"{self.mode} {what}" if self.state and self.mode else what
        return " ".join([what, self.kind, stays, "lost" if self.after else ""]).strip()

    def fault(self) -> dict[str, Any]:
        """Return the fault in the embedded cloud's format."""
        service, is_job = self.integration.partition(":")[0], self.integration.endswith(".sync")
        throttled, failed = (_JOB, _JOB) if is_job else SERVICES[service]
        errors = {
            "throttle": (throttled, "Rate exceeded"),
            "5xx": (failed, "An internal error occurred (Status Code: 500)"),
            "timeout": ("States.Timeout", ""),
            "reset": (f"{failed.partition('.')[0]}.SdkClientException", "Connection reset"),
            "access denied": (failed, "User is not authorized (Status Code: 403)"),
            "validation": (failed, "1 validation error detected (Status Code: 400)"),
            "latency": (None, ""),
            "stop": ("stop", ""),
        }
        error, cause = errors[self.kind]
        fault = {
            "integration": self.integration,
            "match": self.match,
            "state": self.state,
            "error": error,
            "cause": cause,
        }
        return fault | {"count": self.count, "after": self.after, "seconds": 50.0 if self.kind == "latency" else 0.0}

    def as_dict(self) -> dict[str, Any]:
        """Return the cell in the format of the results."""
        return asdict(self) | {"key": self.key}


def cells(tasks: Mapping[str, str]) -> list[Cell]:
    """Return every cell of a machine in a seeded order, of which any prefix is a fair sample.

    Args:
        tasks: Integration of each task.
    """
    found = [
        Cell(state=state, integration=integration, kind=kind, count=count, after=after)
        for kind, count, after in _ways()
        for state, integration in tasks.items()
    ]
    random.Random(SEED).shuffle(found)
    return found


def retrain_cells() -> list[Cell]:
    """Return every cell of the Retrain machine in a seeded order, of which any prefix is a fair sample."""
    found = [
        Cell(integration=name, match=match, kind=kind, count=count, after=after, mode=mode)
        for kind, count, after in _ways()
        for name, match, mode in RETRAIN_CALLS
    ]
    random.Random(SEED).shuffle(found)
    return found


def promotion_cells(tasks: Mapping[tuple[str, str], tuple[str, str]]) -> list[Cell]:
    """Return every cell of the Release and the Promote machine in a seeded order, of which any prefix is a fair sample.

    Args:
        tasks: Integration of each task and a part of its arguments, by machine (``release``, ``promote``) and state.
    """
    found = [
        Cell(state=state, integration=integration, match=match, kind=kind, count=count, after=after, mode=machine)
        for kind, count, after in _ways()
        for (machine, state), (integration, match) in tasks.items()
    ]
    random.Random(SEED).shuffle(found)
    return found


def _ways() -> list[tuple[str, int, bool]]:
    """Return each kind with the number of calls that meet it and whether their work was done."""
    found = []
    for kind in KINDS:
        lost = (False, True) if kind in ("5xx", "timeout", "reset", "stop") else (False,)
        stays = (2, FOR_GOOD) if kind in ("throttle", "5xx", "access denied") else (1 if kind == "stop" else 2,)
        found += [(kind, count, after) for count in stays for after in lost]
    return found
