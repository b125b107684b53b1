"""``mlops image``: build the image of jobs and servers with docker, push it to ECR, print its digest."""

import json
import re
import shlex
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlops_cli.answers import AsJson, answer
from mlops_cli.aws_account import Profile, UserError, account, shown, writing
from mlops_cli.local import Home
from mlops_cli.stacks import read_settings
from mlops_runtime.image.requirements_lock import IMAGE_PYTHON, RequirementsError, RequirementsLock
from mlops_runtime.image.uv_program import compile_lock

if TYPE_CHECKING:
    from mlops_runtime.image.image_build import BuildContext
    from mlops_runtime.image.image_registry import ImageRepository

app = typer.Typer(help="Build the image of jobs and servers with docker, and push it to ECR.", no_args_is_help=True)
_SETTINGS = Path("cdk.json")
# cdk context keys of image digests; the first one for all images but a model's own
_CONTEXT_KEY, _MODEL_KEY = "image_digest", "model_image_digest"
_LOCK = Path("requirements.lock")

# https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_CreateRepository.html and API_PutImage.html
_REPOSITORY = re.compile(r"(?:[a-z0-9]+(?:[._-][a-z0-9]+)*/)*[a-z0-9]+(?:[._-][a-z0-9]+)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_BY_DIGEST = re.compile(r"[^\s/]+/\S+@sha256:[0-9a-f]{64}")


class Platform(StrEnum):
    """Platform of an image; SageMaker has instances of both."""

    AMD64 = "linux/amd64"
    ARM64 = "linux/arm64"


_MACHINES = {Platform.AMD64: "x86_64", Platform.ARM64: "aarch64"}


class Kind(StrEnum):
    """An image of this library."""

    RUNTIME = "runtime"
    EXPLAIN = "explain"
    MODEL = "model"


Which = Annotated[
    Kind,
    typer.Argument(
        help="runtime for jobs and servers; explain, with shap, for explainability jobs; model, with the environment of a model "
        "that is not ONNX."
    ),
]
Requirements = Annotated[
    Path | None,
    typer.Option(
        help="For model: lock file of its environment. Default: requirements.lock, written by mlops image lock."
    ),
]
Repository = Annotated[str | None, typer.Option(help="ECR repository. Default: mlops-<image>, such as mlops-runtime.")]
Tag = Annotated[str | None, typer.Option(help="Tag. Default: the version and a hash of the image's files.")]


@app.command()
def build(
    which: Which = Kind.RUNTIME,
    *,
    repository: Repository = None,
    tag: Tag = None,
    platform: Annotated[Platform, typer.Option(help="Platform of the instances.")] = Platform.AMD64,
    requirements: Requirements = None,
    runtime: Annotated[
        str | None, typer.Option(help="For explain and model: the runtime image to extend, by digest.")
    ] = None,
    context: Annotated[
        Path | None, typer.Option(help="New folder for the build context. Default: .mlops/image/<image>.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write the build context and build the image; without docker, print the commands to run elsewhere."""
    from mlops_runtime.image.image_build import Docker, DockerError, build_arguments

    if (which is not Kind.RUNTIME) != (runtime is not None):
        raise UserError(
            "--runtime is required for the images explain and model, and only allowed for these, "
            f"got {which} and --runtime {runtime!r}"
        )
    if runtime is not None and not _BY_DIGEST.fullmatch(runtime):
        raise UserError(
            f"--runtime must name an image by digest, <registry>/<repository>@sha256:<64 digits>, got {runtime!r}"
        )
    _check_names(repository, tag)
    lock = _lock(which, requirements)
    if lock is not None:
        machine = _MACHINES[platform]
        problem = lock.platform_problem("linux", machine)
        if problem is not None:
            raise UserError(f"{problem}; build with another --platform, or write the lock with: mlops image lock")
    written = _context(which, context, lock)
    name = f"{_repository(which, repository)}:{written.tag if tag is None else tag}"
    arguments = build_arguments(written.folder, name=name, platform=platform.value, runtime=runtime)
    with shown(DockerError):
        Docker.find([shlex.join(["docker", *arguments])], copied=written.folder).run(*arguments)
    given = _given(which, repository, tag, requirements)
    text = f"built {name} for {platform.value}; push it with: mlops image push{given}"
    answer({"image": name, "platform": platform.value}, text, as_json=as_json)


@app.command()
def lock(
    requirements: Annotated[Path, typer.Argument(help="Packages of the model's environment, one per line.")] = Path(
        "requirements.in"
    ),
    *,
    output: Annotated[Path, typer.Option(help="File to write.")] = _LOCK,
    image_only: Annotated[
        bool,
        typer.Option(
            "--image-only",
            help="Lock only for the Python and platform of the image (x86-64). Default: all platforms and Python 3.11 or newer.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Lock the environment of a model that is not ONNX: only wheels, each with its hash."""
    if not requirements.is_file():
        raise UserError(f"{str(requirements)!r} is missing; create it with the packages that the model needs")
    with shown(RequirementsError):
        found = compile_lock(requirements, output, is_universal=not image_only)
    answer({"output": output, "sha256": found.sha256}, f"{output}: sha256:{found.sha256}", as_json=as_json)


@app.command()
def push(
    which: Which = Kind.RUNTIME,
    *,
    repository: Repository = None,
    tag: Tag = None,
    requirements: Requirements = None,
    create: Annotated[bool, typer.Option("--create", help="Create the repository if it does not exist.")] = False,
    as_json: AsJson = False,
    profile: Profile = None,
    home: Home = None,
) -> None:
    """Push the image to the account's registry and print its digest."""
    from mlops_runtime.image.image_build import Docker, DockerError
    from mlops_runtime.image.image_registry import ImageRepository, RegistryError

    name, label = _named(which, repository, tag, requirements)
    with account(profile, home) as aws, shown(DockerError, RegistryError):
        target = ImageRepository(ecr=aws.client("ecr"), name=name)
        login = target.login()
        local, remote = f"{name}:{label}", f"{login.host}/{name}:{label}"
        docker = Docker.find(
            [_login_command(login.host, target.ecr.meta.region_name, profile), *_push_commands(local, remote)]
        )
        if create and target.create():
            typer.echo(f"created repository {name}", err=as_json)
        if target.digest(label) is None:
            if not docker.has_image(local):
                raise UserError(
                    f"docker has no image {local}; build it with: mlops image build{_given(which, repository, tag, requirements)}"
                )
            docker.run("login", "--username", login.user, "--password-stdin", login.host, given=login.password)
            docker.run("tag", local, remote)
            docker.run("push", remote)
        found = _found(target, label)
    answer({"repository": name, "tag": label, "digest": found}, found, as_json=as_json)


@app.command()
def digest(
    which: Which = Kind.RUNTIME,
    *,
    repository: Repository = None,
    tag: Tag = None,
    requirements: Requirements = None,
    write: Annotated[
        bool,
        typer.Option(
            "--write", help="Write it to the context of cdk.json, as image_digest, or model_image_digest for model."
        ),
    ] = False,
    as_json: AsJson = False,
    profile: Profile = None,
    home: Home = None,
) -> None:
    """Print the digest of a pushed image."""
    from mlops_runtime.image.image_registry import ImageRepository, RegistryError

    name, label = _named(which, repository, tag, requirements)
    settings = _settings() if write else {}
    with account(profile, home) as aws, shown(RegistryError):
        found = _found(ImageRepository(ecr=aws.client("ecr"), name=name), label)
    if write:
        key = _MODEL_KEY if which is Kind.MODEL else _CONTEXT_KEY
        settings["context"] = {**settings.get("context", {}), key: found}
        with writing(_SETTINGS, "make it writable, or remove --write"):
            _SETTINGS.write_text(json.dumps(settings, indent=2) + "\n", "utf-8")
    answer({"repository": name, "tag": label, "digest": found}, found, as_json=as_json)


def _named(which: Kind, repository: str | None, tag: str | None, requirements: Path | None) -> tuple[str, str]:
    """Return repository and tag of a built image; the default tag depends on its files."""
    _check_names(repository, tag)
    lock = _lock(which, requirements)
    return _repository(which, repository), _context(which, None, lock).tag if tag is None else tag


def _lock(which: Kind, requirements: Path | None) -> RequirementsLock | None:
    """Return the lock of a model's environment; ``None`` for other images."""
    if which is not Kind.MODEL:
        if requirements is not None:
            raise UserError(f"--requirements is allowed for the image model only, got {which}: mlops image build model")
        return None
    path = _LOCK if requirements is None else requirements
    if not path.is_file():
        raise UserError(
            f"the lock {str(path)!r} is missing; write it with mlops image lock, or name it with --requirements"
        )
    with shown(RequirementsError):
        found = RequirementsLock.parsed(path.read_bytes())
    problem = found.python_problem(IMAGE_PYTHON)
    if problem is not None:
        raise UserError(f"{problem}, which the image uses; write the lock again with: mlops image lock")
    return found


def _check_names(repository: str | None, tag: str | None) -> None:
    problems = []
    if repository is not None and not _REPOSITORY.fullmatch(repository):
        problems.append(
            f"--repository must be the name of an ECR repository in lower case, such as team/model, got {repository!r}"
        )
    if tag is not None and not _TAG.fullmatch(tag):
        problems.append(f"--tag must be up to 128 letters, digits, '.', '_' and '-', got {tag!r}")
    if problems:
        raise UserError("; ".join(problems))


def _login_command(host: str, region: str, profile: str | None) -> str:
    chosen = "" if profile is None else f" --profile {shlex.quote(profile)}"
    return f"aws ecr get-login-password --region {region}{chosen} | docker login --username AWS --password-stdin {host}"


def _push_commands(local: str, remote: str) -> list[str]:
    return [shlex.join(["docker", "tag", local, remote]), shlex.join(["docker", "push", remote])]


def _context(which: Kind, folder: Path | None, lock: RequirementsLock | None) -> "BuildContext":
    from mlops_runtime.image.image_build import BuildContextError, write_context

    target = Path(".mlops/image") / which.value if folder is None else folder
    with shown(BuildContextError), writing(target, "give another --context"):
        return write_context(which.value, target, lock)


def _repository(which: Kind, name: str | None) -> str:
    from mlops_runtime.image.image_build import REPOSITORIES

    return REPOSITORIES[which.value] if name is None else name


def _given(which: Kind, repository: str | None, tag: str | None, requirements: Path | None) -> str:
    """Return the arguments that select the same image in the next command."""
    words = [] if which is Kind.RUNTIME else [which.value]
    words += [] if repository is None else ["--repository", repository]
    words += [] if tag is None else ["--tag", tag]
    words += [] if requirements is None else ["--requirements", str(requirements)]
    return "".join(f" {shlex.quote(word)}" for word in words)


def _found(target: "ImageRepository", tag: str) -> str:
    found = target.digest(tag)
    if found is None:
        tags = ", ".join(target.tags()[:5]) or "none"
        raise UserError(
            f"repository {target.name!r} has no image with tag {tag!r}; its newest tags: {tags}. Push it with mlops image push, "
            "or name another with --tag"
        )
    return found


def _settings() -> dict[str, Any]:
    if not _SETTINGS.is_file():
        raise UserError("no cdk.json in this folder; run in the app's folder, or remove --write")
    return read_settings(_SETTINGS)
