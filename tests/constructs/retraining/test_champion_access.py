"""Pipelines of one endpoint read each other's models as champions."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest

from mlops_constructs import ModelImage, RetrainingPipeline, TrainingJob, TrainingSetSource
from mlops_runtime.contracts.retraining import EvaluationPlan


def _add(made: Any, name: str, folder: Path) -> None:
    """Add a pipeline of the same endpoint."""
    RetrainingPipeline(
        made.stack,
        name.title(),
        business_unit=made.unit,
        registry=made.registry,
        endpoint=made.endpoint,
        name=name,
        training_set=TrainingSetSource.s3(bucket=made.unit.artifacts, prefix=f"exports/{name}", label="units"),
        training=TrainingJob(
            image=ModelImage.from_ecr(repository_name="mlops-runtime", digest="sha256:" + "0" * 64),
            source=folder / "training",
            script="train.py",
            instance_type="ml.m5.large",
            max_runtime=cdk.Duration.hours(1),
        ),
        evaluation=EvaluationPlan(label="units", block="store", baselines=("price",)),
    )


@pytest.mark.parametrize("others", [(), ("weekly",), ("weekly", "monthly")])
def test_jobs_that_load_champions_read_those_of_every_pipeline(
    define: Callable[..., Any], tmp_path: Path, others: tuple[str, ...]
) -> None:
    """Evaluation and prediction roles get the policy, and no other; a single pipeline has none."""
    made = define()
    for name in others:
        _add(made, name, tmp_path)
    policies = {key: value for key, value in made.resources("AWS::IAM::ManagedPolicy").items() if "Champions" in key}
    names = ("forecast", *others)
    assert len(policies) == (len(names) if others else 0)
    ids = {"forecast": "Retraining", **{name: name.title() for name in others}}
    for name in names if others else ():
        ((key, _),) = ((key, value) for key, value in policies.items() if key.startswith(ids[name]))
        statements = str(policies[key]["PolicyDocument"]["Statement"])
        assert [other for other in names if f"models/demand-{other}/*" in statements] == [n for n in names if n != name]
        readers = [
            role
            for role, properties in made.resources("AWS::IAM::Role").items()
            if {"Ref": key} in properties.get("ManagedPolicyArns", ())
        ]
        assert sorted(role.removeprefix(ids[name]).rstrip("0123456789ABCDEF") for role in readers) == [
            "EvaluationRole",
            "PredictionRole",
        ]
