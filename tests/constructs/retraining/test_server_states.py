"""Candidates and champions that need their own server for predictions, in the Retrain machine run against a fake AWS."""

from dataclasses import replace
from typing import Any

import pytest
from tests.constructs.retraining.test_retrain_machine import (
    CHAMPION,
    FORGED,
    IMAGE,
    JOBS,
    KEPT,
    NAME,
    ROLE,
    SERVER,
    VARIANTS,
    aws,
    inputs_of,
)

from mlops_constructs.retraining.retrain_machine import retrain_machine

MACHINE = retrain_machine(VARIANTS["container"])


def calls(run: Any, name: str) -> list[dict[str, Any]]:
    """Return the arguments of all calls of an integration."""
    return [arguments for called, arguments in run.calls if called == name]


def test_a_candidate_answers_through_its_own_server(run_machine: Any) -> None:
    """Writes rows, creates, invokes and deletes a model of its container; the evaluation reads the answers."""
    run = run_machine(MACHINE, FORGED, aws())
    assert run.output["outcome"] == "APPROVED"
    rows, measured = calls(run, "sagemaker:createProcessingJob.sync")[-2:]
    (model,), (requested,) = calls(run, "sagemaker:createModel"), calls(run, "sagemaker:createTransformJob.sync")
    assert rows["AppSpecification"]["ContainerArguments"] == [
        "--content-type", "application/json", "--artifact-sha256", "a" * 64,
    ]  # fmt: skip
    assert rows["AppSpecification"]["ImageUri"] == JOBS.image_uri
    assert inputs_of(rows)["model"] == KEPT
    assert model["PrimaryContainer"] == {
        "Image": SERVER.image_uri, "ModelDataUrl": KEPT, "Environment": dict(SERVER.environment),
    }  # fmt: skip
    assert (model["EnableNetworkIsolation"], model["ExecutionRoleArn"]) == (True, ROLE)
    outputs = {o["OutputName"]: o["S3Output"]["S3Uri"] for o in rows["ProcessingOutputConfig"]["Outputs"]}
    place = outputs["rows"].removesuffix("/rows")
    assert place.startswith(f"s3://artifacts/predictions/{NAME}/")
    source = requested["TransformInput"]
    assert source["DataSource"]["S3DataSource"]["S3Uri"] == f"{place}/rows/"
    assert (source["SplitType"], source["ContentType"], requested["BatchStrategy"], requested["MaxPayloadInMB"]) == (
        "Line", "application/json", "SingleRecord", 4,
    )  # fmt: skip
    assert requested["TransformOutput"] == {
        "S3OutputPath": f"{place}/answers", "AssembleWith": "Line", "KmsKeyId": JOBS.kms_key,
    }  # fmt: skip
    assert requested["ModelName"] == model["ModelName"] == calls(run, "sagemaker:deleteModel")[0]["ModelName"]
    assert inputs_of(measured)["answers"] == f"{place}/answers"
    assert measured["AppSpecification"]["ContainerArguments"][-2:] == ["--container-trust", "pickle"]
    gate = [call["Payload"] for call in calls(run, "lambda:invoke") if "evaluation_uri" in call["Payload"]]
    assert gate[0]["environment"] == dict(SERVER.environment)


def test_lines_of_csv_are_put_together(run_machine: Any) -> None:
    """Batches CSV rows up to the payload limit."""
    plan = replace(VARIANTS["container"], server=replace(SERVER, content_type="text/csv"))
    (requested,) = calls(run_machine(retrain_machine(plan), FORGED, aws()), "sagemaker:createTransformJob.sync")
    assert (requested["TransformInput"]["ContentType"], requested["BatchStrategy"]) == ("text/csv", "MultiRecord")


