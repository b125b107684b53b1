"""Holdout predictions of models that only a third-party server can load: states of the Retrain machine around a transform job.

Candidate and champion pass through the same states, one after the other; if the platform's server serves now, only the champion
does. Predictions are cached by the hash of archive, container and holdout, so that a model predicts each holdout once.
"""

from mlops_constructs._state_machine import State, assign, choose, task
from mlops_constructs.retraining.job_requests import (
    JOB_GRACE_SECONDS,
    JobEnvironment,
    ServerPlan,
    rows_job,
    server_model,
    split_list,
    transform_job,
)

# value of $turn for the champion; $container and $requested_sha256 are the container and archive hash of the current turn
_CHAMPION = "2"
_SDK = "aws-sdk:sagemaker:"
# a prefix per archive, container and holdout; a holdout with more than one page of files is never found again
_ANSWERS = """{{% (
    $files := $states.result.Contents.(Key & ' ' & ETag);
    $of := $string($container) & ' ' & $requested_sha256 & ' {content_type} ' & $join($files, ' ');
    'predictions/{pipeline}/' & $hash($of & ($states.result.IsTruncated ? $name & $turn : ''), 'SHA-256')
) %}}"""


def server_states(
    jobs: JobEnvironment, server: ServerPlan, *, evaluate: State, next_state: str | None
) -> dict[str, State]:
    """Return the states from ``AskCandidate`` and from ``AskChampion`` on.

    The candidate's states end in ``next_state`` with its predictions in ``$candidate_answers``, the champion's in the evaluation.
    Errors lead to ``Caught`` or, after the model was created, to its deletion and ``RecordFailure``.

    Args:
        jobs: Environment of the jobs.
        server: Container and content type of the server.
        evaluate: State that evaluates the candidate against the champion's predictions.
        next_state: State after the candidate's states; ``None`` if only the champion uses a server.
    """

    def call(operation: str, arguments: object, following: str, otherwise: str) -> State:
        return task(operation, arguments, next_state=following, catch=otherwise)

    def job(resource: str, arguments: object, following: str, otherwise: str) -> State:
        return task(
            resource,
            arguments,
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
                requested_sha256="{% $artifact_sha256 %}",
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
            requested_sha256="{% $champion.artifact_sha256 %}",
        ),
        "ListRows": task(
            "aws-sdk:s3:listObjectsV2",
            split_list(jobs, "holdout"),
            next_state="ListAnswers",
            catch="Caught",
            assign={"answers": _ANSWERS.format(pipeline=jobs.pipeline, content_type=server.content_type)},
        ),
        "ListAnswers": task(
            "aws-sdk:s3:listObjectsV2",
            {"Bucket": jobs.artifacts_bucket, "Prefix": "{% $answers & '/answers/rows.' %}", "MaxKeys": 1},
            next_state="HasAnswers",
            catch="Caught",
            assign={"answered": "{% $states.result.KeyCount %}"},
        ),
        "HasAnswers": choose(("$answered > 0", answered), default="WriteRows"),
        "WriteRows": job("sagemaker:createProcessingJob.sync", rows_job(jobs, server), "MakeModel", "Caught"),
        # the name contains the execution's: an existing model was created by an attempt whose response was lost
        "MakeModel": call(f"{_SDK}createModel", name | server_model(jobs), "AskServer", "IsModelMade"),
        "IsModelMade": task(
            f"{_SDK}describeModel",
            name,
            next_state="AskServer",
            catch="KeepReason",
            assign_caught={"caught": "{% $caught %}"},
        ),
        "AskServer": job(
            "sagemaker:createTransformJob.sync", name | transform_job(jobs, server), "DropModel", "KeepReason"
        ),
        # a leftover model costs nothing, so a failed deletion is ignored
        "DropModel": call(f"{_SDK}deleteModel", name, answered, answered),
        "KeepReason": assign("DropFailedModel", reason="{% $caught %}"),
        "DropFailedModel": call(f"{_SDK}deleteModel", name, "RecordFailure", "RecordFailure"),
        "EvaluateAgainstAnswers": evaluate,
    }
