"""The demo on a cluster, as a user starts it; test_eks_loop.py has the shorter form without training."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.campaign
@pytest.mark.demo
def test_every_step_does_what_it_should(tmp_path: Path) -> None:
    """Created on a slot, promoted by canary under load, a bad model rolled back, no error during shifts."""
    command = [
        sys.executable,
        "-m",
        "mlops_cli",
        "demo",
        "--target",
        "eks",
        "--json",
        "--output",
        str(tmp_path / "page.html"),
    ]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    result = json.loads(done.stdout)
    assert [step["detail"] for step in result["steps"] if not step["ok"]] == []
    assert (result["ok"], done.returncode) == (True, 0)
    assert "0 errors of the traffic shift" in result["steps"][-2]["detail"]
    assert result["steps"][-1]["detail"].startswith("UNCHANGED -> PROMOTED -> PROMOTED -> ROLLED_BACK")
