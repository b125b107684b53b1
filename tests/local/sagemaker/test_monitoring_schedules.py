"""Job definitions and schedules of Model Monitor by boto3 and by CloudFormation, and their executions."""

import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError
from ministack.core.responses import request_scope

from mlops_local.sagemaker import monitoring_schedules, resource_store
from mlops_local.sagemaker.api_shapes import ServiceError

if TYPE_CHECKING:
    from conftest import Plane

BUCKET = "plane"
REGISTRY = "156813124566.dkr.ecr.us-east-1.amazonaws.com"
ANALYZER = f"{REGISTRY}/sagemaker-model-monitor-analyzer"
ENDPOINT = "watched"
CONSTRAINTS = {
    "version": 0,
    "features": [
        {"name": "prediction", "inferred_type": "Fractional", "completeness": 1.0},
        {"name": "price", "inferred_type": "Integral", "completeness": 1.0},
    ],
    "monitoring_config": {"datatype_check_threshold": 1.0, "domain_content_threshold": 1.0},
}
QUALITY = {"regression_constraints": {"mae": {"threshold": 0.5, "comparison_operator": "GreaterThanThreshold"}}}


@pytest.fixture(scope="module", autouse=True)
def _endpoint(plane: "Plane") -> None:
    """An endpoint with capture, and the baselines."""
    plane.model(ENDPOINT)
    plane.config(
        ENDPOINT,
        count=1,
        EnableCapture=True,
        InitialSamplingPercentage=100,
        DestinationS3Uri=f"s3://{BUCKET}/capture",
        CaptureOptions=[{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
    )
    plane.endpoint(ENDPOINT, ENDPOINT)
    allowed = {"Effect": "Allow", "Action": "cloudwatch:PutMetricData", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    plane.cloud.client("iam").put_role_policy(RoleName="execution", PolicyName="metrics", PolicyDocument=policy)
    for name, document in (("constraints", CONSTRAINTS), ("quality", QUALITY)):
        plane.s3.put_object(Bucket=BUCKET, Key=f"baselines/{name}.json", Body=json.dumps(document).encode())


def _definition(plane: "Plane", name: str, what: str = "DataQuality", **changes: Any) -> dict[str, Any]:
    given: dict[str, Any] = {"EndpointInput": {"EndpointName": ENDPOINT, "LocalPath": "/opt/ml/processing/input_data"}}
    app: dict[str, Any] = {"ImageUri": ANALYZER}
    constraints = "constraints"
    if what == "ModelQuality":
        given["EndpointInput"] |= {"InferenceAttribute": "0", "StartTimeOffset": "-PT2H", "EndTimeOffset": "-PT1H"}
        given["GroundTruthS3Input"] = {"S3Uri": f"s3://{BUCKET}/labels"}
        app["ProblemType"], constraints = "Regression", "quality"
    output = {"S3Uri": f"s3://{BUCKET}/executions/{what}", "LocalPath": "/opt/ml/processing/output"}
    return {
        "JobDefinitionName": name,
        f"{what}AppSpecification": app,
        f"{what}BaselineConfig": {"ConstraintsResource": {"S3Uri": f"s3://{BUCKET}/baselines/{constraints}.json"}},
        f"{what}JobInput": given,
        f"{what}JobOutputConfig": {"MonitoringOutputs": [{"S3Output": output}]},
        "JobResources": {"ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 5}},
        "RoleArn": plane.role,
    } | changes


def _config(name: str, what: str = "DataQuality", expression: str = "cron(0 * ? * * *)") -> dict[str, Any]:
    return {
        "MonitoringJobDefinitionName": name,
        "MonitoringType": what,
        "ScheduleConfig": {"ScheduleExpression": expression},
    }


def _now(plane: "Plane") -> datetime:
    return datetime.fromtimestamp(plane.cloud.clock()["epoch"], UTC)


def _call(hour: datetime, number: int, prediction: float, price: str) -> str:
    sides = {"endpointInput": ("INPUT", price), "endpointOutput": ("OUTPUT", str(prediction))}
    captured = {
        side: {"observedContentType": "text/csv", "mode": mode, "data": data, "encoding": "CSV"}
        for side, (mode, data) in sides.items()
    }
    metadata = {"eventId": f"{hour:%d%H}-{number}", "inferenceTime": f"{hour:%Y-%m-%dT%H}:10:00Z"}
    return json.dumps({"captureData": captured, "eventMetadata": metadata, "eventVersion": "0"})


def _put(plane: "Plane", folder: str, hour: datetime, lines: list[str]) -> None:
    plane.s3.put_object(Bucket=BUCKET, Key=f"{folder}/{hour:%Y/%m/%d/%H}/part.jsonl", Body="\n".join(lines).encode())


def _executed(plane: "Plane", schedule: str, at: datetime) -> dict[str, Any]:
    def done() -> Any:
        listed = plane.sagemaker.list_monitoring_executions(MonitoringScheduleName=schedule)
        found = [e for e in listed["MonitoringExecutionSummaries"] if e["ScheduledTime"] == at]
        ended = found and found[0]["MonitoringExecutionStatus"] not in ("Pending", "InProgress")
        return found[0] if ended else None

    found: dict[str, Any] = plane.wait(done, f"the execution of {schedule} at {at}")
    return found


def _drop(plane: "Plane", schedule: str, what: str = "DataQuality") -> None:
    plane.sagemaker.stop_monitoring_schedule(MonitoringScheduleName=schedule)

    def gone() -> bool:
        try:
            plane.sagemaker.delete_monitoring_schedule(MonitoringScheduleName=schedule)
        except ClientError as error:
            assert "executions in progress" in error.response["Error"]["Message"]
            return False
        return True

    plane.wait(gone, f"the end of {schedule}'s executions")
    delete = {"DataQuality": plane.sagemaker.delete_data_quality_job_definition}.get(
        what, plane.sagemaker.delete_model_quality_job_definition
    )
    delete(JobDefinitionName=schedule)


def test_a_schedule_analyzes_the_hour_before(plane: "Plane") -> None:
    """At its hour, on the previous hour's captures, with AWS's files, names and status."""
    plane.sagemaker.create_data_quality_job_definition(**_definition(plane, "hourly"))
    plane.sagemaker.create_monitoring_schedule(
        MonitoringScheduleName="hourly", MonitoringScheduleConfig=_config("hourly")
    )
    hour = _now(plane).replace(minute=0, second=0, microsecond=0)
    _put(plane, f"capture/{ENDPOINT}/AllTraffic", hour, [_call(hour, i, 1.5, "7" if i else "7.5") for i in range(4)])
    at = hour + timedelta(hours=1)
    plane.cloud.clock_jump(to=at + timedelta(minutes=15))
    found = _executed(plane, "hourly", at)

    assert (found["MonitoringExecutionStatus"], found.get("FailureReason")) == ("CompletedWithViolations", None)
    job = plane.sagemaker.describe_processing_job(ProcessingJobName=found["ProcessingJobArn"].rpartition("/")[2])
    assert job["ProcessingJobName"].startswith(f"data-quality-monitoring-{at:%Y%m%d%H%M}-")
    assert job["ProcessingEndTime"] < at + timedelta(minutes=15)  # the jump waited for it
    assert job["MonitoringScheduleArn"].endswith(":monitoring-schedule/hourly")
    assert job["ExitMessage"] == "CompletedWithViolations: Job completed successfully with 1 violations."
    folder = f"executions/DataQuality/{ENDPOINT}/hourly/{at:%Y/%m/%d/%H}"
    read = {
        name: json.loads(plane.s3.get_object(Bucket=BUCKET, Key=f"{folder}/{name}.json")["Body"].read())
        for name in ("statistics", "constraint_violations")
    }
    assert read["statistics"]["dataset"] == {"item_count": 4}
    assert read["statistics"]["analyzer"] == "mlops_runtime"
    (violation,) = read["constraint_violations"]["violations"]
    assert (violation["feature_name"], violation["constraint_check_type"]) == ("price", "data_type_check")
    dimensions = [{"Name": "Endpoint", "Value": ENDPOINT}, {"Name": "MonitoringSchedule", "Value": "hourly"}]
    data = plane.cloudwatch.get_metric_statistics(
        Namespace="aws/sagemaker/Endpoints/data-metrics", MetricName="feature_data_price", Dimensions=dimensions,
        StartTime=hour - timedelta(hours=1), EndTime=at, Period=3600, Statistics=["Maximum", "SampleCount"],
    )["Datapoints"]  # fmt: skip
    assert [(point["Maximum"], point["SampleCount"]) for point in data] == [(7.5, 4.0)]
    last = plane.sagemaker.describe_monitoring_schedule(MonitoringScheduleName="hourly")
    assert last["LastMonitoringExecutionSummary"]["ScheduledTime"] == at
    assert "run by mlops_runtime.jobs.model_monitor in place of AWS's image" in str(plane.cloud.status()["monitoring"])
    _drop(plane, "hourly")


def test_labels_are_joined_before_quality_is_analyzed(plane: "Plane") -> None:
    """Two jobs: the first writes merged records, the second their metrics."""
    plane.sagemaker.create_model_quality_job_definition(**_definition(plane, "quality", "ModelQuality"))
    plane.sagemaker.create_monitoring_schedule(
        MonitoringScheduleName="quality", MonitoringScheduleConfig=_config("quality", "ModelQuality")
    )
    hour = _now(plane).replace(minute=0, second=0, microsecond=0)
    _put(plane, f"capture/{ENDPOINT}/AllTraffic", hour, [_call(hour, i, float(i), "7") for i in range(3)])
    labels = [
        {
            "groundTruthData": {"data": "4", "encoding": "CSV"},
            "eventMetadata": {"eventId": f"{hour:%d%H}-{i}"},
            "eventVersion": "0",
        }
        for i in range(2)
    ]
    _put(plane, "labels", hour + timedelta(hours=1), [json.dumps(label) for label in labels])
    at = hour + timedelta(hours=2)
    plane.cloud.clock_jump(to=at + timedelta(minutes=15))
    found = _executed(plane, "quality", at)

    assert (found["MonitoringExecutionStatus"], found.get("FailureReason")) == ("CompletedWithViolations", None)
    folder = f"executions/ModelQuality/{ENDPOINT}/quality/{at:%Y/%m/%d/%H}"
    statistics = json.loads(plane.s3.get_object(Bucket=BUCKET, Key=f"{folder}/statistics.json")["Body"].read())
    assert statistics["dataset"]["item_count"] == 2
    assert statistics["regression_metrics"]["mae"] == {"value": 3.5, "standard_deviation": "NaN"}
    merged = plane.s3.list_objects_v2(Bucket=BUCKET, Prefix=f"executions/ModelQuality/merge/{ENDPOINT}/AllTraffic/")
    assert merged["KeyCount"] == 1
    _drop(plane, "quality", "ModelQuality")


def test_an_hour_without_captures_fails_in_awss_words(plane: "Plane") -> None:
    """Instead of a silent success."""
    plane.sagemaker.create_data_quality_job_definition(**_definition(plane, "empty"))
    plane.sagemaker.create_monitoring_schedule(
        MonitoringScheduleName="empty", MonitoringScheduleConfig=_config("empty")
    )
    at = (_now(plane) + timedelta(hours=3)).replace(minute=0, second=0, microsecond=0)
    plane.cloud.clock_jump(to=at + timedelta(minutes=15))
    found = _executed(plane, "empty", at)

    assert (found["MonitoringExecutionStatus"], found["FailureReason"]) == ("Failed", "Job inputs had no data")
    _drop(plane, "empty")


def test_a_stopped_schedule_is_not_due(plane: "Plane") -> None:
    """Until it is started again."""
    plane.sagemaker.create_data_quality_job_definition(**_definition(plane, "stopped"))
    plane.sagemaker.create_monitoring_schedule(
        MonitoringScheduleName="stopped", MonitoringScheduleConfig=_config("stopped")
    )
    plane.sagemaker.stop_monitoring_schedule(MonitoringScheduleName="stopped")
    described = plane.sagemaker.describe_monitoring_schedule(MonitoringScheduleName="stopped")
    assert described["MonitoringScheduleStatus"] == "Stopped"
    plane.cloud.clock_jump(by=timedelta(hours=2))
    assert (
        plane.sagemaker.list_monitoring_executions(MonitoringScheduleName="stopped")["MonitoringExecutionSummaries"]
        == []
    )
    listed = plane.sagemaker.list_monitoring_schedules(StatusEquals="Stopped", MonitoringTypeEquals="DataQuality")
    assert [row["MonitoringScheduleName"] for row in listed["MonitoringScheduleSummaries"]] == ["stopped"]
    _drop(plane, "stopped")


@pytest.mark.parametrize("status", ["Pending", "InProgress"])
def test_a_schedule_stays_while_it_executes(status: str) -> None:
    """Its deletion is rejected until the execution has ended."""
    request = {"MonitoringScheduleName": "busy"}
    with request_scope(str(uuid.uuid4().int)[:12], "eu-west-1"):
        resource_store.add("MonitoringSchedule", "busy", dict(request))
        execution = resource_store.store().records["MonitoringExecution"]["first"] = {
            **request,
            "MonitoringExecutionStatus": status,
        }
        with pytest.raises(ServiceError, match="has executions in progress"):
            monitoring_schedules.delete_schedule(request)
        execution["MonitoringExecutionStatus"] = "Completed"
        monitoring_schedules.delete_schedule(request)

        assert resource_store.store().records["MonitoringSchedule"] == {}


def test_a_definition_goes_only_when_no_schedule_names_it(plane: "Plane") -> None:
    """In the order of the construct."""
    for name in ("old", "new"):
        plane.sagemaker.create_data_quality_job_definition(**_definition(plane, name))
    plane.sagemaker.create_monitoring_schedule(MonitoringScheduleName="held", MonitoringScheduleConfig=_config("old"))
    with pytest.raises(ClientError, match="in use by monitoring schedule held"):
        plane.sagemaker.delete_data_quality_job_definition(JobDefinitionName="old")
    plane.sagemaker.update_monitoring_schedule(
        MonitoringScheduleName="held", MonitoringScheduleConfig=_config("new", expression="cron(0 5 ? * * *)")
    )
    plane.sagemaker.delete_data_quality_job_definition(JobDefinitionName="old")
    listed = plane.sagemaker.list_data_quality_job_definitions(EndpointName=ENDPOINT)["JobDefinitionSummaries"]
    assert [row["MonitoringJobDefinitionName"] for row in listed] == ["new"]
    plane.sagemaker.delete_monitoring_schedule(MonitoringScheduleName="held")
    plane.sagemaker.delete_data_quality_job_definition(JobDefinitionName="new")
    for call, name in (
        (plane.sagemaker.describe_monitoring_schedule, "MonitoringScheduleName"),
        (plane.sagemaker.describe_data_quality_job_definition, "JobDefinitionName"),
    ):
        with pytest.raises(ClientError) as error:
            call(**{name: "held"})
        assert error.value.response["Error"]["Code"] == "ResourceNotFound"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"DataQualityJobInput": {"EndpointInput": {"EndpointName": "x", "LocalPath": "/opt/ml/processing/i"}}},
            "Endpoint 'x' does not exist",
        ),
        (
            {"DataQualityAppSpecification": {"ImageUri": ANALYZER, "RecordPreprocessorSourceUri": "s3://b/k.py"}},
            "RecordPreprocessorSourceUri",
        ),
        ({"DataQualityAppSpecification": {"ImageUri": f"{REGISTRY}/other"}}, "no runner for image repository 'other'"),
        (
            {"DataQualityBaselineConfig": {"BaseliningJobName": "j"}},
            "BaseliningJobName is not supported.*ConstraintsResource",
        ),
    ],
)
def test_what_is_not_here_is_refused_by_name(plane: "Plane", changes: dict[str, Any], message: str) -> None:
    """At creation, not at the first execution."""
    with pytest.raises(ClientError, match=message):
        plane.sagemaker.create_data_quality_job_definition(**_definition(plane, "refused", **changes))


