"""The layout and the variables that SageMaker's toolkit documents."""

import json
from pathlib import Path

import pytest

from mlops_runtime.jobs.optml import JobError, OptMl, single_file


def test_the_root_defaults_to_sagemakers() -> None:
    """Without the variable the paths are SageMaker's own."""
    opt_ml = OptMl.from_environment({})
    assert str(opt_ml.channel("train")) == "/opt/ml/input/data/train"
    assert str(opt_ml.processing_input("holdout")) == "/opt/ml/processing/input/holdout"
    assert str(opt_ml.processing_output("report")) == "/opt/ml/processing/output/report"
    assert str(opt_ml.failure) == "/opt/ml/output/failure"


def test_scripts_find_channels_and_hyperparameters(tmp_path: Path) -> None:
    """Hyperparameters arrive as text and are decoded as by the toolkit."""
    opt_ml = OptMl.from_environment({"MLOPS_OPT_ML": str(tmp_path)})
    opt_ml.channel("train").mkdir(parents=True)
    config = tmp_path / "input" / "config"
    config.mkdir()
    (config / "hyperparameters.json").write_text(
        '{"rounds": "100", "objective": "l1", "flags": "[1, 2]", "learning-rate": "0.1"}'
    )
    environment = opt_ml.training_environment()
    assert environment["SM_CHANNELS"] == '["train"]'
    assert environment["SM_CHANNEL_TRAIN"] == str(opt_ml.channel("train"))
    assert environment["SM_MODEL_DIR"] == str(tmp_path / "model")
    assert json.loads(environment["SM_HPS"]) == {
        "rounds": 100,
        "objective": "l1",
        "flags": [1, 2],
        "learning-rate": 0.1,
    }
    assert (environment["SM_HP_ROUNDS"], environment["SM_HP_OBJECTIVE"]) == ("100", "l1")
    assert environment["SM_HP_LEARNING_RATE"] == "0.1"


def test_fails_for_none_or_several_files(tmp_path: Path) -> None:
    """What is ambiguous is named."""
    with pytest.raises(JobError, match=r"must hold exactly one file \*\.zip, got none"):
        single_file(tmp_path, "*.zip")
    for name in ("a.zip", "b.zip"):
        (tmp_path / name).touch()
    with pytest.raises(JobError, match=r"exactly one file \*\.zip, got a\.zip, b\.zip"):
        single_file(tmp_path, "*.zip")
