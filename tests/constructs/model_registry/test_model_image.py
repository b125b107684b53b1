"""Container images: AWS's prebuilt ones, own images by digest, and by tag for jobs."""

import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk.assertions import Template

from mlops_constructs import ModelImage, ValidationError
from mlops_constructs._warnings import PLACEHOLDER_IMAGE
from mlops_constructs.model_registry.model_image import _table, find_image
from mlops_runtime.image import PLACEHOLDER_DIGEST
from mlops_runtime.image.requirements_lock import LOCK_COMMAND, asset_name

ROOT = Path(__file__).resolve().parents[3]


DIGEST = "sha256:" + "0a" * 32


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
    """Account, repository and tag match the documentation."""
    image = find_image(framework, version, **choice)  # type: ignore[arg-type]
    assert f"{image.accounts['us-east-1']}/{image.repository}:{image.tag}" == expected


def test_every_image_has_a_full_tag_and_known_accounts() -> None:
    """No tag moves between releases."""
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
    """Lists versions in version order."""
    with pytest.raises(
        ValidationError, match="framework must be one of pytorch, sklearn, tensorflow, xgboost, got 'mx'"
    ):
        find_image("mx", "1.0.0")
    with pytest.raises(ValidationError, match=r"version of pytorch must be one of .*2\.9\.0, 2\.10\.0.*, got '2\.6'"):
        find_image("pytorch", "2.6")


def test_fails_when_several_images_or_none_fit() -> None:
    """The error lists the choices as code."""
    with pytest.raises(
        ValidationError, match=r"several images match .* use='inference', processor='cpu', python='py312'"
    ):
        find_image("pytorch", "2.6.0")
    with pytest.raises(ValidationError, match=r"no image matches xgboost 1\.7-1 .* choose one of use='inference'"):
        find_image("xgboost", "1.7-1", processor="gpu")


