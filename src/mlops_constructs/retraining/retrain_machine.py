"""The Retrain state machine: training set, training, evaluation, gate, and registration of candidates that pass."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from mlops_constructs._state_machine import (
    EXECUTION,
    NOW,
    NULL,
    State,
    assign,
    choose,
    fail,
    invoke,
    machine,
    put_event,
    task,
)
from mlops_constructs.model_registry.approval import policy_description
from mlops_constructs.retraining.job_requests import (
    CHARACTERS_OF_NAME,
    JOB_GRACE_SECONDS,
    Champion,
    FeaturePlan,
    JobEnvironment,
    ProcessingPlan,
    ServerPlan,
    evaluation_job,
    evaluation_prefix,
    prediction_job,
    preparation_job,
    spark_run,
    split_list,
    training_job,
    training_set_job,
)
from mlops_constructs.retraining.server_states import server_states
from mlops_runtime.contracts.events import DetailType, event_source
from mlops_runtime.contracts.retraining import EvaluationPlan, candidate_item

# values of the approvers' message, as variables of the machine
MESSAGE_VARIABLES = {
    "package": "$package",
    "reason": "$reason",
    "execution": "$execution",
    "training_set_id": "$gate.training_set_id",
    "model_sha256": "$gate.model_sha256",
    "evaluation_uri": "$gate.evaluation_uri",
}
_FROM_GATE = (
    "artifact_sha256",
    "model_sha256",
    "training_set_id",
    "baseline_uri",
    "evaluation_uri",
    "evaluation_sha256",
    "baseline_sha256",
    "signing_key",
    "code",
    "container_fields",
    "container_sha256",
    "flavor",
    "trust",
    "trained_until",
    "feature_service",
)


# source of the job's code, from SageMaker's description of the job
_CODE_THAT_RAN = "{% $states.result.InputDataConfig[ChannelName = 'code'].DataSource.S3DataSource.S3Uri & '' %}"

# the request for which the guard gave this execution the lock
_ACCEPTED = """{% (
    $row := $states.result.Item;
    $row.owner.S = $execution and $exists($row.request.S) ? $parse($row.request.S) : null
) %}"""


# a prefix per model and holdout; a holdout with more than one page of files is never found again
_PREDICTIONS = """{{% (
    $files := $states.result.Contents.(Key & ' ' & ETag);
    $content := $hash($join($files, ' ') & ($states.result.IsTruncated ? $name : ''), 'SHA-256');
    'predictions/{pipeline}/' & $champion.model_sha256 & '-' & $content
) %}}"""


# fields of `BroughtCandidate` at the end of a run
_BROUGHT = {
    # a run may fail after it has registered the package
    "outcome": "{% $outcome = 'FAILED' ? 'REGISTERED' : $outcome %}",
    "execution": "{% $execution %}",
    "at": NOW,
    "reason": "{% $reason %}",
    "package": "{% $package %}",
    "predictions_uri": "{% $request.candidate.predictions_uri & '' %}",
}
# identifies the training set at a prefix that is republished: publishers write the manifest last
_PUBLISHED = "{% $join([$states.result.Contents.(Key & ' ' & ETag & ' ' & LastModified)], ' ') %}"
_REPUBLISHED = """{{% 'the training set was published again during the run, which may have ' & ($exists($request.candidate)
    ? 'read two sets; register the model again: mlops models register {0} MODEL'
    : 'trained on one set and evaluated on the other; request it again: mlops train {0} --reason ...') %}}"""
_UNAPPROVED = """{% (
    $version := $substringAfter($package, ':model-package/');
    $package = '' ? $caught
    : 'registered as ' & $version & ', which could not be approved: ' & $caught & '; approve it: mlops models approve ' & $version
) %}"""
_TOO_LARGE = """{{% 'the training set does not fit the training-set job of {pipeline}, on {instance_type}: ' & $size
    & '; give the pipeline training_set_job=TrainingSetJob(...), or a larger instance_type, and deploy the stack' %}}"""
_NOT_BUILT = """{% 'Spark failed to build the training set, which it builds because ' & $size & ': ' & $caught
    & '; nothing was changed: request the retraining again' %}"""
_NO_SERVER = """{{% 'the live model of {endpoint} needs a third-party container'
    & ($exists($champion.image) ? ', ' & $champion.image : '') & ', which {pipeline} does not declare: give its TrainingJob '
    & 'former_serving=ServingContainer(image=...) with that image, and deploy the stack' %}}"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """Registration and approval of packages; ARNs and names may be tokens.

    ``waiting_message`` and, with a chat topic, ``waiting_notification`` are arguments of ``sns:publish``; ``code_sha256`` is the
    hash of the training code; ``content_types`` are the content types that the image accepts.
    """

    group_name: str
    image_uri: str
    code_sha256: str
    is_automatic: bool
    waiting_message: Mapping[str, object]
    waiting_notification: Mapping[str, object] | None = None
    content_types: Sequence[str] = ("application/json", "text/csv")


def registration_states(plan: Registration) -> dict[str, State]:
    """Return the states from Register to WasBrought.

    Automatic approval requires that the unit is not paused or frozen; otherwise packages await a person's approval, with the
    reason.

    Args:
        plan: Registry and approval.
    """
    after_waiting = "Registered" if plan.waiting_notification is None else "TellChat"
    states: dict[str, State] = {
        "Register": task(
            "aws-sdk:sagemaker:createModelPackage",
            _package(plan),
            next_state="MayApprove" if plan.is_automatic else "TellPeople",
            catch="Caught",
            assign={"package": "{% $states.result.ModelPackageArn %}"},
        ),
        # a failed notification does not change the outcome
        "TellPeople": task(
            "sns:publish",
            dict(plan.waiting_message),
            next_state=after_waiting,
            catch=after_waiting,
        ),
        "Registered": assign("WasBrought", outcome="REGISTERED"),
    }
    if plan.waiting_notification is not None:
        states["TellChat"] = task(
            "sns:publish",
            dict(plan.waiting_notification),
            next_state="Registered",
            catch="Registered",
        )
    if not plan.is_automatic:
        return states
    approval = {
        "ModelPackageArn": "{% $package %}",
        "ModelApprovalStatus": "Approved",
        "ApprovalDescription": policy_description(reason="$reason", binding="$gate.container_sha256"),
    }
    return {
        **states,
        "MayApprove": choose(("$gate.may_approve", "Approve"), default="LeavePending"),
        "LeavePending": assign(
            "TellPeople", reason="{% 'not approved automatically: ' & $gate.rest & '; ' & $reason %}"
        ),
        "Approve": task("aws-sdk:sagemaker:updateModelPackage", approval, next_state="Approved", catch="Caught"),
        "Approved": assign("WasBrought", outcome="APPROVED"),
    }


def _of_gate(*names: str) -> str:
    """Return an expression that selects these fields of the gate's result; ONNX models have no flavor and no trust."""
    return f"$sift($gate, function($value, $name) {{ $name in [{', '.join(repr(name) for name in names)}] }})"


