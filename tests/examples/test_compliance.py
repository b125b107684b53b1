"""All rule packs and checkers on every example stack, in both profiles."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from tools.template_checks import CHECKERS, MissingCheckerError, check, problems, read_accepted

from mlops_cli.stacks import synthesis_environment
from mlops_runtime.layers.layer_wheels import build_layers

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def synthesized(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """Return a folder with evidence and templates, and the result of the run."""
    environment = {k: v for k, v in synthesis_environment().items() if k != "CDK_VALIDATION"}
    folder = tmp_path_factory.mktemp("compliance")
    assert list(build_layers(names=["monitor"])) != []
    command = [sys.executable, "-m", "examples.compliance", str(folder / "compliance.json"), str(folder)]
    return folder, subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_nothing_is_left_to_ask(synthesized: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    """All packs and CDK's validation report nothing unacknowledged and no stale acknowledgement."""
    folder, result = synthesized

    assert result.stderr.strip() == ""
    assert result.returncode == 0
    evidence = json.loads((folder / "compliance.json").read_text())
    assert all("Mlops" in profile["packs"] for profile in evidence.values())
    stacks = [stack for profile in evidence.values() for stack in profile["stacks"]]
    assert {stack["stack"] for stack in stacks} == {
        "Capacities",
        "CustomerBehavior",
        "DemandForecasting",
        "DemandForecastingOnEks",
        "DynamicPricing",
        "FirstEndpoint",
        "FrontDoor",
        "RetailPlatform",
        "Vendor",
    }
    assert all(stack["findings"] == [] for stack in stacks)
    assert all(0 < stack["resources"] <= 350 for stack in stacks)


def _left(templates: Sequence[Path], checkers: Sequence[str] = CHECKERS, *, is_complete: bool) -> list[str]:
    try:
        findings = check(templates, checkers)
    except MissingCheckerError as missing:
        pytest.skip(str(missing))
    assert findings  # the list is not empty: no finding at all would mean that nothing was read
    return problems(findings, read_accepted(), is_complete=is_complete)


def test_checkers_find_nothing_that_is_not_listed(
    synthesized: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    """Five checkers on the stack with most resource types; four on the one with entry points for people and other callers.

    The fifth is cfn-lint, most of whose rules CDK's own validation applies to every stack in the test above.
    """
    production = synthesized[0] / "production"
    most, door = (production / f"{name}.template.json" for name in ("DemandForecastingOnEks", "FrontDoor"))
    others = [checker for checker in CHECKERS if checker != "cfn_lint"]

    assert _left([most, door], others, is_complete=False) == []
    assert _left([most], ["cfn_lint"], is_complete=False) == []


@pytest.mark.campaign
def test_checkers_over_all_templates(synthesized: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    """Covers every stack in both profiles; the list has no unused entry."""
    templates = sorted(synthesized[0].glob("*/*.template.json"))

    assert len(templates) == 18
    assert _left(templates, is_complete=True) == []
