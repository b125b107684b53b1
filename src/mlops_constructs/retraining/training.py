"""What trains a model."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import aws_cdk as cdk

from mlops_constructs._errors import ValidationError
from mlops_constructs._validation import check_duration, check_pattern, is_known
from mlops_constructs.model_registry import ModelImage

_INSTANCE_TYPE = r"ml\.[a-z0-9-]+\.[a-z0-9]+"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingJob:
    """The training script of a model and where it runs. The jobs for training set and evaluation run on the same instance type.

    Args:
        image: Image of the jobs, by digest; it holds ``mlops_runtime``.
        source: Folder with the script; it is uploaded as the channel ``code``.
        script: The script's file name in ``source``; it reads ``SM_CHANNEL_TRAIN`` and writes to ``SM_MODEL_DIR``.
        instance_type: Instance type of the jobs.
        maximum: Longest run of each job, one minute to five days.
        hyperparameters: Read by the script. Default: none.

    Raises:
        ValidationError: If the script is not there or a value is not possible.

    Example:
        >>> import aws_cdk as cdk
        >>> job = TrainingJob(image=image, source=Path("training"), script="train.py", instance_type="ml.m5.large",
        ...                   maximum=cdk.Duration.hours(1))
    """

    image: ModelImage
    source: Path
    script: str
    instance_type: str
    maximum: cdk.Duration
    hyperparameters: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        problems = [
            None
            if (self.source / self.script).is_file()
            else f"script must be a file in source, got {self.script!r} in {str(self.source)!r}",
            check_pattern(
                "instance_type", self.instance_type, pattern=_INSTANCE_TYPE, allowed="a type such as 'ml.m5.large'"
            ),
            # https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ProcessingStoppingCondition.html
            check_duration("maximum", self.maximum, minimum=cdk.Duration.minutes(1), maximum=cdk.Duration.days(5)),
            *(
                f"hyperparameter {name!r} must be text of at most 2500 characters, got {value!r}"
                for name, value in self.hyperparameters.items()
                if is_known(value) and not re.fullmatch(r".{0,2500}", value)
            ),
        ]
        found = [problem for problem in problems if problem is not None]
        if found:
            raise ValidationError("InvalidTrainingJob", found)
