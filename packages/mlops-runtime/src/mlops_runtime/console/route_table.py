"""Table of the console's operations: path, name, summary, function, body contract and role."""

from mlops_runtime.console import (
    approval_pages,
    audit_pages,
    daily_costs,
    drift_pages,
    feature_pages,
    lineage_pages,
    model_pages,
    rollback_calls,
    unit_calls,
)
from mlops_runtime.console.route import Parameter, Role, Route
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

_AUDIT = "/audit/{name}"
_WINDOW = Parameter(
    name="window",
    description="newest (the default), the hour in which the window ended, or the day if it is the day's only window",
    pattern=r"^(newest|[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}(:[0-9]{2}){0,2}(Z|[+-][0-9]{2}:[0-9]{2})?)?)$",
)
_FEATURE = Parameter(name="feature", description="The feature", pattern=r"^[^\x00-\x1f]{1,256}$", is_required=True)
_TEXT = Parameter(
    name="text",
    description="Words that must all occur",
    pattern=r"^[^\x00-\x1f]*[A-Za-z0-9][^\x00-\x1f]*$",
    is_required=True,
)
_UNTIL = Parameter(
    name="until",
    description="Sequence and hash of the newest record to check, from rest of the previous response",
    pattern=r"^[1-9][0-9]{0,7}-[0-9a-f]{64}$",
)
_COLUMN = Parameter(name="column", description="A feature or key column", pattern=r"^[A-Za-z0-9_]{1,128}$")

_READS = (
    ("/units", "listUnits", "List the units by name", model_pages.units),
    ("/costs", "readCosts", "Read the daily costs of units and endpoints", daily_costs.costs),
    (_UNIT, "readUnit", "Read the models of a unit, worst state first", model_pages.unit),
    (
        _ENDPOINT,
        "readEndpoint",
        "Read one model: versions, cause of its state, changes of 24 hours",
        model_pages.endpoint,
    ),
    (
        f"{_ENDPOINT}/rollbacks/{{execution}}",
        "followRollback",
        "Read the progress of a rollback",
        rollback_calls.progress,
    ),
    (
        f"{_RETRAININGS}/{{event}}",
        "followRetraining",
        "Read the outcome of a retraining request",
        unit_calls.retraining,
    ),
    ("/approvals", "listApprovals", "List the packages that await an approval", approval_pages.approvals),
    (_PACKAGE, "readPackage", "Read one package with its evidence", approval_pages.package),
    (f"{_UNIT}/features", "findFeatures", "Find feature groups and services by words", feature_pages.find, _TEXT),
    (
        f"{_UNIT}/features/{{table}}/users",
        "listUsers",
        "List the training sets that read a table",
        feature_pages.users,
        _COLUMN,
    ),
    (
        f"{_PACKAGE}/lineage",
        "readLineage",
        "Read the rows and code that a package was trained from",
        lineage_pages.lineage,
    ),
    (f"{_ENDPOINT}/drift", "readDrift", "Read a monitor's report of a window", drift_pages.window, _WINDOW),
    (
        f"{_ENDPOINT}/drift/feature",
        "readFeatureDrift",
        "Read one feature of a window",
        drift_pages.feature,
        _WINDOW,
        _FEATURE,
    ),
    (_AUDIT, "readAudit", "Read the newest records of an endpoint or unit", audit_pages.records),
    (f"{_AUDIT}/verification", "verifyAudit", "Verify a chain of records", audit_pages.verify, _UNTIL),
    (
        f"{_AUDIT}/records/{{number}}",
        "readRecord",
        "Read one record with the evidence of its verdict",
        audit_pages.record,
    ),
)
_WRITES = (
    (
        f"{_ENDPOINT}/rollbacks",
        "rollBack",
        "Start a rollback",
        rollback_calls.roll_back,
        RollbackBody,
        Role.ON_CALL,
        202,
    ),
    (
        f"{_ENDPOINT}/abort",
        "abortRollout",
        "Abort the running rollout",
        rollback_calls.abort,
        AbortBody,
        Role.ON_CALL,
        202,
    ),
    (f"{_UNIT}/pause", "pauseUnit", "Pause the automation", unit_calls.pause, PauseBody, Role.ON_CALL, 200),
    (f"{_UNIT}/resume", "resumeUnit", "Resume the automation", unit_calls.resume, PauseBody, Role.ON_CALL, 200),
    (_RETRAININGS, "retrain", "Request a retraining", unit_calls.retrain, RetrainingBody, Role.ON_CALL, 202),
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
    ("/clock", "moveClock", "Advance the embedded cloud's clock", unit_calls.move_clock, ClockBody, Role.READER, 200),
)
_GRAVE = ("approve", "reject", "rollBack")  # protected against use of an unattended browser

ROUTES = (
    *(
        Route(method="GET", path=path, operation=name, summary=summary, act=act, query=tuple(query))
        for path, name, summary, act, *query in _READS
    ),
    *(
        Route(
            method="POST",
            path=path,
            operation=name,
            summary=summary,
            act=act,
            takes=takes,
            role=role,
            status=status,
            is_grave=name in _GRAVE,
        )
        for path, name, summary, act, takes, role, status in _WRITES
    ),
)
