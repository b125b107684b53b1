"""How a model that only its own server can ask predicts the holdout: states of the Retrain machine around a transform job.

Candidate and champion go the same way, one after the other; where our server serves again, the champion alone goes it. The answers
of a server are kept by the hash of archive, container and holdout, so a champion is asked once a holdout, and a candidate that
becomes the champion not again.
"""

from mlops_constructs._state_machine import State, assign, choose, task
from mlops_constructs.retraining.job_requests import (
    JOB_GRACE_SECONDS,
    JobEnvironment,
    ServerPlan,
    asked_model,
    rows_job,
    split_list,
    transform_job,
)

# the server that is asked: whose turn it is, its container, and the hash of its archive
_CHAMPION = "2"
_SDK = "aws-sdk:sagemaker:"
# a prefix for each archive, container and content of the holdout; one of more than a page of files is not recognised again
_ANSWERS = """{{% (
    $files := $states.result.Contents.(Key & ' ' & ETag);
    $of := $string($container) & ' ' & $asked_sha256 & ' {content_type} ' & $join($files, ' ');
    'predictions/{pipeline}/' & $hash($of & ($states.result.IsTruncated ? $name & $turn : ''), 'SHA-256')
) %}}"""


def server_states(
    jobs: JobEnvironment, server: ServerPlan, *, partition: str, evaluate: State, next_state: str | None
) -> dict[str, State]:
    """Return the states from ``AskCandidate`` and from ``AskChampion`` on.

    The candidate's end in ``next_state`` with its answers in ``$candidate_answers``, those of the champion in the evaluation. An
    error ends in ``Caught``, or, after the model was made, in ``RecordFailure`` once it is deleted.

    Args:
        jobs: Where jobs run.
        server: What is asked, and how.
        partition: AWS partition.
        evaluate: The evaluation of a candidate beside a champion that was asked.
        next_state: Where the candidate's states lead; None where only a champion is asked.
    """

    def call(operation: str, arguments: object, following: str, otherwise: str) -> State:
        return task(operation, arguments, partition=partition, next_state=following, catch=otherwise)

    def job(resource: str, arguments: object, following: str, otherwise: str) -> State:
        return task(
            resource,
            arguments,
            partition=partition,
            next_state=following,
            catch=otherwise,
            timeout=jobs.maximum + JOB_GRACE_SECONDS,
        )

    def container(image: str, archive: str) -> dict[str, object]:
        return {"Image": image, "ModelDataUrl": archive, "Environment": dict(server.environment)}

    name = {"ModelName": "{% $job & '-asks' & $turn %}"}
    of_candidate: dict[str, State] = {}
    if next_state is not None:
        of_candidate = {
            "AskCandidate": assign(
                "ListRows",
                turn="1",
                container=container(server.image_uri, "{% $artifact %}"),
                asked_sha256="{% $artifact_sha256 %}",
            ),
            "Answered": choose((f"$turn = '{_CHAMPION}'", "EvaluateAgainstAnswers"), default="TakeAnswers"),
            "TakeAnswers": assign(next_state, candidate_answers="{% $answers %}"),
        }
    answered = "EvaluateAgainstAnswers" if next_state is None else "Answered"
    return {
        **of_candidate,
        "AskChampion": assign(
            "ListRows",
            turn=_CHAMPION,
            container=container("{% $champion.image %}", "{% $champion.artifact_uri %}"),
            asked_sha256="{% $champion.artifact_sha256 %}",
        ),
        "ListRows": task(
            "aws-sdk:s3:listObjectsV2",
            split_list(jobs, "holdout"),
            partition=partition,
            next_state="ListAnswers",
            catch="Caught",
            assign={"answers": _ANSWERS.format(pipeline=jobs.pipeline, content_type=server.content_type)},
        ),
        "ListAnswers": task(
            "aws-sdk:s3:listObjectsV2",
            {"Bucket": jobs.artifacts_bucket, "Prefix": "{% $answers & '/answers/rows.' %}", "MaxKeys": 1},
            partition=partition,
            next_state="HasAnswers",
            catch="Caught",
            assign={"answered": "{% $states.result.KeyCount %}"},
        ),
        "HasAnswers": choose(("$answered > 0", answered), default="WriteRows"),
        "WriteRows": job("sagemaker:createProcessingJob.sync", rows_job(jobs, server), "MakeModel", "Caught"),
        # the name is the execution's own: a model that is there was made by an attempt whose response got lost
        "MakeModel": call(f"{_SDK}createModel", name | asked_model(jobs), "AskServer", "IsModelMade"),
        "IsModelMade": task(
            f"{_SDK}describeModel",
            name,
            partition=partition,
            next_state="AskServer",
            catch="KeepReason",
            assign_caught={"caught": "{% $caught %}"},
        ),
        "AskServer": job(
            "sagemaker:createTransformJob.sync", name | transform_job(jobs, server), "DropModel", "KeepReason"
        ),
        # a model costs nothing: the answers count also where it cannot be deleted
        "DropModel": call(f"{_SDK}deleteModel", name, answered, answered),
        "KeepReason": assign("DropFailedModel", reason="{% $caught %}"),
        "DropFailedModel": call(f"{_SDK}deleteModel", name, "RecordFailure", "RecordFailure"),
        "EvaluateAgainstAnswers": evaluate,
    }
