"""Training jobs as declared."""

from pathlib import Path

import aws_cdk as cdk
import pytest

from mlops_constructs import ModelImage, TrainingJob, ValidationError

IMAGE = ModelImage.from_ecr(repository_name="mlops-runtime", digest="sha256:" + "0" * 64)


def test_fails_with_every_problem_at_once(tmp_path: Path):
    """Script, instance type, run time and hyperparameters are all named."""
    with pytest.raises(ValidationError) as error:
        TrainingJob(
            image=IMAGE,
            source=tmp_path,
            script="train.py",
            instance_type="m5.large",
            maximum=cdk.Duration.seconds(1),
            hyperparameters={"rounds": "1" * 2501},
        )
    assert [problem.split()[0] for problem in error.value.problems] == [
        "script",
        "instance_type",
        "maximum",
        "hyperparameter",
    ]
