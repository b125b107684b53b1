"""``mlops image`` with a stand-in for docker, on the registry of the embedded cloud."""

import hashlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mlops_local.cloud import Cloud

Run = Callable[..., subprocess.CompletedProcess[str]]
STAND_IN = Path(__file__).with_name("docker_stand_in.py")


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put docker on the path; its log and its login are in the given folder."""
    store = tmp_path / "docker-store"
    store.mkdir()
    program = tmp_path / "bin" / "docker"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} {STAND_IN} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("DOCKER_STAND_IN", str(store))
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    return store


def test_an_image_goes_from_build_to_the_apps_digest(
    on_cloud: Run, cloud: Cloud, docker: Path, tmp_path: Path, unique_stack: str
) -> None:
    """Builds, pushes, creates the repository and writes the digest to cdk.json; a second push finds it there."""
    name = unique_stack.lower()
    (tmp_path / "cdk.json").write_text('{"app": "python app.py", "context": {"kept": true}}')

    built = on_cloud("image", "build", "--repository", name)
    pushed = on_cloud("image", "push", "--repository", name, "--create")
    again = on_cloud("image", "push", "--repository", name)
    written = on_cloud("image", "digest", "--repository", name, "--write")

    assert built.returncode == 0, built.stderr
    assert built.stdout.endswith(f"for linux/amd64; push it with: mlops image push --repository {name}\n")
    assert pushed.stdout.splitlines()[0] == f"created repository {name}"
    digest = pushed.stdout.splitlines()[1]
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", digest)
    assert again.stdout.strip() == written.stdout.strip() == digest
    settings = json.loads((tmp_path / "cdk.json").read_text())
    assert settings == {"app": "python app.py", "context": {"kept": True, "image_digest": digest}}
    found = cloud.client("ecr").batch_get_image(repositoryName=name, imageIds=[{"imageDigest": digest}])
    assert len(found["images"]) == 1
    log = (docker / "log").read_text().splitlines()
    assert [line.split()[0] for line in log] == ["buildx", "image", "login", "tag", "push"]
    assert (docker / "password").read_text()
    assert (docker / "password").read_text() not in "\n".join(log)


def test_without_docker_each_step_names_its_commands(
    on_cloud: Run, cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unique_stack: str
) -> None:
    """Writes the context for a build elsewhere."""
    monkeypatch.setenv("PATH", str(tmp_path))
    cloud.client("ecr").create_repository(repositoryName=unique_stack.lower())

    built = on_cloud("image", "build")
    pushed = on_cloud("image", "push", "--repository", unique_stack.lower(), "--tag", "1")

    assert built.returncode == pushed.returncode == 1
    assert built.stderr.startswith(
        "mlops: there is no docker on this machine's PATH; on one that has it, copy .mlops/image/runtime there to the same path "
        "and run:\n"
    )
    assert re.search(
        r"\n    docker buildx build --platform linux/amd64 .* --tag mlops-runtime:\S+ \.mlops/image/runtime\n",
        built.stderr,
    )
    assert (tmp_path / ".mlops/image/runtime/Dockerfile").is_file()
    host = cloud.endpoint_url.removeprefix("http://")
    assert f"\n    docker push {host}/{unique_stack.lower()}:1\n" in pushed.stderr
    assert "aws ecr get-login-password --region us-east-1 | docker login" in pushed.stderr

    created = on_cloud("image", "push", "--repository", f"{unique_stack.lower()}/other", "--tag", "1", "--create")
    names = [found["repositoryName"] for found in cloud.client("ecr").describe_repositories()["repositories"]]
    assert created.returncode == 1
    assert f"{unique_stack.lower()}/other" not in names  # nothing is left behind


def test_fails_with_the_next_step(on_cloud: Run, docker: Path, tmp_path: Path, unique_stack: str) -> None:
    """Covers a missing repository, image, push and cdk.json: one line each, with the fix."""
    name = unique_stack.lower()

    def reported(*arguments: str) -> str:
        result = on_cloud("image", *arguments)
        assert result.returncode == 1
        return result.stderr

    assert f"there is no repository '{name}' in region us-east-1; create it with mlops image push --create" in reported(
        "push", "--repository", name
    )
    assert f"docker has no image {name}:1; build it with: mlops image build --repository {name} --tag 1" in reported(
        "push", "--repository", name, "--tag", "1", "--create"
    )
    assert f"repository '{name}' has no image with tag '1'; its newest tags: none" in reported(
        "digest", "--repository", name, "--tag", "1"
    )
    assert (
        f"there is no repository '{name}-nothere' in region us-east-1; create it with mlops image push --create, or"
        in reported("digest", "--repository", f"{name}-nothere")
    )
    assert "no cdk.json in this folder" in reported("digest", "--write")
    assert "--runtime is required for the images explain and model" in reported("build", "explain")
    assert "--runtime must name an image by digest" in reported("build", "explain", "--runtime", "notadigest")
    assert "--repository must be the name of an ECR repository" in reported("build", "--repository", "BAD NAME")
    both = reported("digest", "--repository", "BAD", "--tag", "a b")
    assert "got 'BAD'" in both
    assert "--tag must be up to 128 letters, digits, '.', '_' and '-', got 'a b'" in both
    assert not (tmp_path / "cdk.json").exists()
    assert "the lock 'requirements.lock' is missing; write it with mlops image lock" in reported("push", "model")
    assert "--requirements is allowed for the image model only, got runtime" in reported("build", "--requirements", "x")
    assert "'requirements.in' is missing" in reported("lock")
    (tmp_path / "mine").write_text("mine")
    assert "cannot write mine/context: Not a directory; give another --context" in reported(
        "build", "--context", "mine/context"
    )
    assert (tmp_path / "mine").read_text() == "mine"
    shutil.rmtree(docker)


RUNTIME = f"000000000000.dkr.ecr.us-east-1.amazonaws.com/mlops-runtime@sha256:{'1' * 64}"


def test_the_image_of_a_model_goes_from_its_lock_to_the_apps_digest(
    on_cloud: Run, docker: Path, tmp_path: Path, unique_stack: str
) -> None:
    """Its context key is separate from the runtime's."""
    name = unique_stack.lower()
    (tmp_path / "cdk.json").write_text('{"context": {"image_digest": "kept"}}')
    (tmp_path / "team.lock").write_text(f"six==1.17.0 --hash=sha256:{'0a' * 32}\n")
    given = ("model", "--repository", name, "--requirements", "team.lock")

    built = on_cloud("image", "build", *given, "--runtime", RUNTIME)
    pushed = on_cloud("image", "push", *given, "--create")
    written = on_cloud("image", "digest", *given, "--write")

    assert built.returncode == 0, built.stderr
    assert built.stdout.endswith(f"mlops image push model --repository {name} --requirements team.lock\n")
    assert pushed.returncode == written.returncode == 0, pushed.stderr + written.stderr
    context = json.loads((tmp_path / "cdk.json").read_text())["context"]
    assert context == {"image_digest": "kept", "model_image_digest": written.stdout.strip()}
    assert f"--build-arg RUNTIME={RUNTIME}" in (docker / "log").read_text()
    assert (tmp_path / ".mlops/image/model/requirements.lock").read_text() == (tmp_path / "team.lock").read_text()


