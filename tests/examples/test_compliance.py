"""Every checker over every example stack, in both profiles."""

import json
import subprocess
import sys
from pathlib import Path

from mlops_cli.synthesis import synthesis_environment
from mlops_constructs._assets import build_layers

ROOT = Path(__file__).resolve().parents[2]


def test_nothing_is_left_to_ask(tmp_path: Path) -> None:
    """Six packs and CDK's own validation find nothing that is not acknowledged, and no acknowledgement is stale."""
    environment = {k: v for k, v in synthesis_environment().items() if k != "CDK_VALIDATION"}
    path = tmp_path / "compliance.json"
    assert list(build_layers(names=["monitor"])) != []

    result = subprocess.run(
        [sys.executable, "-m", "examples.compliance", str(path)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.stderr.strip() == ""
    assert result.returncode == 0
    stacks = [stack for profile in json.loads(path.read_text()).values() for stack in profile["stacks"]]
    assert {stack["stack"] for stack in stacks} == {
        "Capacities",
        "CustomerBehavior",
        "DemandForecasting",
        "DemandForecastingOnEks",
        "DynamicPricing",
        "FirstEndpoint",
        "RetailPlatform",
    }
    assert all(stack["findings"] == [] for stack in stacks)
    assert all(0 < stack["resources"] <= 350 for stack in stacks)
