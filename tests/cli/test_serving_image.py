"""Which image ``mlops verify`` serves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mlops_cli.errors import UserError
from mlops_cli.serving_image import serving_image
from mlops_runtime.image import PLACEHOLDER_DIGEST

if TYPE_CHECKING:
    from typing import Literal

DIGEST = "sha256:" + "a" * 64


def chosen(given: str | None, settings: Path, *, cloud: Literal["aws", "embedded"] = "aws") -> tuple[str, str]:
    """The image of a run in eu-west-1."""
    return serving_image(given, cloud=cloud, account="1" * 12, region="eu-west-1", settings=settings)


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    """A ``cdk.json`` as it is shipped."""
    path = tmp_path / "cdk.json"
    path.write_text(json.dumps({"context": {"image_digest": PLACEHOLDER_DIGEST}}))
    return path


def test_the_image_is_the_one_that_is_named_or_that_of_the_settings(settings: Path) -> None:
    """The placeholder only where the embedded cloud stands in for it."""
    uri = f"{'1' * 12}.dkr.ecr.eu-west-1.amazonaws.com/team/model@{DIGEST}"

    assert chosen(uri, settings) == ("team/model", DIGEST)
    assert chosen(None, settings, cloud="embedded") == ("mlops-runtime", PLACEHOLDER_DIGEST)
    assert chosen(f"mlops-runtime@{PLACEHOLDER_DIGEST}", settings, cloud="embedded") == (
        "mlops-runtime",
        PLACEHOLDER_DIGEST,
    )
    settings.write_text(json.dumps({"context": {"image_digest": DIGEST}}))
    assert chosen(None, settings) == ("mlops-runtime", DIGEST)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            None,
            r"^image_digest of cdk\.json is the placeholder of 64 zeros, for which only the embedded cloud stands in",
        ),
        (f"mlops-runtime@{PLACEHOLDER_DIGEST}", r"^--image 'mlops-runtime@sha256:0+' is the placeholder of 64 zeros"),
        (f"{'2' * 12}.dkr.ecr.eu-west-1.amazonaws.com/m@{DIGEST}", "is of account 222222222222"),
        ("mlops-runtime:latest", "must be REPOSITORY@sha256"),
    ],
)
def test_what_aws_cannot_serve_is_refused_by_name(settings: Path, given: str | None, words: str) -> None:
    """Before anything is looked up or made."""
    with pytest.raises(UserError, match=words):
        chosen(given, settings)


def test_settings_without_a_digest_are_no_image(tmp_path: Path) -> None:
    """With what to give."""
    with pytest.raises(UserError, match="no serving image: give --image"):
        chosen(None, tmp_path / "cdk.json", cloud="embedded")