@pytest.mark.parametrize("expression", ["rate(1 hour)", "NOW", "cron(30 * ? * * *)", "cron(0 24 ? * * *)"])
def test_only_documented_times_are_taken(plane: "Plane", expression: str) -> None:
    """Hourly, or every few hours."""
    with pytest.raises(ClientError, match="ScheduleExpression must be cron"):
        plane.sagemaker.create_monitoring_schedule(
            MonitoringScheduleName="never", MonitoringScheduleConfig=_config("x", expression=expression)
        )


def test_a_stack_replaces_a_definition_under_its_schedule(plane: "Plane") -> None:
    """The new definition first, then the schedule, the old one last; a changed definition with the same name is rejected."""
    cloudformation = plane.cloud.client("cloudformation")

    def template(name: str, size: int) -> str:
        properties = _definition(plane, name)
        properties["JobResources"]["ClusterConfig"]["VolumeSizeInGB"] = size
        schedule = {
            "MonitoringScheduleName": "declared",
            "MonitoringScheduleConfig": _config(name, expression="cron(0 5 ? * * *)"),
        }
        return json.dumps(
            {
                "Resources": {
                    "Definition": {"Type": "AWS::SageMaker::DataQualityJobDefinition", "Properties": properties},
                    "Schedule": {
                        "Type": "AWS::SageMaker::MonitoringSchedule",
                        "Properties": schedule,
                        "DependsOn": "Definition",
                    },
                }
            }
        )

    def ended() -> Any:
        status = cloudformation.describe_stacks(StackName="watching")["Stacks"][0]["StackStatus"]
        return None if status.endswith("_IN_PROGRESS") else status

    def definitions() -> list[str]:
        listed = plane.sagemaker.list_data_quality_job_definitions(NameContains="declared")["JobDefinitionSummaries"]
        return [row["MonitoringJobDefinitionName"] for row in listed]

    cloudformation.create_stack(StackName="watching", TemplateBody=template("declared-1", 5))
    assert plane.wait(ended, "the stack") == "CREATE_COMPLETE"
    cloudformation.update_stack(StackName="watching", TemplateBody=template("declared-2", 6))
    assert plane.wait(ended, "the update") == "UPDATE_COMPLETE"
    described = plane.sagemaker.describe_monitoring_schedule(MonitoringScheduleName="declared")
    assert described["MonitoringScheduleConfig"]["MonitoringJobDefinitionName"] == "declared-2"
    assert definitions() == ["declared-2"]
    cloudformation.update_stack(StackName="watching", TemplateBody=template("declared-2", 7))
    assert plane.wait(ended, "the rollback") == "UPDATE_ROLLBACK_COMPLETE"
    cloudformation.delete_stack(StackName="watching")
    plane.wait(lambda: not definitions(), "the end of the stack")
