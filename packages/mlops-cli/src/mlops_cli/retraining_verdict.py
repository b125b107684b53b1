"""Result of a requested retraining, awaited and printed by ``mlops train`` and ``mlops models register``."""

import math
import sys
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from mlops_cli.answers import answer
from mlops_cli.aws_account import Account, UserError

if TYPE_CHECKING:
    from mlops_runtime.business_unit.deployed_entries import Entries
    from mlops_runtime.contracts.retraining import GuardDecision
    from mlops_runtime.contracts.unit_entries import PipelineEntry
    from mlops_runtime.retraining.retraining_request import RetrainingOutcome, RetrainingRequests

REFUSED = 3  # exit code: the command ran and the verdict is negative
_LOOK_SECONDS = 1.0
_GUARD_SECONDS = 60  # limit for a queue and a function; later, the event is in the dead-letter queue

T = TypeVar("T")


def requests_of(aws: Account, entries: "Entries", pipeline: "PipelineEntry") -> "RetrainingRequests":
    """Return the client for retraining requests of a pipeline."""
    from mlops_runtime.retraining.retraining_request import RetrainingRequests

    return RetrainingRequests(client=aws.client, unit=entries.unit(pipeline.unit), pipeline=pipeline)


def follow(
    requests: "RetrainingRequests", event: str, *, facts: Mapping[str, Any], is_awaited: bool, as_json: bool
) -> None:
    """Print what the guard and then the Retrain machine report for a request.

    Args:
        requests: The pipeline.
        event: Id of the request's event.
        facts: Further keys of the JSON document.
        is_awaited: Whether to wait for the verdict, or only for the start.
        as_json: Whether standard output is one JSON document.

    Raises:
        UserError: If the guard does not decide, or the execution ends without a verdict.
        typer.Exit: With 3 if guard or gate refuses.
    """
    from mlops_runtime.retraining.retraining_request import earlier_outcome

    decision = _started(requests, event, facts, as_json=as_json)
    execution = str(decision.execution)
    if (known := earlier_outcome(decision)) is not None:
        document = {"outcome": known.outcome, "reason": known.reason, "package": known.package, "execution": execution}
        answer({**document, **facts}, known.reason.replace("; ", "\n  "), as_json=as_json)
        if not known.is_registered:
            raise typer.Exit(REFUSED)
        return
    if not is_awaited:
        answer({"execution": execution, **facts}, f"started {execution}", as_json=as_json)
        return
    echo(f"waiting for {execution.rpartition(':')[2]}")
    found = _awaited(lambda: requests.outcome(execution))
    if found is not None:  # always, since this wait has no limit
        _finish(found, {"execution": execution, **facts}, as_json=as_json)


def echo(text: str) -> None:
    """Print progress to standard error."""
    print(text, file=sys.stderr)


def _started(requests: "RetrainingRequests", event: str, facts: Mapping[str, Any], *, as_json: bool) -> "GuardDecision":
    """Return the decision that started a run, or that names an earlier run of this model."""
    from mlops_runtime.contracts.retraining import Decision
    from mlops_runtime.retraining.retraining_request import refusal_of

    pipeline = requests.pipeline
    decision = _awaited(lambda: requests.decision(event), seconds=_GUARD_SECONDS)
    if decision is None:
        raise UserError(
            f"the guard of {pipeline.pipeline} has not decided on event {event} within {_GUARD_SECONDS} s; check the "
            f"log of its function and the dead-letter queue of {pipeline.queue_url.rpartition('/')[2]}"
        )
    if decision.decision not in (Decision.STARTED, Decision.KNOWN) or decision.execution is None:
        document = {"outcome": decision.decision.value, "reason": decision.reason, "package": None, "execution": None}
        answer({**document, **facts}, refusal_of(decision), as_json=as_json)
        raise typer.Exit(REFUSED)
    if decision.decision is Decision.KNOWN and decision.outcome is None:
        echo(decision.reason)
    return decision


def _awaited(look: Callable[[], T | None], *, seconds: float = math.inf) -> T | None:
    until = time.monotonic() + seconds
    while (found := look()) is None and time.monotonic() < until:
        time.sleep(_LOOK_SECONDS)
    return found


def _finish(found: "RetrainingOutcome", facts: Mapping[str, Any], *, as_json: bool) -> None:
    document = {"outcome": found.outcome, "reason": found.reason, "package": found.package, **facts}
    version = "" if found.package is None else found.package.rpartition(":model-package/")[2]
    if found.is_registered:
        fix = "" if found.outcome == "APPROVED" else f'; approve it: mlops models approve {version} --reason "..."'
        answer(document, f"{found.outcome.lower()} as {version}: {found.reason}{fix}", as_json=as_json)
        return
    if found.outcome != "REJECTED":
        ended = facts["execution"].rpartition(":")[2]
        raise UserError(f"{ended} ended as {found.outcome}: {found.reason}; the live version stays")
    reasons = "\n".join(f"  {part}" for part in found.reason.split("; "))
    answer(document, f"the gate refused the model; the live version stays:\n{reasons}", as_json=as_json)
    raise typer.Exit(REFUSED)
