"""Every operation of the console in a table: address, what does it, the body that it takes, and the role."""

from mlops_runtime.console import approval_pages, model_pages, rollback_calls, unit_calls
from mlops_runtime.console.route import Role, Route
from mlops_runtime.console.write_requests import (
    AbortBody,
    ClockBody,
    DecisionBody,
    PauseBody,
    RetrainingBody,
    RollbackBody,
)

_UNIT = "/units/{unit}"
_ENDPOINT = f"{_UNIT}/endpoints/{{endpoint}}"
_RETRAININGS = f"{_UNIT}/pipelines/{{pipeline}}/retrainings"
_PACKAGE = "/packages/{group}/{number}"

_READS = (
    ("/units", "listUnits", "List the units by name", model_pages.units),
    (_UNIT, "readUnit", "Read the models of a unit, the worst first", model_pages.unit),
    (
        _ENDPOINT,
        "readEndpoint",
        "Read one model: its versions, the cause, the changes of 24 hours",
        model_pages.endpoint,
    ),
    (f"{_ENDPOINT}/rollbacks/{{execution}}", "followRollback", "Tell where a rollback is", rollback_calls.progress),
    (f"{_RETRAININGS}/{{event}}", "followRetraining", "Tell what came of a request to retrain", unit_calls.retraining),
    ("/approvals", "listApprovals", "List the packages that wait for a person", approval_pages.approvals),
    (_PACKAGE, "readPackage", "Read one package with its evidence", approval_pages.package),
)
_WRITES = (
    (
        f"{_ENDPOINT}/rollbacks",
        "rollBack",
        "Begin a rollback",
        rollback_calls.roll_back,
        RollbackBody,
        Role.ON_CALL,
        202,
    ),
    (
        f"{_ENDPOINT}/abort",
        "abortRollout",
        "Abort the rollout that runs",
        rollback_calls.abort,
        AbortBody,
        Role.ON_CALL,
        202,
    ),
    (f"{_UNIT}/pause", "pauseUnit", "Pause the automation", unit_calls.pause, PauseBody, Role.ON_CALL, 200),
    (f"{_UNIT}/resume", "resumeUnit", "Resume the automation", unit_calls.resume, PauseBody, Role.ON_CALL, 200),
    (_RETRAININGS, "retrain", "Ask for a retraining", unit_calls.retrain, RetrainingBody, Role.ON_CALL, 202),
    (
        f"{_PACKAGE}/approval",
        "approve",
        "Approve a package, which starts its rollout",
        approval_pages.approve,
        DecisionBody,
        Role.APPROVER,
        200,
    ),
    (f"{_PACKAGE}/rejection", "reject", "Reject a package", approval_pages.reject, DecisionBody, Role.APPROVER, 200),
    ("/clock", "moveClock", "Move the embedded cloud's clock", unit_calls.move_clock, ClockBody, Role.READER, 200),
)

ROUTES = (
    *(Route(method="GET", path=path, operation=name, summary=says, act=act) for path, name, says, act in _READS),
    *(
        Route(method="POST", path=path, operation=name, summary=says, act=act, takes=takes, role=role, status=status)
        for path, name, says, act, takes, role, status in _WRITES
    ),
)
