"""Run every rule pack over every example stack, in both profiles, in one process: ``python -m examples.compliance FILE [FOLDER]``.

The folder receives the assemblies, one per profile, for ``tools/template_checks.py``.
"""

import json
import sys
import tempfile
from pathlib import Path

import aws_cdk as cdk

from examples.capacities import Capacities
from examples.container_model.stack import Vendor
from examples.front_door import FrontDoor, add_api
from examples.retail.demand_forecasting.eks_stack import ClusterAttributes, DemandForecastingOnEks
from examples.stacks import compose
from mlops_constructs import ModelImage, Profile
from mlops_constructs.compliance.harness import check

_CLUSTER: ClusterAttributes = {
    "name": "retail",
    "security_group_id": "sg-0123456789abcdef0",
    "subnet_cidrs": ["10.0.0.0/17", "10.0.128.0/17"],
}
_CERTIFICATE = "arn:aws:acm:us-east-1:123456789012:certificate/00000000-0000-0000-0000-000000000000"


def main(path: Path, kept: Path | None) -> int:
    """Write the evidence, print a line per stack, and return 1 if there are open findings."""
    settings = json.loads(Path("cdk.json").read_text())
    problems, evidence = [], {}
    for profile in Profile:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary if kept is None else kept) / profile.value
            app = cdk.App(outdir=str(folder), context={**settings["context"], "profile": profile.value})
            compose(app)
            image = ModelImage.from_ecr(repository_name="mlops-runtime", digest=app.node.get_context("image_digest"))
            Capacities(app, "Capacities", image=image, profile=profile)
            Vendor(app, "Vendor", runtime=image, profile=profile)
            on_eks = DemandForecastingOnEks(
                app,
                "DemandForecastingOnEks",
                image=image,
                profile=profile,
                cluster=_CLUSTER,
                certificate_arn=_CERTIFICATE if profile is Profile.PRODUCTION else None,
            )
            add_api(on_eks, server_name="models.example.com" if profile is Profile.PRODUCTION else None)
            FrontDoor(app, "FrontDoor", image=image, profile=profile, certificate_arn=_CERTIFICATE)
            found = check(app)
        print("\n".join(f"{profile.value}: {line}" for line in found.summary()))
        problems += [f"{profile.value}: {problem}" for problem in found.problems]
        evidence[profile.value] = json.loads(found.to_json())
    path.write_text(json.dumps(evidence, indent=2) + "\n")
    print("\n".join(problems), file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]) if sys.argv[2:] else None))