def test_a_champion_of_a_container_is_asked_after_the_candidate(run_machine: Any) -> None:
    """Uses its own image and names; its answers are stored beside the candidate's."""
    run = run_machine(MACHINE, FORGED, aws(champion=CHAMPION, image=IMAGE, flavor="container"))
    models = calls(run, "sagemaker:createModel")
    assert [model["PrimaryContainer"]["Image"] for model in models] == [SERVER.image_uri, IMAGE]
    assert [model["PrimaryContainer"]["ModelDataUrl"] for model in models] == [KEPT, CHAMPION]
    assert len({model["ModelName"] for model in models}) == 2
    assert [each["ModelName"] for each in calls(run, "sagemaker:deleteModel")] == [each["ModelName"] for each in models]
    jobs = calls(run, "sagemaker:createProcessingJob.sync")
    assert len({job["ProcessingJobName"] for job in jobs}) == len(jobs)
    assert jobs[-2]["AppSpecification"]["ContainerArguments"][-1] == "7" * 64
    measured = inputs_of(jobs[-1])
    assert measured["answers"] != measured["champion-answers"]
    assert "champion" not in measured
    arguments = jobs[-1]["AppSpecification"]["ContainerArguments"]
    assert arguments[arguments.index("--champion-sha256") + 1] == "7" * 64


@pytest.mark.parametrize(
    ("image", "expected"), [(None, "champion"), (JOBS.image_uri, "champion"), (IMAGE, "predictions")]
)
def test_a_champion_that_our_server_serves_is_measured_as_before(
    run_machine: Any, image: str | None, expected: str
) -> None:
    """A pipeline that switches to a container compares its candidate with the serving model."""
    flavor = None if image is None else "lightgbm"
    run = run_machine(MACHINE, FORGED, aws(champion=CHAMPION, image=image, flavor=flavor))
    measured = inputs_of(calls(run, "sagemaker:createProcessingJob.sync")[-1])
    assert {"answers", expected} <= set(measured)
    assert len(calls(run, "sagemaker:createTransformJob.sync")) == 1


def test_answers_are_kept(run_machine: Any) -> None:
    """The server is not invoked again for the same holdout, and no model is created."""
    run = run_machine(MACHINE, FORGED, aws(champion=CHAMPION, image=IMAGE, flavor="container", predictions=1))
    assert run.output["outcome"] == "APPROVED"
    assert not {"sagemaker:createModel", "sagemaker:createTransformJob.sync"} & set(run.names())
    measured = inputs_of(calls(run, "sagemaker:createProcessingJob.sync")[-1])
    listed = [each["Prefix"] for each in calls(run, "s3:listObjectsV2") if each["Bucket"] == "artifacts"]
    assert [f"s3://artifacts/{prefix.removesuffix('/rows.')}" for prefix in listed] == [
        measured["answers"], measured["champion-answers"],
    ]  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [{"content_type": "text/csv"}, {"image_uri": IMAGE}, {"environment": {"MLFLOW_DISABLE_ENV_CREATION": "false"}}],
)
def test_another_container_is_asked_anew(run_machine: Any, change: dict[str, Any]) -> None:
    """The cache key includes image, environment and request, besides archive and holdout."""
    places = set()
    for server in (SERVER, replace(SERVER, **change)):
        run = run_machine(retrain_machine(replace(VARIANTS["container"], server=server)), FORGED, aws())
        places.add(inputs_of(calls(run, "sagemaker:createProcessingJob.sync")[-1])["answers"])
    assert len(places) == 2


@pytest.mark.parametrize(
    ("error", "cause", "reason"),
    [
        (
            "States.TaskFailed",
            '{"TransformJobStatus":"Failed","FailureReason":"AlgorithmError: See job logs for more information"}',
            "States.TaskFailed: AlgorithmError: See job logs for more information",
        ),
        ("States.Timeout", "the server hangs", "States.Timeout: the server hangs"),
    ],
)
def test_a_model_is_deleted_also_when_its_server_fails(
    run_machine: Any, aws_error: Any, error: str, cause: str, reason: str
) -> None:
    """The record has the transform job's reason, not a later one."""
    failed = aws(fail=("sagemaker:createTransformJob.sync", aws_error(error, cause)))
    run = run_machine(MACHINE, FORGED, failed)
    assert run.status == "FAILED"
    assert len(calls(run, "sagemaker:deleteModel")) == 1
    record = calls(run, "lambda:invoke")[-1]["Payload"]
    assert (record["outcome"], record["reason"]) == ("FAILED", reason)
    assert "sagemaker:createModelPackage" not in run.names()


