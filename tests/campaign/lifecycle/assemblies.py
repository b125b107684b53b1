"""The five example stacks in both profiles, each synthesized once, with an update of every resource that can change."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import aws_cdk as cdk
from aws_cdk import aws_certificatemanager as acm
from examples.stacks import compose
from tests.campaign.lifecycle.changes import put_changes

from examples import first_endpoint, first_service
from mlops_constructs import EksInferenceService, ModelImage, Profile

RETAIL = ("CustomerBehavior", "DemandForecasting", "DynamicPricing")
STACKS = ("FirstEndpoint", "FirstService", *RETAIL)
DIGEST = f"sha256:{'0' * 64}"  # accepted by the embedded cloud without an image
CERTIFICATE = "arn:aws:acm:eu-central-1:000000000000:certificate/11111111-2222-3333-4444-555555555555"
_CHANGED = "mlops:changed"


def synthesize(folder: Path, stack: str, profile: Profile, *, changed: bool = False) -> Path:
    """Synthesize one stack like the example app and the pages.

    Args:
        folder: Folder of the cloud assembly.
        stack: One of :data:`STACKS`.
        profile: Replaces the example's own profile.
        changed: Whether every resource has one tag more, and another property of its own (``changes``).
    """
    context = {"image_digest": DIGEST, "profile": profile.value, "stacks": [stack]}
    app = cdk.App(outdir=str(folder), context=context)
    _DEFINE.get(stack, _define_unit)(app, profile)
    if changed:
        cdk.Tags.of(app).add(_CHANGED, "true")
    app.synth()
    if changed:
        put_changes(folder, stack)
    return folder


def resources(folder: Path, stack: str) -> dict[str, dict[str, Any]]:
    """Return the resources of a stack's template."""
    template: dict[str, Any] = json.loads((folder / f"{stack}.template.json").read_text())
    found: dict[str, dict[str, Any]] = template["Resources"]
    return found


def put_ids(folder: Path, ids: Mapping[str, str]) -> None:
    """Replace an example's sample ids by the platform's in every template of an assembly."""
    for path in folder.glob("*.template.json"):
        text = path.read_text()
        for shown, real in ids.items():
            text = text.replace(shown, real)
        path.write_text(text)


def _define_unit(app: cdk.App, profile: Profile) -> None:
    del profile  # the context names it
    compose(app)


def _define_endpoint(app: cdk.App, profile: Profile) -> None:
    image = ModelImage.from_ecr(repository_name="mlops-runtime", digest=DIGEST)
    with mock.patch.object(first_endpoint, "Profile", SimpleNamespace(DEVELOPMENT=profile)):
        first_endpoint.FirstEndpoint(app, "FirstEndpoint", image=image)


def _define_service(app: cdk.App, profile: Profile) -> None:
    def service(scope: cdk.Stack, id: str, **props: Any) -> EksInferenceService:
        given = acm.Certificate.from_certificate_arn(scope, "Certificate", CERTIFICATE)
        certificate = {"certificate": given} if profile is Profile.PRODUCTION else {}
        return EksInferenceService(scope, id, **certificate, **props)

    with (
        mock.patch.object(first_service, "Profile", SimpleNamespace(DEVELOPMENT=profile)),
        mock.patch.object(first_service, "EksInferenceService", service),
    ):
        first_service.FirstService(app, "FirstService")


_DEFINE: dict[str, Callable[[cdk.App, Profile], None]] = {
    "FirstEndpoint": _define_endpoint,
    "FirstService": _define_service,
}
