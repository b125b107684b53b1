"""Run every checker over every example stack, in both profiles, in one process: ``python -m examples.compliance FILE``."""

import json
import sys
import tempfile
from pathlib import Path

import aws_cdk as cdk

from examples.capacities import Capacities
from examples.stacks import compose
from mlops_constructs import ModelImage, Profile
from mlops_constructs.compliance.harness import check


def main(path: Path) -> int:
    """Write the evidence, print a line a stack, and return 1 if anything is left to ask."""
    settings = json.loads(Path("cdk.json").read_text())
    problems, evidence = [], {}
    for profile in Profile:
        with tempfile.TemporaryDirectory() as folder:
            app = cdk.App(outdir=folder, context={**settings["context"], "profile": profile.value})
            compose(app)
            image = ModelImage.from_ecr(repository_name="mlops-runtime", digest=app.node.get_context("image_digest"))
            Capacities(app, "Capacities", image=image, profile=profile)
            found = check(app)
        print("\n".join(f"{profile.value}: {line}" for line in found.summary()))
        problems += [f"{profile.value}: {problem}" for problem in found.problems]
        evidence[profile.value] = json.loads(found.to_json())
    path.write_text(json.dumps(evidence, indent=2) + "\n")
    print("\n".join(problems), file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