def test_a_model_that_cannot_be_deleted_is_no_failure(run_machine: Any, aws_error: Any) -> None:
    """The answers are complete."""
    run = run_machine(MACHINE, FORGED, aws(fail=("sagemaker:deleteModel", aws_error("States.TaskFailed", "later"))))
    assert run.output["outcome"] == "APPROVED"


def test_a_model_of_a_lost_answer_is_taken(run_machine: Any, aws_error: Any) -> None:
    """The execution derives the model's name; without a model the reason is that of its creation."""
    lost = aws(fail=("sagemaker:createModel", aws_error("States.TaskFailed", "already existing")))
    assert run_machine(MACHINE, FORGED, lost).output["outcome"] == "APPROVED"

    def absent(name: str, arguments: dict[str, Any]) -> Any:
        if name == "sagemaker:describeModel":
            raise aws_error("States.TaskFailed", "Could not find model")
        return lost(name, arguments)

    run = run_machine(MACHINE, FORGED, absent)
    assert calls(run, "lambda:invoke")[-1]["Payload"]["reason"] == "States.TaskFailed: already existing"


def test_names_fit(run_machine: Any) -> None:
    """With the longest pipeline name, names of jobs and models have at most 63 characters."""
    jobs = replace(JOBS, pipeline="p" * 32)
    plan = replace(VARIANTS["container"], pipeline="p" * 32, jobs=jobs)
    run = run_machine(retrain_machine(plan), FORGED, aws())
    names = [a["ProcessingJobName"] for a in calls(run, "sagemaker:createProcessingJob.sync")]
    names += [a["TransformJobName"] for a in calls(run, "sagemaker:createTransformJob.sync")]
    names += [a["ModelName"] for a in calls(run, "sagemaker:createModel")]
    assert max(map(len, names)) <= 63


def test_a_champion_of_a_former_container_is_asked_where_our_server_serves_again(run_machine: Any) -> None:
    """Uses its own image, archive and answers; the candidate is loaded as usual, without states for a server."""
    machine = retrain_machine(VARIANTS["former container"])
    assert not {"AskCandidate", "TakeAnswers", "Answered"} & set(machine["States"])
    run = run_machine(machine, FORGED, aws(champion=CHAMPION, image=IMAGE, flavor="container"))
    assert run.output["outcome"] == "APPROVED"
    (model,), (requested,) = calls(run, "sagemaker:createModel"), calls(run, "sagemaker:createTransformJob.sync")
    assert model["PrimaryContainer"] == {
        "Image": IMAGE, "ModelDataUrl": CHAMPION, "Environment": dict(SERVER.environment),
    }  # fmt: skip
    assert requested["TransformJobName"].endswith("-asks2")
    measured = calls(run, "sagemaker:createProcessingJob.sync")[-1]
    given = inputs_of(measured)
    assert given["champion-answers"] == requested["TransformOutput"]["S3OutputPath"]
    assert given["candidate"] == KEPT
    assert not {"answers", "champion"} & set(given)
    assert measured["AppSpecification"]["ContainerArguments"][-4:] == [
        "--champion-sha256", "7" * 64, "--champion-trained-until", "unknown",
    ]  # fmt: skip
    kept = run_machine(machine, FORGED, aws(champion=CHAMPION, image=IMAGE, flavor="container", predictions=1))
    assert (kept.output["outcome"], calls(kept, "sagemaker:createModel")) == ("APPROVED", [])


@pytest.mark.parametrize("flavor", [None, "lightgbm"])
def test_a_champion_of_ours_is_not_asked_by_a_server(run_machine: Any, flavor: str | None) -> None:
    """With a serving model of our server, the declared container is not needed."""
    machine = retrain_machine(VARIANTS["former container"])
    image = None if flavor is None else IMAGE
    run = run_machine(machine, FORGED, aws(champion=CHAMPION, image=image, flavor=flavor))
    assert run.output["outcome"] == "APPROVED"
    assert calls(run, "sagemaker:createModel") == []
