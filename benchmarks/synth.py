"""Cost of synthesizing the unit, compared with an app that declares the same resources as plain L1s in the same run."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.measure import HEADER, load, measure

ROOT = Path(__file__).resolve().parents[1]
STACK = "DemandForecasting"

UNIT = f"""
import aws_cdk as cdk
from examples.retail.demand_forecasting.stack import {STACK}
from mlops_constructs import ModelImage, Profile
app = cdk.App()
image = ModelImage.from_ecr(repository_name="mlops-runtime", digest=app.node.get_context("image_digest"))
{STACK}(app, "{STACK}", image=image, profile=Profile.DEVELOPMENT)
app.synth()
"""

PLAIN = """
import importlib, json, sys
import aws_cdk as cdk
resources = json.load(open(sys.argv[1]))["Resources"]
for service in sorted({r["Type"].split("::")[1].lower() for r in resources.values() if r["Type"].startswith("AWS::")}):
    # an author of plain L1s imports the module of each service
    importlib.import_module("aws_cdk.aws_" + service) if service != "cloudformation" else None
app = cdk.App()
stack = cdk.Stack(app, "Plain")
for id, resource in resources.items():
    item = cdk.CfnResource(stack, id, type=resource["Type"], properties=resource.get("Properties", {}))
    item.override_logical_id(id)
app.synth()
"""


def main() -> None:
    """Print the table and the ratio."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        environment = {
            "CDK_VALIDATION": "false",
            "CDK_OUTDIR": str(out),
            "CDK_CONTEXT_JSON": json.dumps(json.loads((ROOT / "cdk.json").read_text())["context"]),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
        }
        unit, plain, template = Path(folder) / "unit.py", Path(folder) / "plain.py", Path(folder) / "template.json"
        unit.write_text(UNIT)
        plain.write_text(PLAIN)
        subprocess.run([sys.executable, unit], check=True, env={**os.environ, **environment}, cwd=ROOT)
        template.write_text((out / f"{STACK}.template.json").read_text())
        resources = len(json.loads(template.read_text())["Resources"])
        ours = measure(f"the unit, {resources} resources", [sys.executable, str(unit)], runs=5, environment=environment)
        theirs = measure(
            "the same as plain L1s", [sys.executable, str(plain), str(template)], runs=5, environment=environment
        )
    print(HEADER)
    print(ours.row())
    print(theirs.row())
    print(f"\nratio {ours.cpu / theirs.cpu:.2f} of CPU; {load()}")


if __name__ == "__main__":
    main()
