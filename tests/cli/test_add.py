"""Adding a model to a unit: its own stack and package, and one line in the app."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from mlops_cli import project_packages
from mlops_cli.__main__ import app
from mlops_cli.project_packages import PackageSources


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with one model."""
    monkeypatch.setattr(project_packages, "package_sources", lambda index=None: PackageSources(index=index))
    monkeypatch.setattr(project_packages, "lock", lambda folder, name: (folder / name).write_text("locked\n"))
    monkeypatch.chdir(tmp_path)
    assert _run("new", "shop", "--unit", "demand", "--model", "forecast", "--kind", "number").exit_code == 0
    monkeypatch.chdir(tmp_path / "shop")
    return tmp_path / "shop"


def _run(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments))


def test_a_model_gets_a_stack_that_imports_the_unit(shop: Path) -> None:
    """The first model's files stay; the app defines both, and the generated code passes ruff."""
    before = {path: path.read_bytes() for path in (shop / "demand_forecast").rglob("*") if path.is_file()}
    added = json.loads(_run("add", "model", "returns", "--kind", "chance", "--json").stdout)

    assert (added["endpoint"], added["stack"]) == ("demand-returns", "DemandReturns")
    assert added["left"] == []
    assert {path: path.read_bytes() for path in before} == before
    assert 'BusinessUnit.from_name(self, "Unit", name="demand"' in (shop / "demand_returns/stack.py").read_text()
    assert 'DemandReturns(app, "DemandReturns", profile=profile),' in (shop / "app.py").read_text()
    for command in (("check",), ("format", "--check")):
        done = subprocess.run(
            [Path(sys.executable).parent / "ruff", *command, "."], cwd=shop, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout
    assert _run("upgrade").stdout == "nothing to upgrade\n"


def test_a_model_of_another_framework_adds_its_packages(shop: Path) -> None:
    """Adds packages to image and project, and locks both again."""
    added = json.loads(_run("add", "model", "returns", "--kind", "chance", "--framework", "lightgbm", "--json").stdout)
    assert (shop / "requirements.in").read_text().split() == ["lightgbm", "pandas", "pyarrow", "scikit-learn"]
    assert "import lightgbm" in (shop / "demand_returns/training/train.py").read_text()
    assert {"pyproject.toml", "requirements.in"} <= set(added["written"])
    assert _run("upgrade").stdout == "nothing to upgrade\n"


def test_features_of_another_model_join_the_units_store(shop: Path) -> None:
    """The first stack with features defines the store with the groups of all; others import it by name."""
    first = json.loads(_run("add", "model", "returns", "--kind", "chance", "--feature-store", "--json").stdout)
    second = _run("add", "model", "units", "--feature-store").stdout

    assert "demand_forecast/stack.py" not in first["written"]
    assert "groups=ALL_GROUPS, lock_file=FEATURE_LOCK" in (shop / "demand_returns/stack.py").read_text()
    assert "FeatureStore.from_name(" in (shop / "demand_units/stack.py").read_text()
    assert second.endswith("deploy it: mlops deploy DemandReturns DemandUnits\n")
    tables = json.loads((shop / "features.lock.json").read_text())["tables"]
    assert sorted(tables) == ["returns_features_v1", "returns_labels_v1", "units_features_v1", "units_labels_v1"]
    assert _run("upgrade").stdout == "nothing to upgrade\n"


def test_an_app_that_a_user_changed_gets_its_lines_beside_it(shop: Path) -> None:
    """Overwrites nothing."""
    (shop / "app.py").write_text("# mine\n")
    output = _run("add", "model", "returns").stdout
    assert "kept your changes in app.py; merge app.py.new, then delete it" in output
    assert (shop / "app.py").read_text() == "# mine\n"


def test_wrong_answers_change_nothing(shop: Path) -> None:
    """Reports all problems at once."""
    before = sorted(shop.rglob("*"))
    message = str(_run("add", "model", "forecast", "--kind", "text", "--label", "units").exception)
    assert message.startswith(
        "nothing was changed: --label needs --data; --kind must be one of number, chance, got 'text'"
    )
    assert "the model 'demand_forecast' already exists" in message
    assert "NAME must be 2 to 20 lower-case letters" in str(_run("add", "model", "R!").exception)
    assert "--kind is derived from --data; omit it" in str(
        _run("add", "model", "returns", "--kind", "chance", "--data", "gone.csv", "--label", "units").exception
    )
    assert "--framework must be one of hist, xgboost, lightgbm, catboost, linear, onnx, got 'keras'" in str(
        _run("add", "model", "returns", "--framework", "keras").exception
    )
    assert sorted(shop.rglob("*")) == before


def test_the_next_environment_follows_the_last_one(tmp_path: Path, shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The previous environment releases to it, and its jobs run after the others; edits stay, and GitLab settings are listed."""
    monkeypatch.chdir(tmp_path)
    chain = ("build=111111111111/eu-west-1", "staging=222222222222/eu-west-1/automatic")
    options = [part for each in chain for part in ("--environment", each)]
    assert _run("new", "chain", "--unit", "demand", "--model", "forecast", "--kind", "number", *options).exit_code == 0
    monkeypatch.chdir(tmp_path / "chain")
    (tmp_path / "chain/README.md").write_text("mine\n")

    done = _run("add", "environment", "production=333333333333/eu-west-1", "--json")

    added = json.loads(done.stdout)
    assert (added["left"], sorted(added["written"])) == (
        ["README.md"],
        [".gitlab-ci.yml", "app.py", "tests/test_stack.py"],
    )
    assert added["variables"] == ["PRODUCTION_PLAN_ROLE", "PRODUCTION_DEPLOY_ROLE", "PRODUCTION_OPERATOR_ROLE"]
    assert added["measured_by_it"] == ["demand_forecast/retraining.py"]
    app = (tmp_path / "chain/app.py").read_text()
    assert app.count("deploy_to=[PRODUCTION]") == 1
    assert app.rindex("Approval.manual()") > app.rindex("Approval.automatic()")
    assert (
        'needs: [package, synth, "plan:production", "deploy:staging"]'
        in (tmp_path / "chain/.gitlab-ci.yml").read_text()
    )
    again = _run("add", "environment", "production=333333333333/eu-west-1")
    assert str(again.exception) == "nothing was changed: the environment 'production' is named twice"

    output = _run("add", "environment", "recovery=333333333333/eu-central-1").stdout
    assert (
        "compares candidates with the model that 'recovery' serves, and only with baselines until it serves one"
        in output
    )
    assert "to keep comparing with 'production', write endpoint=registry.downstream_in(\"production\") there" in output
    code = tmp_path / "chain/demand_forecast/retraining.py"
    code.write_text(code.read_text().replace("registry.downstream,", 'registry.downstream_in("production"),'))
    assert "measures candidates" not in _run("add", "environment", "late=444444444444/eu-west-1").stdout


def test_an_environment_that_cannot_follow_changes_nothing(shop: Path) -> None:
    """Reports every problem at once: there is no list of environments, and the new one is invalid."""
    before = {path: path.read_bytes() for path in shop.rglob("*") if path.is_file()}

    done = _run("add", "environment", "staging")

    assert str(done.exception) == (
        "nothing was changed: an environment must be NAME=ACCOUNT/REGION or NAME=ACCOUNT/REGION/manual, such as "
        "staging=222222222222/eu-west-1 (or /automatic), got 'staging'; the project has no environments to extend; create one "
        "with mlops new --environment, repeated for each environment"
    )
    assert {path: path.read_bytes() for path in shop.rglob("*") if path.is_file()} == before
