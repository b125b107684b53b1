"""Requests of a retraining's jobs, as calls of SageMaker's API."""

from dataclasses import replace

from mlops_constructs.retraining.job_requests import (
    JobEnvironment,
    ServerPlan,
    evaluation_job,
    prediction_job,
    training_job,
    transform_job,
)
from mlops_runtime.contracts import from_json
from mlops_runtime.contracts.retraining import EvaluationPlan, JobTags

JOBS = JobEnvironment(
    pipeline="demand-forecast",
    image_uri="123456789012.dkr.ecr.us-east-1.amazonaws.com/mlops-runtime@sha256:0",
    instance_type="ml.m5.large",
    maximum=3600,
    roles={"eval": "arn:aws:iam::123456789012:role/eval", "train": "arn:aws:iam::123456789012:role/train"},
    subnets=["subnet-1"],
    security_groups=["sg-1"],
    kms_key="arn:aws:kms:us-east-1:123456789012:key/1",
    artifacts_bucket="artifacts",
    training_set="'s3://sets/sets/demand/' & $name",
    tags=JobTags(unit="demand", owner="ann", cost_center="42", model="forecast", execution="{% $execution %}"),
)


def test_a_long_plan_reaches_the_job_in_pieces():
    """SageMaker limits arguments to 256 characters; the joined pieces are the plan."""
    plan = EvaluationPlan(
        label="units",
        block="store",
        baselines=("last_week",),
        segments=tuple(f"column_{number}" for number in range(60)),
    )
    job = evaluation_job(JOBS, plan, champion="archive")
    arguments = job["AppSpecification"]["ContainerArguments"]  # type: ignore[index] # a plain dict
    pieces = arguments[1 : arguments.index("--baseline-uri")]

    assert len(pieces) > 1
    assert max(map(len, pieces)) <= 256
    assert from_json(EvaluationPlan, "".join(pieces)) == plan


def test_the_images_own_train_gets_the_scripts_name():
    """Step Functions supports no entry point: SageMaker runs `train`, which reads the hyperparameter."""
    job = training_job(JOBS, script="train.py", code_uri="s3://code/train.zip")
    assert job["AlgorithmSpecification"] == {"TrainingImage": JOBS.image_uri, "TrainingInputMode": "File"}
    assert job["HyperParameters"] == {"sagemaker_program": "train.py"}


def test_a_job_of_one_instance_asks_for_no_encryption_between_containers():
    """The field has no effect with one instance."""
    jobs = (
        training_job(JOBS, script="train.py", code_uri="s3://code/train.zip"),
        evaluation_job(
            JOBS, EvaluationPlan(label="units", block="store", baselines=("last_week",)), champion="archive"
        ),
    )
    assert [str(job).count("'InstanceCount': 1") for job in jobs] == [1, 1]
    assert [job for job in jobs if "InterContainer" in str(job)] == []


def test_jobs_that_load_a_model_know_what_that_may_do():
    """The setting is present only if it differs from the default."""
    jobs, plan = replace(JOBS, trust={"MLOPS_TRUST": "data"}), EvaluationPlan(label="u", block="s", baselines=("b",))
    assert training_job(jobs, script="train.py", code_uri="s3://c/t.zip")["Environment"] == {"MLOPS_TRUST": "data"}
    assert evaluation_job(jobs, plan, champion="none")["Environment"] == {"MLOPS_TRUST": "data"}
    live = replace(jobs, roles=JOBS.roles | {"live": "arn:aws:iam::123456789012:role/live"})
    assert prediction_job(live)["Environment"] == {"MLOPS_TRUST": "data"}
    assert "Environment" not in evaluation_job(JOBS, plan, champion="none")


def test_local_storage_is_asked_for_without_a_key() -> None:
    """SageMaker rejects a volume key there; the output still uses the unit's key."""
    jobs = replace(
        JOBS, instance_type="ml.g5.xlarge", roles={**JOBS.roles, "asks": "arn:aws:iam::123456789012:role/asks"}
    )
    server = ServerPlan(image_uri="i", content_type="text/csv", environment={}, trust="data")
    plan = EvaluationPlan(label="units", block="store", baselines=("last_week",))
    for of, has_key in ((JOBS, True), (jobs, False)):
        made = (
            training_job(of, script="train.py", code_uri="s3://code"),
            evaluation_job(of, plan, champion="none"),
            transform_job(of, server),
        )
        assert [("VolumeKmsKeyId" in str(job), "KmsKeyId" in str(job)) for job in made] == [(has_key, True)] * 3