def test_fails_on_a_lock_of_another_python_or_platform(on_cloud: Run, docker: Path, tmp_path: Path) -> None:
    """Fails before docker runs."""
    pin = f"six==1.17.0 --hash=sha256:{'0a' * 32}\n"
    problems = {
        f"# uv pip compile --python-version 3.12\n{pin}": "the lock is of Python 3.12, got 3.13, which the image uses",
        f"# uv pip compile --python-platform aarch64-manylinux_2_28\n{pin}": "got linux on x86_64; build with another --platform",
        "six\n": "'six' must be pinned as name==version",
    }
    for content, problem in problems.items():
        (tmp_path / "requirements.lock").write_text(content)
        output = on_cloud("image", "build", "model", "--runtime", RUNTIME)
        assert output.returncode == 1
        assert problem in output.stderr
    assert not (docker / "log").exists()


def test_a_lock_is_written_with_its_hash(on_cloud: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Uses uv, whose errors are shown in one line."""
    program, pin = tmp_path / "uv", f"six==1.17.0 --hash=sha256:{'0a' * 32}"
    program.write_text(f'#!/bin/sh\nfor last; do :; done\n{{ echo "# uv $@"; echo "{pin}"; }} > "$last"\n')
    program.chmod(0o755)
    monkeypatch.setenv("UV", str(program))
    (tmp_path / "requirements.in").write_text("six\n")

    written = on_cloud("image", "lock")
    content = (tmp_path / "requirements.lock").read_bytes()
    assert written.stdout == f"requirements.lock: sha256:{hashlib.sha256(content).hexdigest()}\n"
    assert b"--universal" in content
    assert on_cloud("image", "lock", "--image-only", "--output", "one.lock").returncode == 0
    assert b"--python-version 3.13" in (tmp_path / "one.lock").read_bytes()
    program.write_text("#!/bin/sh\necho 'no wheels of six' >&2\nexit 1\n")
    failed = on_cloud("image", "lock")
    assert (failed.returncode, failed.stdout) == (1, "")
    assert (
        "uv cannot lock 'requirements.in': no wheels of six; each package needs a version with wheels" in failed.stderr
    )