def test_the_table_is_what_the_sdk_says() -> None:
    """Compared where the SDK is installed."""
    uv = shutil.which("uv")
    if uv is None:
        pytest.skip("there is no uv to run tools/image_table.py with")
    command = [uv, "run", "--offline", "--quiet", "--script", "tools/image_table.py", "--check"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if "offline" in result.stderr or "network" in result.stderr:
        pytest.skip(f"the SageMaker SDK is not in uv's cache: {result.stderr.strip().splitlines()[-1]}")

    assert (result.returncode, result.stderr) == (0, "")


def test_uri_names_account_region_and_digest() -> None:
    """SageMaker accepts the URI unchanged."""
    stack = cdk.Stack(cdk.App(), "S")

    uri = stack.resolve(ModelImage.from_ecr(repository_name="mlops-runtime", digest=DIGEST).uri(stack))

    assert uri == {
        "Fn::Join": [
            "",
            [
                {"Ref": "AWS::AccountId"},
                ".dkr.ecr.",
                {"Ref": "AWS::Region"},
                ".",
                {"Ref": "AWS::URLSuffix"},
                f"/mlops-runtime@{DIGEST}",
            ],
        ]
    }


def test_pulling_names_the_repository_also_of_another_account() -> None:
    """Only the registry's authorization token has no resource."""
    stack = cdk.Stack(cdk.App(), "S")
    image = ModelImage.from_ecr(
        repository_name="team/runtime", digest=DIGEST, account="111111111111", region="eu-west-1"
    )

    token, layers = (stack.resolve(s.to_statement_json()) for s in image.pull_statements(stack))

    assert (token["Action"], token["Resource"]) == ("ecr:GetAuthorizationToken", "*")
    assert layers["Action"] == ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
    assert layers["Resource"] == {
        "Fn::Join": ["", ["arn:", {"Ref": "AWS::Partition"}, ":ecr:eu-west-1:111111111111:repository/team/runtime"]]
    }
    assert image.uri(stack).startswith("111111111111.dkr.ecr.eu-west-1.")


def test_registering_asks_for_no_layer() -> None:
    """Needs two actions of AWS's managed policy, which the embedded registry checks too."""
    stack = cdk.Stack(cdk.App(), "S")
    image = ModelImage.from_ecr(
        repository_name="team/runtime", digest=DIGEST, account="111111111111", region="eu-west-1"
    )

    statement = stack.resolve(image.register_statement(stack).to_statement_json())

    assert statement["Action"] == ["ecr:BatchGetImage", "ecr:DescribeImages"]
    assert statement["Resource"]["Fn::Join"][1][-1] == ":ecr:eu-west-1:111111111111:repository/team/runtime"


@pytest.mark.parametrize("digest", ["latest", "sha256:abc", "SHA256:" + "0a" * 32, "sha256:" + "0A" * 32])
def test_fails_on_anything_but_a_digest(digest: Any) -> None:
    """Tags can move after approval."""
    with pytest.raises(ValidationError, match="InvalidImage: digest must be 'sha256:' and 64 hexadecimal digits"):
        ModelImage.from_ecr(repository_name="mlops-runtime", digest=digest)


def test_fails_with_all_problems_at_once() -> None:
    """Validates repository, digest and account together."""
    with pytest.raises(ValidationError) as caught:
        ModelImage.from_ecr(repository_name="Runtime", digest="latest", account="1")

    assert [p.split()[0] for p in caught.value.problems] == ["repository_name", "digest", "account"]


def test_fails_on_values_that_are_not_texts() -> None:
    """Reports a number or a list, such as an account in YAML, with all other problems."""
    given: dict[str, Any] = {
        "repository_name": ["runtime"],
        "digest": 5,
        "account": 123456789012,
        "region": "Frankfurt",
    }
    with pytest.raises(ValidationError) as caught:
        ModelImage.from_ecr(**given)

    assert [p.split()[0] for p in caught.value.problems] == ["repository_name", "digest", "account"]
    assert caught.value.problems[1].startswith("digest must be a string")
    with pytest.raises(ValidationError, match="repository_name must be a string, got None"):
        ModelImage.from_ecr(**given | {"repository_name": None})


def test_a_prebuilt_image_is_in_the_account_of_the_region() -> None:
    """Resolved at synthesis if the Region is known."""
    stack = cdk.Stack(cdk.App(), "S", env=cdk.Environment(account="111111111111", region="eu-west-1"))
    image = ModelImage.prebuilt("xgboost", "3.0-5")

    _, layers = (stack.resolve(s.to_statement_json()) for s in image.pull_statements(stack))

    assert stack.resolve(image.uri(stack)) == {
        "Fn::Join": [
            "",
            ["141502667606.dkr.ecr.eu-west-1.", {"Ref": "AWS::URLSuffix"}, "/sagemaker-xgboost:3.0-5"],
        ]
    }
    assert layers["Resource"] == {
        "Fn::Join": [
            "",
            ["arn:", {"Ref": "AWS::Partition"}, ":ecr:eu-west-1:141502667606:repository/sagemaker-xgboost"],
        ]
    }


def test_a_stack_for_any_region_looks_the_account_up() -> None:
    """One mapping per registry, however many images."""
    stack = cdk.Stack(cdk.App(), "S")
    images = [ModelImage.prebuilt("xgboost", "3.0-5"), ModelImage.prebuilt("xgboost", "1.7-1", digest=DIGEST)]
    for name, image in zip(("A", "B"), images, strict=True):
        cdk.CfnOutput(stack, name, value=image.uri(stack))

    template = Template.from_stack(stack).to_json()

    ((name, rows),) = template["Mappings"].items()
    assert rows["eu-west-1"] == {"account": "141502667606"}
    parts = template["Outputs"]["B"]["Value"]["Fn::Join"][1]
    assert parts[0] == {"Fn::FindInMap": [name, {"Ref": "AWS::Region"}, "account"]}
    assert parts[-1] == f"/sagemaker-xgboost@{DIGEST}"


def test_fails_in_a_region_that_lacks_the_image() -> None:
    """The error lists the Regions that have it."""
    stack = cdk.Stack(cdk.App(), "S", env=cdk.Environment(region="xx-west-1"))
    with pytest.raises(
        ValidationError, match=r"NoImageInRegion: sagemaker-xgboost:3\.0-5 is available in af-south-1, .*xx-west-1"
    ):
        ModelImage.prebuilt("xgboost", "3.0-5").uri(stack)


def test_what_serves_is_named_by_digest() -> None:
    """Only prebuilt images with a digest can serve."""
    stack = cdk.Stack(cdk.App(), "S", env=cdk.Environment(region="eu-west-1"))
    ours = ModelImage.from_ecr(repository_name="mlops-runtime", digest=DIGEST)

    assert ours.serving_uri(stack) == ours.uri(stack)
    assert ModelImage.prebuilt("xgboost", "3.0-5", digest=DIGEST).serving_uri(stack).endswith(f"@{DIGEST}")
    with pytest.raises(ValidationError) as caught:
        ModelImage.prebuilt("xgboost", "3.0-5").serving_uri(stack)
    assert "ImageNotPinned: an image that serves needs a digest, got tag '3.0-5'" in str(caught.value)
    assert "--repository-name sagemaker-xgboost --image-ids imageTag=3.0-5 --query" in str(caught.value)


@pytest.mark.parametrize("digest", ["latest", "sha256:abc"])
def test_fails_on_a_prebuilt_image_with_anything_but_a_digest(digest: str) -> None:
    """Follows the rules of own images."""
    with pytest.raises(ValidationError, match="InvalidImage: digest must be"):
        ModelImage.prebuilt("xgboost", "3.0-5", digest=digest)


def test_an_image_is_built_at_deployment(tmp_path: Path) -> None:
    """The stack has one asset, for jobs only."""
    folder = tmp_path / "trainer"
    folder.mkdir()
    (folder / "Dockerfile").write_text("FROM scratch\n")
    stack = cdk.Stack(cdk.App(), "S")
    image = ModelImage.build(folder)

    uri = stack.resolve(image.uri(stack))
    _, layers = (stack.resolve(s.to_statement_json()) for s in image.pull_statements(stack))

    assert image.repository_name == "trainer"
    assert "container-assets" in str(uri)
    assert "container-assets" in str(layers["Resource"])
    assert stack.resolve(image.uri(stack)) == uri
    with pytest.raises(ValidationError, match=r"ImageNotPinned: .* is unknown before it is built; push the image"):
        image.serving_uri(stack)


def test_fails_on_a_folder_without_a_dockerfile(tmp_path: Path) -> None:
    """Fails before synthesis."""
    with pytest.raises(ValidationError, match="InvalidImage: directory must contain a Dockerfile, got"):
        ModelImage.build(tmp_path)


HASH = f"--hash=sha256:{'0a' * 32}"


def written_lock(folder: Path, content: str = f"numpy==2.5.5 {HASH}\n") -> Path:
    """Write a lock file."""
    path = folder / "requirements.lock"
    path.write_text(content)
    return path


def test_an_environment_stands_for_an_image_by_the_hash_of_its_lock(tmp_path: Path) -> None:
    """The hash is replaced by the pushed digest after the build."""
    lock = written_lock(tmp_path)
    digest = f"sha256:{hashlib.sha256(lock.read_bytes()).hexdigest()}"

    image = ModelImage.from_requirements(lock)
    built = ModelImage.from_requirements(str(lock), repository_name="team/forecast", digest=DIGEST)

    assert (image.repository_name, image.digest, image.is_placeholder) == ("mlops-model", digest, True)
    assert (built.repository_name, built.digest, built.is_placeholder) == ("team/forecast", DIGEST, False)


def test_a_lock_travels_with_each_stack_that_runs_it(tmp_path: Path) -> None:
    """Staged once under a name derived from its hash, wherever the file was; the template does not contain it."""
    lock = written_lock(tmp_path)
    app = cdk.App(outdir=str(tmp_path / "out"))
    stack = cdk.Stack(app, "S")
    image = ModelImage.from_requirements(lock)

    cdk.CfnOutput(stack, "A", value=image.uri(stack))
    cdk.CfnOutput(stack, "B", value=image.serving_uri(stack))
    app.synth()

    name = asset_name(hashlib.sha256(lock.read_bytes()).hexdigest())
    files = json.loads((tmp_path / "out" / "S.assets.json").read_text())["files"]
    (destination,) = files[name]["destinations"].values()
    assert destination["objectKey"] == f"{name}.lock"
    assert (tmp_path / "out" / files[name]["source"]["path"]).read_bytes() == lock.read_bytes()
    assert name not in (tmp_path / "out" / "S.template.json").read_text()


def test_a_lock_stays_where_its_image_was_built(tmp_path: Path) -> None:
    """The image already contains the environment."""
    stack = cdk.Stack(cdk.App(), "S")
    ModelImage.from_requirements(written_lock(tmp_path), digest=DIGEST).uri(stack)
    assert [child.node.id for child in stack.node.children if "Lock" in child.node.id] == []


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("numpy>=2\n", "'numpy>=2' must be pinned as name==version"),
        (f"# uv pip compile --python-version 3.12\nnumpy==2.5.5 {HASH}\n", "the lock is of Python 3.12, got 3.13"),
        (f"# uv pip compile --python-platform macos\nnumpy==2.5.5 {HASH}\n", "'aarch64-apple-darwin', got linux"),
    ],
)
def test_fails_on_a_lock_that_the_image_cannot_be_built_of(tmp_path: Path, content: str, problem: str) -> None:
    """Fails at synthesis with the command that writes a valid lock."""
    with pytest.raises(ValidationError, match=r"InvalidImage: lock '.*requirements\.lock'") as caught:
        ModelImage.from_requirements(written_lock(tmp_path, content))
    assert problem in str(caught.value)
    assert LOCK_COMMAND in str(caught.value)


def test_fails_without_a_lock(tmp_path: Path) -> None:
    """The error names the command that writes a lock."""
    with pytest.raises(
        ValidationError, match=r"lock must be a file, got '.*none.lock'; write it with: mlops image lock"
    ):
        ModelImage.from_requirements(tmp_path / "none.lock")


def test_a_placeholder_is_warned_of_with_the_commands_that_build_it(tmp_path: Path) -> None:
    """The warning has the build commands of its own image."""
    words = ModelImage.from_requirements(written_lock(tmp_path)).placeholder_words
    last = f"mlops image digest model --requirements {tmp_path / 'requirements.lock'} --repository mlops-model --write"
    assert PLACEHOLDER_IMAGE.text.format(**words).endswith(last)
    ours = ModelImage.from_ecr(repository_name="mlops-runtime", digest=PLACEHOLDER_DIGEST).placeholder_words
    assert "mlops image build --repository mlops-runtime; mlops" in PLACEHOLDER_IMAGE.text.format(**ours)
