"""Model Monitor: job definitions of the four monitors and their schedules.

A definition needs its endpoint, which must capture; it goes only when no schedule names it. What AWS's images do is done by our own
analyzers (``runners.STAND_INS``), and the status says so.

See: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateDataQualityJobDefinition.html
and https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateMonitoringSchedule.html
"""

import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial

from mlops_local import runners
from mlops_local.sagemaker import jobs, monitoring_runs, store
from mlops_local.sagemaker.errors import ServiceError, validation
from mlops_local.sagemaker.roles import Identity
from mlops_local.sagemaker.shapes import Record

TYPES = ("DataQuality", "ModelQuality", "ModelBias", "ModelExplainability")
# https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-schedule-expression.html
_CRON = re.compile(r"cron\(0 (\*|([01]?\d|2[0-3])(/([1-9]|1\d|2[0-4]))?) \? \* \* \*\)")
_SCHEDULE = "MonitoringSchedule"


def create_definition(what: str, request: Record) -> Record:
    """Create...JobDefinition."""
    kind, name = f"{what}JobDefinition", request["JobDefinitionName"]
    app, given = request[f"{what}AppSpecification"], request[f"{what}JobInput"]
    _refuse(what, request, app, given)
    jobs.command(app["ImageUri"], app, is_processing=True)
    endpoint = given["EndpointInput"]["EndpointName"]
    _check_endpoint(endpoint)
    Identity(request["RoleArn"], store.arn(kind, name)).check()
    record = {k: v for k, v in request.items() if k != "Tags"}
    arn = store.arn(kind, name)
    # what lists show has other names than what is described
    record |= {"EndpointName": endpoint, "MonitoringJobDefinitionName": name, "MonitoringJobDefinitionArn": arn}
    store.add(kind, name, record, request.get("Tags"))
    return {"JobDefinitionArn": arn}


def describe_definition(what: str, request: Record) -> Record:
    """Describe...JobDefinition."""
    return _get(f"{what}JobDefinition", request["JobDefinitionName"])


def list_definitions(what: str, request: Record) -> Record:
    """List...JobDefinitions."""
    rows = store.store().records[f"{what}JobDefinition"].values()
    wanted = [row for row in rows if request.get("EndpointName") in (None, row["EndpointName"])]
    return store.listing(f"List{what}JobDefinitions", request, wanted, status=None, descending=True)


def delete_definition(what: str, request: Record) -> Record:
    """Delete...JobDefinition; one that a schedule names stays."""
    # claim: definition-is-used-by-its-schedule
    name = request["JobDefinitionName"]
    with store.LOCK:
        _get(f"{what}JobDefinition", name)
        users = [
            row["MonitoringScheduleName"]
            for row in store.store().records[_SCHEDULE].values()
            if (row["MonitoringType"], row["MonitoringJobDefinitionName"]) == (what, name)
        ]
        if users:
            raise validation(f"Job definition {name} is in use by monitoring schedule {', '.join(users)}.")
        store.remove(f"{what}JobDefinition", name)
    return {}


def create_schedule(request: Record) -> Record:
    """CreateMonitoringSchedule."""
    name = request["MonitoringScheduleName"]
    record = {"MonitoringScheduleStatus": "Scheduled", **_configured(request["MonitoringScheduleConfig"])}
    added = store.add(_SCHEDULE, name, record, request.get("Tags"))
    monitoring_runs.wake()
    return {"MonitoringScheduleArn": added["MonitoringScheduleArn"]}


def update_schedule(request: Record) -> Record:
    """UpdateMonitoringSchedule: another definition or another time."""
    record = _get(_SCHEDULE, request["MonitoringScheduleName"])
    store.update(record, **_configured(request["MonitoringScheduleConfig"]))
    monitoring_runs.wake()
    return {"MonitoringScheduleArn": record["MonitoringScheduleArn"]}


def describe_schedule(request: Record) -> Record:
    """DescribeMonitoringSchedule, with its last execution."""
    record = _get(_SCHEDULE, request["MonitoringScheduleName"])
    last = max(monitoring_runs.executions(record["MonitoringScheduleName"]), key=_created, default=None)
    return record if last is None else record | {"LastMonitoringExecutionSummary": last}


def list_schedules(request: Record) -> Record:
    """ListMonitoringSchedules."""
    rows = [row for row in store.store().records[_SCHEDULE].values() if _fits(row, request)]
    return store.listing("ListMonitoringSchedules", request, rows, status="MonitoringScheduleStatus", descending=True)


def switch_schedule(status: str, request: Record) -> Record:
    """StartMonitoringSchedule and StopMonitoringSchedule; an execution that runs goes on."""
    store.update(_get(_SCHEDULE, request["MonitoringScheduleName"]), MonitoringScheduleStatus=status)
    monitoring_runs.wake()
    return {}


def delete_schedule(request: Record) -> Record:
    """DeleteMonitoringSchedule; not while an execution runs. What it has executed stays in lists."""
    # claim: schedule-with-executions-stays
    name = request["MonitoringScheduleName"]
    with store.LOCK:
        record = _get(_SCHEDULE, name)
        if monitoring_runs.running(name):
            raise validation(
                f"{record['MonitoringScheduleArn']} has executions in progress; it is deleted after their end."
            )
        store.remove(_SCHEDULE, name)
    return {}


def list_executions(request: Record) -> Record:
    """ListMonitoringExecutions, the newest first."""
    rows = [
        row
        for row in store.store().records["MonitoringExecution"].values()
        if _fits(row, request)
        and request.get("MonitoringScheduleName") in (None, row["MonitoringScheduleName"])
        and request.get("ScheduledTimeAfter", float("-inf")) <= row["ScheduledTime"].timestamp()
        and row["ScheduledTime"].timestamp() <= request.get("ScheduledTimeBefore", float("inf"))
    ]
    return store.listing("ListMonitoringExecutions", request, rows, status="MonitoringExecutionStatus", descending=True)


