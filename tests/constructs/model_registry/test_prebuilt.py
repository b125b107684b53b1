"""AWS's prebuilt images."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from mlops_constructs import ValidationError
from mlops_constructs.model_registry.prebuilt import _table, find_image

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("framework", "version", "choice", "expected"),
    [
        # https://docs.aws.amazon.com/sagemaker/latest/dg-ecr-paths/ecr-us-east-1.html, for the first two with their account
        ("xgboost", "1.7-1", {}, "683313688378/sagemaker-xgboost:1.7-1"),
        ("sklearn", "1.2-1", {}, "683313688378/sagemaker-scikit-learn:1.2-1-cpu-py3"),
        (
            "pytorch",
            "2.6.0",
            {"use": "inference", "processor": "gpu"},
            "763104351884/pytorch-inference:2.6.0-gpu-py312",
        ),
        (
            "tensorflow",
            "2.19.0",
            {"use": "training", "processor": "cpu"},
            "763104351884/tensorflow-training:2.19.0-cpu-py312",
        ),
    ],
)
def test_an_image_is_the_one_that_aws_documents(
    framework: str, version: str, choice: dict[str, str], expected: str
) -> None:
    """Account, repository and tag."""
    image = find_image(framework, version, **choice)  # type: ignore[arg-type]
    assert f"{image.accounts['us-east-1']}/{image.repository}:{image.tag}" == expected


def test_every_image_has_a_full_tag_and_known_accounts() -> None:
    """No tag is one that moves with every release."""
    table = _table()
    rows = [row for versions in table["images"].values() for found in versions.values() for row in found]

    assert len(rows) > 300
    for row in rows:
        assert re.match(r"\d+\.\d+(\.\d+|-\d+)", row["tag"]), row
        assert set(row["uses"]) <= {"inference", "training"}
    for accounts in table["registries"].values():
        assert {"us-east-1", "eu-west-1"} <= set(accounts)
        assert all(re.fullmatch(r"\d{12}", account) for account in accounts.values())


def test_fails_on_an_unknown_framework_or_version_with_what_there_is() -> None:
    """In the order of versions, not of letters."""
    with pytest.raises(
        ValidationError, match="framework must be one of pytorch, sklearn, tensorflow, xgboost, got 'mx'"
    ):
        find_image("mx", "1.0.0")
    with pytest.raises(ValidationError, match=r"version of pytorch must be one of .*2\.9\.0, 2\.10\.0.*, got '2\.6'"):
        find_image("pytorch", "2.6")


def test_fails_when_several_images_or_none_fit() -> None:
    """The choices are named as they are written."""
    with pytest.raises(
        ValidationError, match=r"several images fit .* use='inference', processor='cpu', python='py312'"
    ):
        find_image("pytorch", "2.6.0")
    with pytest.raises(ValidationError, match=r"no image fits xgboost 1\.7-1 .* choose one of use='inference'"):
        find_image("xgboost", "1.7-1", processor="gpu")


def test_the_table_is_what_the_sdk_says() -> None:
    """Where the SDK can be had without the network."""
    uv = shutil.which("uv")
    if uv is None:
        pytest.skip("there is no uv to run tools/image_table.py with")
    command = [uv, "run", "--offline", "--quiet", "--script", "tools/image_table.py", "--check"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if "offline" in result.stderr or "network" in result.stderr:
        pytest.skip(f"the SageMaker SDK is not in uv's cache: {result.stderr.strip().splitlines()[-1]}")

    assert (result.returncode, result.stderr) == (0, "")
