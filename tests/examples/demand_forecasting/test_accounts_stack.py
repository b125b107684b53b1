"""The unit in three accounts: findings of the packs, and the team's next deployment."""

import json
from pathlib import Path

import aws_cdk as cdk
from examples.retail.demand_forecasting import accounts_stack

from mlops_cli.stacks import synthesize
from mlops_constructs.compliance.harness import check

CONTEXT = {"@aws-cdk/core:validateAgainstDefaultRules": True, "image_digest": "sha256:" + "0" * 64}


def test_the_stacks_obey_and_pass_every_check(tmp_path: Path) -> None:
    """The packs have no open finding."""
    app = cdk.App(outdir=str(tmp_path), context=CONTEXT)
    accounts_stack.compose(app)
    evidence = check(app)

    assert [stack.stack for stack in evidence.stacks] == ["Build", "Staging", "Production"]
    assert [problem for stack in evidence.stacks for problem in stack.problems] == []


def test_what_the_team_deploys_next_changes_the_training_alone(tmp_path: Path) -> None:
    """The stack of build changes only its training script and setting."""
    synthesize(f"python -m {accounts_stack.__name__} {tmp_path / 'next'}", tmp_path / "now", CONTEXT)

    now, later = (
        json.loads((tmp_path / each / "Build.template.json").read_text())["Resources"] for each in ("now", "next")
    )
    assert set(now) == set(later)
    changed = {name for name in now if now[name] != later[name]}
    assert {now[name]["Type"] for name in changed} == {"AWS::StepFunctions::StateMachine"}
    machine = json.dumps(later[changed.pop()])
    assert "compiled.py" in machine
    assert str(accounts_stack.LARGEST_BATCH) in machine