def control(method: str, body: bytes) -> tuple[int, object]:
    """Answer ``/_mlops/monitoring``: every schedule, and what stands for the image that it names."""
    del method, body
    return 200, {"monitoring": list(_told())}


def _told() -> Iterator[str]:
    for row in store.all_records(_SCHEDULE):
        definition = store.all_records(f"{row['MonitoringType']}JobDefinition")
        image = next(
            d[f"{row['MonitoringType']}AppSpecification"]["ImageUri"]
            for d in definition
            if d["JobDefinitionName"] == row["MonitoringJobDefinitionName"]
        )
        repository = runners.repository(image)
        stand_in = runners.STAND_INS.get(repository)
        ours = "" if stand_in is None else f", run by {stand_in} in place of AWS's image"
        yield f"{row['MonitoringScheduleName']} ({row['MonitoringType']}, {row['MonitoringScheduleStatus']}): {repository}{ours}"


def _configured(config: Record) -> Record:
    # claim: schedules-take-documented-times
    expression = config.get("ScheduleConfig", {}).get("ScheduleExpression")
    if "MonitoringJobDefinition" in config or "MonitoringJobDefinitionName" not in config:
        raise validation(
            "the embedded SageMaker wants MonitoringJobDefinitionName and MonitoringType, no definition in the schedule"
        )
    if config.get("MonitoringType") not in TYPES:
        raise validation(f"MonitoringType must be one of {', '.join(TYPES)}, got {config.get('MonitoringType')!r}")
    if expression is None or _CRON.fullmatch(expression) is None:
        raise validation(
            f"ScheduleExpression must be cron(0 * ? * * *), cron(0 HOUR ? * * *) or cron(0 HOUR/HOURS ? * * *), got {expression!r}"
        )
    definition = _get(f"{config['MonitoringType']}JobDefinition", config["MonitoringJobDefinitionName"])
    return {
        "MonitoringScheduleConfig": config,
        "MonitoringType": config["MonitoringType"],
        "MonitoringJobDefinitionName": config["MonitoringJobDefinitionName"],
        "EndpointName": definition["EndpointName"],
    }


def _refuse(what: str, request: Record, app: Record, given: Record) -> None:
    """Refuse by name what our analyzers and jobs have not."""
    baseline = request.get(f"{what}BaselineConfig", {})
    source = given.get("EndpointInput", {})
    problems = [
        "BatchTransformInput is not supported; give EndpointInput" if "EndpointInput" not in given else None,
        *(
            f"{name} is not supported: our analyzer runs no scripts of others"
            for name in ("RecordPreprocessorSourceUri", "PostAnalyticsProcessorSourceUri")
            if name in app
        ),
        "BaseliningJobName is not supported; give ConstraintsResource" if "BaseliningJobName" in baseline else None,
        "a definition must have a ConstraintsResource to compare with"
        if "ConstraintsResource" not in baseline
        else None,
        f"S3InputMode must be File, got {source['S3InputMode']}"
        if source.get("S3InputMode", "File") != "File"
        else None,
        "ExcludeFeaturesAttribute is not supported" if "ExcludeFeaturesAttribute" in source else None,
        "an execution has 1 instance" if request["JobResources"]["ClusterConfig"]["InstanceCount"] != 1 else None,
    ]
    found = [problem for problem in problems if problem is not None]
    if found:
        raise validation(f"the embedded SageMaker refuses the definition: {'; '.join(found)}")


def _check_endpoint(name: str) -> None:
    # AWS's words, as people have reported them
    # claim: definition-needs-a-capturing-endpoint
    endpoint = store.store().records["Endpoint"].get(name)
    if endpoint is None:
        raise validation(f"Endpoint '{name}' does not exist or is not valid")
    config = store.store().records["EndpointConfig"].get(endpoint["EndpointConfigName"], {})
    if not config.get("DataCaptureConfig", {}).get("EnableCapture", "DataCaptureConfig" in config):
        raise validation(f"Data capture is not enabled for endpoint '{name}'")


def _get(kind: str, name: str) -> Record:
    # claim: definition-is-used-by-its-schedule
    try:
        return store.get(kind, name)
    except ServiceError as error:
        raise ServiceError("ResourceNotFound", error.message) from error


def _fits(row: Record, request: Record) -> bool:
    wanted = {
        "EndpointName": "EndpointName",
        "MonitoringTypeEquals": "MonitoringType",
        "MonitoringJobDefinitionName": "MonitoringJobDefinitionName",
    }
    return all(request[asked] == row.get(member) for asked, member in wanted.items() if asked in request)


def _created(row: Record) -> float:
    return float(row["ScheduledTime"].timestamp())


OPERATIONS: Mapping[str, Callable[[Record], Record]] = {
    **{f"Create{what}JobDefinition": partial(create_definition, what) for what in TYPES},
    **{f"Describe{what}JobDefinition": partial(describe_definition, what) for what in TYPES},
    **{f"List{what}JobDefinitions": partial(list_definitions, what) for what in TYPES},
    **{f"Delete{what}JobDefinition": partial(delete_definition, what) for what in TYPES},
    "CreateMonitoringSchedule": create_schedule,
    "UpdateMonitoringSchedule": update_schedule,
    "DescribeMonitoringSchedule": describe_schedule,
    "ListMonitoringSchedules": list_schedules,
    "StartMonitoringSchedule": partial(switch_schedule, "Scheduled"),
    "StopMonitoringSchedule": partial(switch_schedule, "Stopped"),
    "DeleteMonitoringSchedule": delete_schedule,
    "ListMonitoringExecutions": list_executions,
}
