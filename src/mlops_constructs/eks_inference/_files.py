"""Manifests as a file beside the templates: what a platform team or a GitOps repository applies."""

import atexit
import hashlib
import shutil
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from aws_cdk import aws_s3_assets as s3_assets

from constructs import Construct
from mlops_constructs.eks_inference.yaml import render_yaml
from mlops_runtime.eks.kubernetes_objects import Manifest


def define_file(scope: Construct, id: str, *, manifests: Sequence[Manifest]) -> s3_assets.Asset:
    """Define an asset of a YAML file with manifests, the same bytes for the same manifests.

    Args:
        scope: Parent.
        id: Construct id.
        manifests: The manifests, without tokens.
    """
    text = render_yaml(manifests)
    path = _scratch() / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.yaml"
    path.write_text(text)
    return s3_assets.Asset(scope, id, path=str(path))


@cache
def _scratch() -> Path:
    """One folder a process; CDK copies what it needs into its assembly at once."""
    folder = Path(tempfile.mkdtemp(prefix="mlops-manifests-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
