"""Cost of synthesizing the unit beside apps that declare the same resources in the same run.

Plain L1s are the classes that an author uses, such as `CfnBucket`, with typed properties. `CfnResource` takes a dictionary of
the template's own properties, which no author writes; it is the lower bound.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.measure import HEADER, load, measure
from benchmarks.plain_l1s import app_source

ROOT = Path(__file__).resolve().parents[1]
STACK = "DemandForecasting"
RUNS = 5

UNIT = f"""
import aws_cdk as cdk
from examples.retail.demand_forecasting.stack import {STACK}
from mlops_constructs import ModelImage, Profile
app = cdk.App()
image = ModelImage.from_ecr(repository_name="mlops-runtime", digest=app.node.get_context("image_digest"))
{STACK}(app, "{STACK}", image=image, profile=Profile.DEVELOPMENT)
app.synth()
"""

RAW = """
import importlib, json, sys
import aws_cdk as cdk
resources = json.load(open(sys.argv[1]))["Resources"]
for service in sorted({r["Type"].split("::")[1].lower() for r in resources.values() if r["Type"].startswith("AWS::")}):
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
        unit, plain, raw, template = (
            Path(folder) / name for name in ("unit.py", "plain.py", "raw.py", "template.json")
        )
        unit.write_text(UNIT)
        subprocess.run([sys.executable, unit], check=True, env={**os.environ, **environment}, cwd=ROOT)
        template.write_text((out / f"{STACK}.template.json").read_text())
        declared = json.loads(template.read_text())
        plain.write_text(app_source(declared))
        raw.write_text(RAW)
        resources = len(declared["Resources"])
        ours = measure(
            f"the unit, {resources} resources", [sys.executable, str(unit)], runs=RUNS, environment=environment
        )
        typed = measure("the same as plain L1s", [sys.executable, str(plain)], runs=RUNS, environment=environment)
        written = json.loads((out / "Plain.template.json").read_text())["Resources"]
        if any(
            written[name].get("Properties") != each.get("Properties") for name, each in declared["Resources"].items()
        ):
            sys.exit("the app of plain L1s declares other resources")
        untyped = measure(
            "the same as CfnResource with the template's properties",
            [sys.executable, str(raw), str(template)],
            runs=RUNS,
            environment=environment,
        )
    print(HEADER)
    for figure in (ours, typed, untyped):
        print(figure.row())
    print(
        f"\nratio {ours.cpu / typed.cpu:.2f} of CPU to plain L1s, {ours.cpu / untyped.cpu:.2f} to CfnResource; {load()}"
    )


if __name__ == "__main__":
    main()
