"""Each framework's training script passes the gate of its pipeline, in the environment of the project's own lock."""

import hashlib
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from mlops_cli.frameworks import FRAMEWORKS, packages_of
from mlops_cli.new import sample_schema
from mlops_cli.project import Answers, ModelAnswers, render
from mlops_cli.project_packages import LOCKS, PackageSources, lock
from mlops_local.model_environments import made
from mlops_runtime.contracts.model import GateVerdict
from mlops_runtime.contracts.retraining import EvaluationPlan, GateSpec, SignaturePlan
from mlops_runtime.image.requirements_lock import RequirementsLock
from mlops_runtime.jobs.pipeline_rehearsal import rehearse
from mlops_runtime.serving.model_source import ModelEnvironment
from mlops_runtime.training_data.baseline_names import baseline_names
from mlops_runtime.training_data.sample_rows import sample_splits
from mlops_runtime.training_data.table_schema import WEEK, InputColumn, TableSchema

KINDS = {"number": "number", "chance": "probability", "classes": "classes"}


def schema_of(kind: str) -> TableSchema:
    """Return a table with difficult columns: names with blanks and brackets, nulls, categorical integers, a boolean."""
    number = sample_schema("number")
    inputs = (
        InputColumn(name="list price (EUR)", type="number", kind="float", nullable=True, low=1.0, high=20.0),
        InputColumn(name="shelf, <left> [cm]", type="number", kind="integer", nullable=False, low=0.0, high=60.0),
        InputColumn(name="größe", type="category", kind="text", nullable=True, categories=("L", "M", "S", "XL")),
        InputColumn(name="shop_id", type="category", kind="integer", nullable=False, categories=("2", "10", "33")),
        InputColumn(name="promotion", type="number", kind="boolean", nullable=False),
    )
    made = replace(number, inputs=inputs, key=None, key_kind=None, block=WEEK, cluster=WEEK)
    if kind == "number":
        return replace(made, baselines=baseline_names(None))
    if kind == "chance":
        return replace(made, label_kind="chance", metric="log_loss", baselines=baseline_names(None, is_chance=True))
    names = baseline_names(None, has_classes=True)
    classes = ("high", "low", "middle")
    return replace(made, label_kind="classes", metric="macro_log_loss", baselines=names, classes=classes)


def answers_of(framework: str, kind: str) -> Answers:
    """Return the answers for a project of one model."""
    model = ModelAnswers(unit="shop", model="units", schema=schema_of(kind), framework=framework)
    return Answers(unit="shop", models=(model,))


def test_what_is_made_is_clean(tmp_path: Path) -> None:
    """Ruff has no finding and no reformatting, for every framework and kind of label."""
    for framework in FRAMEWORKS:
        for kind in KINDS:
            render(answers_of(framework, kind), tmp_path / framework / kind, PackageSources())
    for command in (("check",), ("format", "--check", "--diff")):
        ruff = [Path(sys.executable).parent / "ruff", *command, "."]
        done = subprocess.run(ruff, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


def test_a_model_that_is_data_is_trusted_with_no_more(tmp_path: Path) -> None:
    """XGBoost and skops models are data; CatBoost takes no null category, so the project's code fills it."""
    assert FRAMEWORKS["xgboost"].trusts(schema_of("number")) == ("data",)
    assert FRAMEWORKS["catboost"].trusts(schema_of("number")) == ("data", "code")
    assert FRAMEWORKS["catboost"].trusts(sample_schema("number")) == ("data",)
    files = render(answers_of("catboost", "number"), tmp_path / "made", PackageSources())
    assert b'TRUST = ("data", "code")' in files["shop_units/declaration.py"]
    assert "shop_units/training/model.py" in files
    assert "shop_units/training/model.py" not in render(
        answers_of("linear", "number"), tmp_path / "linear", PackageSources()
    )


@cache
def environment() -> ModelEnvironment:
    """An environment with every framework, from the lock that a project would have."""
    requirements = "".join(f"{name}\n" for name in packages_of({*FRAMEWORKS}))
    folder = Path(sys.prefix) / "share" / "frameworks" / hashlib.sha256(requirements.encode()).hexdigest()[:12]
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "requirements.lock").exists():
        (folder / LOCKS["requirements.lock"]).write_text(requirements)
        lock(folder, "requirements.lock")
    parsed = RequirementsLock.parsed((folder / "requirements.lock").read_bytes())
    python = made(parsed, folder) / "bin" / "python"
    return ModelEnvironment(python=python, requirements_sha256=parsed.sha256)


@pytest.mark.campaign
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_each_framework_learns_each_kind_of_label(framework: str, kind: str, tmp_path: Path) -> None:
    """Trains, loads, predicts, evaluates and gates, with the trust that the project allows."""
    schema = schema_of(kind)
    render(answers_of(framework, kind), tmp_path / "made", PackageSources())
    split = sample_splits(schema, tmp_path)
    rehearsal = rehearse(
        code=tmp_path / "made" / "shop_units" / "training",
        script="train.py",
        train_rows=split.train,
        holdout_rows=split.holdout,
        evaluation=EvaluationPlan(
            label=schema.label,
            metric=schema.metric,
            block=schema.block,
            baselines=schema.baselines,
            timestamp=schema.time,
        ),
        gate=GateSpec(metric=schema.metric, minimum_rows=schema.minimum_rows),
        folder=tmp_path / "rehearsal",
        environment=replace(environment(), trusts=FRAMEWORKS[framework].trusts(schema)),
        signature=SignaturePlan(
            label=schema.label,
            kind=KINDS[kind],  # type: ignore[arg-type] # of these
            inputs=tuple(column.name for column in schema.inputs),
        ),
    )
    assert rehearsal.gate.verdict is GateVerdict.PASSED, rehearsal.gate.reason
    assert rehearsal.evaluation.failures is None