def _package(plan: Registration) -> dict[str, object]:
    champion = "$exists($champion.model_package_arn) ? $champion.model_package_arn : 'none'"
    code = f"($exists($request.candidate) ? 'none' : '{plan.code_sha256}')"
    ours = (
        f"{{'execution': $execution, 'code_sha256': {code}, 'champion': {champion}, 'trigger': $request.trigger & ''}}"
    )
    return {
        "ModelPackageGroupName": plan.group_name,
        "ModelPackageDescription": "{% ($exists($request.candidate) ? 'made elsewhere, registered by ' : 'trained by ') & $name %}",
        "ModelApprovalStatus": "PendingManualApproval",
        # a repeated call returns the package of the first one
        "ClientToken": "{% $substring($hash($execution, 'SHA-256'), 0, 32) %}",
        "CustomerMetadataProperties": f"{{% $merge([{_of_gate(*_FROM_GATE)}, {ours}]) %}}",
        "InferenceSpecification": {
            # the container as the gate bound it: the server compares both files of the archive with the evaluated ones
            "Containers": ["{% $gate.container %}"],
            "SupportedContentTypes": list(plan.content_types),
            "SupportedResponseMIMETypes": ["application/json", "text/csv"],
        },
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrainPlan:
    """Jobs, functions, tables and registration of one pipeline; ARNs and names may be tokens.

    ``server`` is the third-party container that serves instead of the pipeline's image; ``former_server`` one that served before.
    """

    pipeline: str
    unit_name: str
    endpoint_name: str
    jobs: JobEnvironment
    evaluation: EvaluationPlan
    script: str
    code_uri: str
    gate_arn: str
    record_arn: str
    rollout_table: str
    retraining_table: str
    bus_name: str
    topic_arn: str
    registration: Registration
    features: FeaturePlan | None = None
    processing: ProcessingPlan | None = None
    server: ServerPlan | None = None
    former_server: ServerPlan | None = None

    @property
    def holdout_server(self) -> ServerPlan | None:
        """Third-party container whose server predicts the holdout."""
        return self.server or self.former_server

    @property
    def seconds(self) -> int:
        """Maximum duration of a run in seconds: its jobs, and an hour for the other states."""
        longest = self.jobs.maximum
        # prediction, evaluation, training
        runs = [longest, longest, longest if self.jobs.maximum_wait is None else self.jobs.maximum_wait]
        runs += [] if self.features is None else [longest]
        runs += [] if self.features is None or self.features.spark is None else [self.features.spark.maximum]
        runs += [] if self.processing is None else [self.processing.maximum]
        # rows and predictions of candidate and champion
        runs += [] if self.server is None else [longest] * 4
        runs += [] if self.former_server is None else [longest] * 2
        return sum(runs) + len(runs) * JOB_GRACE_SECONDS + 3600


def retrain_machine(plan: RetrainPlan, *, partition: str = "aws") -> dict[str, object]:
    """Return the definition of the machine that trains, evaluates and registers one candidate.

    The machine reads its request from the row in which the guard took the lock for the execution; executions without the lock fail
    regardless of their input. Every other path ends with Release, after which the guard can start the next run.

    Args:
        plan: Plan of the pipeline.
        partition: AWS partition. Default: ``aws``.
    """
    begin = "TagSnapshots" if plan.features is not None else "FindTrainingSet"
    states: dict[str, State] = {
        "Start": assign(
            "ReadRequest",
            request=NULL,
            execution=EXECUTION,
            name="{% $states.context.Execution.Name %}",
            job=f"{{% '{plan.pipeline}-' & $substring($states.context.Execution.Name, 0, {CHARACTERS_OF_NAME}) %}}",
            outcome="FAILED",
            reason="",
            caught="",
            package="",
        ),
        # the input is ignored, as anyone who may start the machine controls it
        "ReadRequest": task(
            "dynamodb:getItem",
            {"TableName": plan.retraining_table, "Key": _state_key(plan), "ConsistentRead": True},
            next_state="IsAccepted",
            catch="Caught",
            assign={"request": _ACCEPTED},
        ),
        "IsAccepted": choose(
            ("$request = null", "NotAccepted"), ("$exists($request.question)", "Ask"), default="ReadChampion"
        ),
        "Ask": assign("RecordQuestion", reason="{% $request.question %}"),
        "RecordQuestion": _record(plan, "ASKED", next_state="Asked", catch="Caught"),
        "Asked": assign("AskPeople", outcome="ASKED"),
        "AskPeople": task(
            "sns:publish",
            {
                "TopicArn": plan.topic_arn,
                "Subject": f"{plan.pipeline}: the feed looks broken, nothing was trained",
                "Message": "{% $replace($request.question, '; ', '\\n') %}",
            },
            next_state="Release",
            catch="Release",
        ),
        "NotAccepted": fail(
            "NOT_ACCEPTED",
            f"{{% 'the guard of {plan.pipeline} accepted no request for ' & $execution & "
            "'; request a retraining with mlops train, or by an event on the bus of the unit' %}",
        ),
        "ReadChampion": task(
            "dynamodb:getItem",
            {"TableName": plan.rollout_table, "Key": {"endpoint": {"S": plan.endpoint_name}}, "ConsistentRead": True},
            next_state=begin if plan.holdout_server is not None else "CanAskChampion",
            catch="Caught",
            assign={
                "champion": "{% $exists($states.result.Item.live.S) ? $parse($states.result.Item.live.S) : null %}"
            },
        ),
        # fail before training if the champion cannot be evaluated
        **(
            {}
            if plan.holdout_server is not None
            else {
                "CanAskChampion": choose((_IS_OF_CONTAINER, "CannotAskChampion"), default=begin),
                "CannotAskChampion": assign(
                    "RecordFailure", reason=_NO_SERVER.format(endpoint=plan.endpoint_name, pipeline=plan.pipeline)
                ),
            }
        ),
        **_job_states(plan),
        **_gate_states(plan),
        **registration_states(plan.registration),
        # before the lock is released, so that registering the same archive again finds this run's result
        "WasBrought": choose(
            ("$exists($request.candidate) and ($outcome != 'FAILED' or $package != '')", "KeepOutcome"),
            default="Release",
        ),
        "KeepOutcome": task(
            "dynamodb:updateItem",
            {
                "TableName": plan.retraining_table,
                "Key": {
                    "pipeline": {"S": plan.pipeline},
                    "item": {"S": f"{{% '{candidate_item('')}' & $request.candidate.sha256 %}}"},
                },
                "UpdateExpression": "SET " + ", ".join(f"#{name} = :{name}" for name in _BROUGHT),
                "ExpressionAttributeNames": {f"#{name}": name for name in _BROUGHT},
                "ExpressionAttributeValues": {f":{name}": {"S": value} for name, value in _BROUGHT.items()},
            },
            next_state="Release",
            catch="Release",
        ),
        "Caught": assign("RecordFailure", reason=_UNAPPROVED),
        "RecordFailure": _record(plan, "FAILED", next_state="WasBrought", catch="WasBrought"),
        "Release": task(
            "dynamodb:updateItem",
            {
                "TableName": plan.retraining_table,
                "Key": _state_key(plan),
                "UpdateExpression": "SET last_outcome = :outcome REMOVE #owner, lock_until",
                "ConditionExpression": "#owner = :me",
                "ExpressionAttributeNames": {"#owner": "owner"},
                "ExpressionAttributeValues": {":me": {"S": "{% $execution %}"}, ":outcome": {"S": "{% $outcome %}"}},
            },
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
            next_state="Finish",
        ),
        "Finish": choose(("$outcome = 'FAILED'", "DidNotTrain"), default="Done"),
        "Done": {
            "Type": "Pass",
            "Output": {"outcome": "{% $outcome %}", "reason": "{% $reason %}", "package": "{% $package %}"},
            "End": True,
        },
        "DidNotTrain": fail("{% $outcome %}", "{% $reason %}"),
    }
    comment = f"Retrain {plan.pipeline}: training set, train, evaluate, gate, register, approve"
    return machine(comment=comment, seconds=plan.seconds, states=states, partition=partition)


def _state_key(plan: RetrainPlan) -> dict[str, object]:
    return {"pipeline": {"S": plan.pipeline}, "item": {"S": "STATE"}}


_IS_OF_CONTAINER = "$exists($champion.flavor) and $champion.flavor = 'container'"
# an externally trained model; null if the run trains
_CANDIDATE = "{% $exists($request.candidate) ? $request.candidate : null %}"


def _job_states(plan: RetrainPlan) -> dict[str, State]:
    jobs, step = plan.jobs, plan.processing

    def job(
        kind: str, arguments: object, next_state: str, maximum: int, variables: Mapping[str, object] | None = None
    ) -> State:
        return task(
            f"sagemaker:create{kind}Job.sync",
            arguments,
            next_state=next_state,
            catch="Caught",
            assign=variables,
            timeout=maximum + JOB_GRACE_SECONDS,
        )

    def evaluate(champion: Champion) -> State:
        arguments = evaluation_job(jobs, plan.evaluation, champion=champion, server=plan.server)
        return job("Processing", arguments, "Gate" if plan.features is not None else "FindItAgain", jobs.maximum)

    states: dict[str, State] = {}
    if plan.features is not None:
        # before any read, and in a function: tags are commits, and a job that may commit could rewrite a table
        states["TagSnapshots"] = invoke(
            plan.features.tags_arn,
            {"as_of": "{% $request.as_of %}", "now": NOW},
            next_state="FitsTheJob",
            catch="Caught",
            assign={
                "tag": "{% $states.result.Payload.tag %}",
                "engine": "{% $states.result.Payload.engine & '' %}",
                "size": "{% $states.result.Payload.reason & '' %}",
            },
            timeout=150,
        )
        # the job returns the id as its exit message
        # https://docs.aws.amazon.com/sagemaker/latest/dg/build-your-own-processing-container.html
        identity = "{% $exists($states.result.ExitMessage) ? $states.result.ExitMessage : '' %}"
        states["TrainingSet"] = job(
            "Processing",
            training_set_job(jobs, plan.features),
            "HasCandidate",
            jobs.maximum,
            {"training_set": identity},
        )
        checked = job(
            "Processing",
            training_set_job(jobs, plan.features, is_built=True),
            "HasCandidate",
            jobs.maximum,
            {"training_set": identity},
        )
        states |= _large_set_states(plan, plan.features, checked)
        jobs = replace(jobs, training_set_id="$training_set")
    else:
        states |= _same_set_states(plan)
    if step is not None:
        states["Process"] = job("Processing", preparation_job(jobs, step), "Train", step.maximum)
    kept = {"artifact": "{% $states.result.Payload.artifact_uri %}"}
    # champions that are not ONNX predict in the image that serves them
    rivals = [
        ("$champion = null", "Evaluate"),
        (f"$exists($champion.image) and $champion.image != '{jobs.image_uri}'", "ListHoldout"),
    ]
    if plan.server is not None:
        kept["artifact_sha256"] = "{% $states.result.Payload.artifact_sha256 %}"
    if plan.holdout_server is not None:
        rivals.insert(1, (_IS_OF_CONTAINER, "AskChampion"))
        states |= server_states(
            jobs,
            plan.holdout_server,
            evaluate=evaluate("answers"),
            next_state=None if plan.server is None else "HasChampion",
        )
    return {
        **states,
        "HasCandidate": choose(
            ("$exists($request.candidate)", "TakeCandidate"), default="Train" if step is None else "Process"
        ),
        "TakeCandidate": assign("Keep", trained="{% $request.candidate.uri %}", code=""),
        "Train": job(
            "Training",
            training_job(jobs, script=plan.script, code_uri=plan.code_uri, step=step),
            "Keep",
            jobs.maximum if jobs.maximum_wait is None else jobs.maximum_wait,
            {"trained": "{% $states.result.ModelArtifacts.S3ModelArtifacts %}", "code": _CODE_THAT_RAN},
        ),
        # copies the model to a prefix that no training job can write
        "Keep": invoke(
            plan.gate_arn,
            {"trained_uri": "{% $trained %}", "execution": "{% $execution %}", "candidate": _CANDIDATE},
            next_state="HasChampion" if plan.server is None else "AskCandidate",
            catch="Caught",
            assign=kept,
            timeout=330,
        ),
        "HasChampion": choose(*rivals, default="EvaluateAgainstChampion"),
        # a champion predicts each holdout once
        "ListHoldout": task(
            "aws-sdk:s3:listObjectsV2",
            split_list(jobs, "holdout"),
            next_state="FindPredictions",
            catch="Caught",
            assign={"predictions": _PREDICTIONS.format(pipeline=plan.pipeline)},
        ),
        "FindPredictions": task(
            "aws-sdk:s3:listObjectsV2",
            {"Bucket": jobs.artifacts_bucket, "Prefix": "{% $predictions & '/' %}"},
            next_state="HasPredictions",
            catch="Caught",
            assign={"predicted": "{% $states.result.KeyCount %}"},
        ),
        "HasPredictions": choose(("$predicted > 0", "EvaluateAgainstPredictions"), default="PredictChampion"),
        "PredictChampion": job("Processing", prediction_job(jobs), "EvaluateAgainstPredictions", jobs.maximum),
        "EvaluateAgainstPredictions": evaluate("predictions"),
        "EvaluateAgainstChampion": evaluate("archive"),
        "Evaluate": evaluate("none"),
    }


def _large_set_states(plan: RetrainPlan, features: FeaturePlan, checked: State) -> dict[str, State]:
    """Return the states for training sets that exceed the training-set job's memory: built by Spark and verified, or refused."""
    spark = features.spark
    if spark is None:
        return {
            "FitsTheJob": choose(("$engine = 'spark'", "TooLarge"), default="TrainingSet"),
            "TooLarge": assign(
                "RecordFailure", reason=_TOO_LARGE.format(pipeline=plan.pipeline, instance_type=plan.jobs.instance_type)
            ),
        }
    return {
        "FitsTheJob": choose(("$engine = 'spark'", "BuildOnSpark"), default="TrainingSet"),
        "BuildOnSpark": task(
            "glue:startJobRun.sync",
            spark_run(plan.jobs, features, spark),
            next_state="CheckSet",
            catch="NotBuilt",
            timeout=spark.maximum + JOB_GRACE_SECONDS,
        ),
        # the training-set job verifies the manifest and all files, and reports the set like one that it built
        "CheckSet": checked | {"Catch": [checked["Catch"][0] | {"Next": "NotBuilt"}]},
        "NotBuilt": assign("RecordFailure", reason=_NOT_BUILT),
    }


def _same_set_states(plan: RetrainPlan) -> dict[str, State]:
    """Return the states that fail a run if its training set in S3 was republished meanwhile."""

    def find(variable: str, next_state: str) -> State:
        return task(
            "aws-sdk:s3:listObjectsV2",
            split_list(plan.jobs, "manifest") | {"MaxKeys": 10},
            next_state=next_state,
            catch="Caught",
            assign={variable: _PUBLISHED},
        )

    return {
        "FindTrainingSet": find("published", "HasCandidate"),
        "FindItAgain": find("found", "IsSameSet"),
        "IsSameSet": choose(("$found = $published", "Gate"), default="Republished"),
        "Republished": assign("RecordFailure", reason=_REPUBLISHED.format(plan.pipeline)),
    }


def _record(plan: RetrainPlan, outcome: str, *, next_state: str, catch: str) -> State:
    """Return the state that appends a candidate's outcome to the endpoint's audit chain."""
    claim: dict[str, object] = {
        "plan": NULL,
        "request": "{% $request %}",
        "outcome": outcome,
        "reason": "{% $reason %}",
        "execution": "{% $execution %}",
        "now": NOW,
    }
    if outcome == "REJECTED":
        claim["candidate"] = f"{{% {_of_gate('model_sha256', 'training_set_id', 'flavor', 'trust')} %}}"
    return invoke(plan.record_arn, claim, next_state=next_state, catch=catch)


def _gate_states(plan: RetrainPlan) -> dict[str, State]:
    served = {} if plan.server is None else {"environment": dict(plan.server.environment)}
    return {
        "Gate": invoke(
            plan.gate_arn,
            {
                "evaluation_uri": f"{evaluation_prefix(plan.jobs)} & '/evaluation.json' %}}",
                "execution": "{% $execution %}",
                "now": NOW,
                "image": plan.registration.image_uri,
                "artifact_uri": "{% $artifact %}",
                "code": "{% $code %}",
                **served,
            },
            next_state="IsBetter",
            catch="Caught",
            assign={"gate": "{% $states.result.Payload %}", "reason": "{% $states.result.Payload.reason %}"},
            timeout=330,
        ),
        "IsBetter": choose(("$gate.verdict = 'PASSED'", "Sign"), default="Reject"),
        # only the recorder may use the signing key; it reads the gate's result and evaluation again
        "Sign": invoke(
            plan.record_arn,
            {"gate_uri": "{% $gate.gate_uri %}"},
            next_state="Register",
            catch="Caught",
        ),
        "Reject": _record(plan, "REJECTED", next_state="Rejected", catch="Caught"),
        "Rejected": assign("WasBrought", outcome="REJECTED"),
    }
