"""The Retrain machine as data: from a training set to a registered package, or to a recorded rejection."""

from collections.abc import Mapping
from dataclasses import dataclass

from mlops_constructs._states import EXECUTION, NOW, State, assign, choose, invoke, put_event, task
from mlops_constructs.retraining.jobs import (
    JobEnvironment,
    evaluation_job,
    evaluation_prefix,
    training_job,
    training_set_job,
)
from mlops_runtime.contracts.events import DetailType, event_source
from mlops_runtime.contracts.retraining import EvaluationPlan, TrainingSetPlan

# SageMaker may take this long to find instances and to copy data, besides the job's own run time
_JOB_GRACE_SECONDS = 1800
_CHARACTERS_OF_NAME = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrainPlan:
    """What one pipeline trains, on what, and where its parts are; ARNs and names may be tokens."""

    pipeline: str
    unit_name: str
    group_name: str
    endpoint_name: str
    jobs: JobEnvironment
    training_set: TrainingSetPlan
    evaluation: EvaluationPlan
    database: str
    tables: tuple[str, ...]
    script: str
    code_uri: str
    gate_arn: str
    record_arn: str
    rollout_table: str
    retraining_table: str
    bus_name: str
    is_automatic: bool


def total_seconds(maximum: int) -> int:
    """Return how long a retraining may take: three jobs and an hour for what stands between them."""
    return 3 * (maximum + _JOB_GRACE_SECONDS) + 3600


def retrain_machine(plan: RetrainPlan, *, partition: str = "aws") -> dict[str, object]:
    """Return the machine that trains, measures and registers one candidate.

    Every path ends with Release: the guard admits the next retraining only then.

    Args:
        plan: What is trained and where.
        partition: AWS partition. Default: ``aws``.
    """
    states: dict[str, State] = {
        "Start": assign(
            "ReadChampion",
            request="{% $states.input %}",
            execution=EXECUTION,
            name="{% $states.context.Execution.Name %}",
            job=f"{{% '{plan.pipeline}-' & $substring($states.context.Execution.Name, 0, {_CHARACTERS_OF_NAME}) %}}",
            outcome="FAILED",
            reason="",
            caught="",
            package="",
        ),
        "ReadChampion": task(
            "dynamodb:getItem",
            {"TableName": plan.rollout_table, "Key": {"endpoint": {"S": plan.endpoint_name}}, "ConsistentRead": True},
            partition=partition,
            next_state="TrainingSet",
            catch="Caught",
            assign={
                "champion": "{% $exists($states.result.Item.live.S) ? $parse($states.result.Item.live.S) : null %}"
            },
        ),
        **_job_states(plan, partition),
        **_gate_states(plan, partition),
        "Caught": assign("Release", reason="{% $caught %}"),
        "Release": task(
            "dynamodb:updateItem",
            {
                "TableName": plan.retraining_table,
                "Key": {"pipeline": {"S": plan.pipeline}, "item": {"S": "STATE"}},
                "UpdateExpression": "REMOVE #owner, lock_until",
                "ConditionExpression": "#owner = :me",
                "ExpressionAttributeNames": {"#owner": "owner"},
                "ExpressionAttributeValues": {":me": {"S": "{% $execution %}"}},
            },
            partition=partition,
            next_state="Announce",
            catch="Announce",
        ),
        "Announce": put_event(
            bus_name=plan.bus_name,
            source=event_source(plan.unit_name),
            detail_type=DetailType.RETRAINING_FINISHED.value,
            detail={
                "version": "mlops.event/1",
                "id": "{% $execution %}",
                "subject": plan.pipeline,
                "outcome": "{% $outcome %}",
                "reason": "{% $reason %}",
                "attributes": {"trigger": "{% $request.trigger & '' %}", "package": "{% $package %}"},
            },
            partition=partition,
            next_state="Finish",
        ),
        "Finish": choose(("$outcome = 'FAILED'", "DidNotTrain"), default="Done"),
        "Done": {
            "Type": "Pass",
            "Output": {"outcome": "{% $outcome %}", "reason": "{% $reason %}", "package": "{% $package %}"},
            "End": True,
        },
        "DidNotTrain": {"Type": "Fail", "Error": "{% $outcome %}", "Cause": "{% $reason %}"},
    }
    return {
        "Comment": f"Retrain {plan.pipeline}: training set, train, evaluate, gate, register, approve",
        "QueryLanguage": "JSONata",
        "TimeoutSeconds": total_seconds(plan.jobs.maximum),
        "StartAt": "Start",
        "States": states,
    }


def _job_states(plan: RetrainPlan, partition: str) -> dict[str, State]:
    jobs, timeout = plan.jobs, plan.jobs.maximum + _JOB_GRACE_SECONDS

    def job(kind: str, arguments: object, next_state: str, variables: Mapping[str, object] | None = None) -> State:
        return task(
            f"sagemaker:create{kind}Job.sync",
            arguments,
            partition=partition,
            next_state=next_state,
            catch="Caught",
            assign=variables,
            timeout=timeout,
        )

    def evaluate(*, has_champion: bool) -> State:
        arguments = evaluation_job(jobs, plan.evaluation, plan.training_set, has_champion=has_champion)
        return job("Processing", arguments, "Gate")

    return {
        "TrainingSet": job(
            "Processing",
            training_set_job(jobs, plan.training_set, database=plan.database, tables=plan.tables),
            "Train",
        ),
        "Train": job(
            "Training",
            training_job(jobs, plan.training_set, script=plan.script, code_uri=plan.code_uri),
            "HasChampion",
            {"train": {"ModelArtifacts": "{% $states.result.ModelArtifacts %}"}},
        ),
        "HasChampion": choose(("$champion != null", "EvaluateAgainstChampion"), default="Evaluate"),
        "EvaluateAgainstChampion": evaluate(has_champion=True),
        "Evaluate": evaluate(has_champion=False),
    }


def _gate_states(plan: RetrainPlan, partition: str) -> dict[str, State]:
    names = ("artifact_sha256", "model_sha256", "training_set_id", "baseline_uri", "evaluation_uri")
    metadata = {name: f"{{% $gate.{name} %}}" for name in names} | {"execution": "{% $execution %}"}
    package = {
        "ModelPackageGroupName": plan.group_name,
        "ModelPackageDescription": "{% 'trained by ' & $name %}",
        "ModelApprovalStatus": "PendingManualApproval",
        # the registry answers a repeated call with the package of the first one
        "ClientToken": "{% $substring($hash($execution, 'SHA-256'), 0, 32) %}",
        "CustomerMetadataProperties": metadata,
        "InferenceSpecification": {
            "Containers": [
                {
                    "Image": plan.jobs.image_uri,
                    "ModelDataUrl": "{% $train.ModelArtifacts.S3ModelArtifacts %}",
                    "Environment": {"MLOPS_MODEL_SHA256": "{% $gate.model_sha256 %}"},
                }
            ],
            "SupportedContentTypes": ["application/json", "text/csv"],
            "SupportedResponseMIMETypes": ["application/json", "text/csv"],
        },
    }
    approval = {
        "ModelPackageArn": "{% $package %}",
        "ModelApprovalStatus": "Approved",
        "ApprovalDescription": "{% 'approved by policy: ' & $substring($reason, 0, 900) %}",
    }
    register = task(
        "aws-sdk:sagemaker:createModelPackage",
        package,
        partition=partition,
        next_state="Approve" if plan.is_automatic else "Registered",
        catch="Caught",
        assign={"package": "{% $states.result.ModelPackageArn %}"},
    )
    approve = task(
        "aws-sdk:sagemaker:updateModelPackage", approval, partition=partition, next_state="Approved", catch="Caught"
    )
    ends: dict[str, State] = (
        {"Approve": approve, "Approved": assign("Release", outcome="APPROVED")}
        if plan.is_automatic
        else {"Registered": assign("Release", outcome="REGISTERED")}
    )
    return {
        "Gate": invoke(
            plan.gate_arn,
            {
                "evaluation_uri": f"{evaluation_prefix(plan.jobs)} & '/evaluation.json' %}}",
                "execution": "{% $execution %}",
                "now": NOW,
            },
            partition=partition,
            next_state="IsBetter",
            catch="Caught",
            assign={"gate": "{% $states.result.Payload %}", "reason": "{% $states.result.Payload.reason %}"},
            timeout=330,
        ),
        "IsBetter": choose(("$gate.verdict = 'PASSED'", "Register"), default="Reject"),
        "Reject": invoke(
            plan.record_arn,
            {
                "plan": None,
                "request": "{% $request %}",
                "outcome": "REJECTED",
                "reason": "{% $reason %}",
                "execution": "{% $execution %}",
                "now": NOW,
                "candidate": {name: metadata[name] for name in ("model_sha256", "training_set_id")},
            },
            partition=partition,
            next_state="Rejected",
            catch="Caught",
        ),
        "Rejected": assign("Release", outcome="REJECTED"),
        "Register": register,
        **ends,
    }
