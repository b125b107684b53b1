"""``mlops image``: build the image of jobs and servers with the user's docker, push it to ECR, name its digest."""

import json
import re
import shlex
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlops_cli.aws_account import Profile, UserError, account, shown
from mlops_cli.local import Home

if TYPE_CHECKING:
    from mlops_runtime.image.image_build import BuildContext
    from mlops_runtime.image.image_registry import ImageRepository

app = typer.Typer(help="Build the image of jobs and servers with docker, and push it to ECR.", no_args_is_help=True)
_SETTINGS = Path("cdk.json")
_CONTEXT_KEY = "image_digest"

# https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_CreateRepository.html and API_PutImage.html
_REPOSITORY = re.compile(r"(?:[a-z0-9]+(?:[._-][a-z0-9]+)*/)*[a-z0-9]+(?:[._-][a-z0-9]+)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_BY_DIGEST = re.compile(r"[^\s/]+/\S+@sha256:[0-9a-f]{64}")


class Platform(StrEnum):
    """What an image is built for: SageMaker has instances of both."""

    AMD64 = "linux/amd64"
    ARM64 = "linux/arm64"


class Kind(StrEnum):
    """An image of this library."""

    RUNTIME = "runtime"
    EXPLAIN = "explain"


Which = Annotated[
    Kind, typer.Argument(help="runtime for jobs and servers, or explain, with shap, for explainability jobs.")
]
Repository = Annotated[
    str | None, typer.Option(help="ECR repository. Default: mlops-runtime or mlops-explain.", show_default=False)
]
Tag = Annotated[
    str | None, typer.Option(help="Tag. Default: the version and a hash of the image's files.", show_default=False)
]


@app.command()
def build(
    which: Which = Kind.RUNTIME,
    *,
    repository: Repository = None,
    tag: Tag = None,
    platform: Annotated[Platform, typer.Option(help="Platform of the instances.")] = Platform.AMD64,
    runtime: Annotated[
        str | None, typer.Option(help="For explain: the runtime image to extend, by digest.", show_default=False)
    ] = None,
    context: Annotated[
        Path | None,
        typer.Option(help="New folder for the build context. Default: .mlops/image/<image>.", show_default=False),
    ] = None,
) -> None:
    """Write the build context and build the image; without docker, print what to run elsewhere."""
    from mlops_runtime.image.image_build import Docker, DockerError, build_arguments

    if (which is Kind.EXPLAIN) != (runtime is not None):
        raise UserError(
            f"--runtime is required for the image explain and allowed only there, got {which} and --runtime {runtime!r}"
        )
    if runtime is not None and not _BY_DIGEST.fullmatch(runtime):
        raise UserError(
            f"--runtime must name an image by digest, <registry>/<repository>@sha256:<64 digits>, got {runtime!r}"
        )
    _check_names(repository, tag)
    written = _context(which, context)
    name = f"{_repository(which, repository)}:{written.tag if tag is None else tag}"
    arguments = build_arguments(written.folder, name=name, platform=platform.value, runtime=runtime)
    with shown(DockerError):
        Docker.find([shlex.join(["docker", *arguments])], copied=written.folder).run(*arguments)
    typer.echo(f"built {name} for {platform.value}; push it with: mlops image push{_given(which, repository, tag)}")


@app.command()
def push(
    which: Which = Kind.RUNTIME,
    *,
    repository: Repository = None,
    tag: Tag = None,
    create: Annotated[bool, typer.Option("--create", help="Create the repository if it does not exist.")] = False,
    profile: Profile = None,
    home: Home = None,
) -> None:
    """Push the image to the account's registry and print its digest."""
    from mlops_runtime.image.image_build import Docker, DockerError
    from mlops_runtime.image.image_registry import ImageRepository, RegistryError

    name, label = _named(which, repository, tag)
    with account(profile, home) as aws, shown(DockerError, RegistryError):
        target = ImageRepository(ecr=aws.client("ecr"), name=name)
        login = target.login()
        local, remote = f"{name}:{label}", f"{login.host}/{name}:{label}"
        docker = Docker.find(
            [_login_command(login.host, target.ecr.meta.region_name, profile), *_push_commands(local, remote)]
        )
        if create and target.create():
            typer.echo(f"created repository {name}")
        if target.digest(label) is None:
            if not docker.has_image(local):
                raise UserError(
                    f"docker has no image {local}; build it with: mlops image build{_given(which, repository, tag)}"
                )
            docker.run("login", "--username", login.user, "--password-stdin", login.host, given=login.password)
            docker.run("tag", local, remote)
            docker.run("push", remote)
        typer.echo(_found(target, label))


@app.command()
def digest(
    which: Which = Kind.RUNTIME,
    *,
    repository: Repository = None,
    tag: Tag = None,
    write: Annotated[bool, typer.Option("--write", help="Write it to cdk.json as context image_digest.")] = False,
    profile: Profile = None,
    home: Home = None,
) -> None:
    """Print the digest of a pushed image."""
    from mlops_runtime.image.image_registry import ImageRepository, RegistryError

    name, label = _named(which, repository, tag)
    settings = _settings() if write else {}
    with account(profile, home) as aws, shown(RegistryError):
        found = _found(ImageRepository(ecr=aws.client("ecr"), name=name), label)
    if write:
        settings["context"] = {**settings.get("context", {}), _CONTEXT_KEY: found}
        _SETTINGS.write_text(json.dumps(settings, indent=2) + "\n", "utf-8")
    typer.echo(found)


def _named(which: Kind, repository: str | None, tag: str | None) -> tuple[str, str]:
    """Return repository and tag of an image that was built; its tag is that of its files."""
    _check_names(repository, tag)
    return _repository(which, repository), _context(which, None).tag if tag is None else tag


def _check_names(repository: str | None, tag: str | None) -> None:
    problems = []
    if repository is not None and not _REPOSITORY.fullmatch(repository):
        problems.append(
            f"--repository must be a repository name of ECR, in lower case such as team/model, got {repository!r}"
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


def _context(which: Kind, folder: Path | None) -> "BuildContext":
    from mlops_runtime.image.image_build import BuildContextError, write_context

    with shown(BuildContextError):
        return write_context(which.value, Path(".mlops/image") / which.value if folder is None else folder)


def _repository(which: Kind, name: str | None) -> str:
    from mlops_runtime.image.image_build import REPOSITORIES

    return REPOSITORIES[which.value] if name is None else name


def _given(which: Kind, repository: str | None, tag: str | None) -> str:
    """Return the arguments that name the same image in the next command."""
    words = [] if which is Kind.RUNTIME else [which.value]
    words += [] if repository is None else ["--repository", repository]
    words += [] if tag is None else ["--tag", tag]
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


def _settings() -> dict[str, dict[str, str]]:
    try:
        settings = json.loads(_SETTINGS.read_text("utf-8"))
    except FileNotFoundError as error:
        raise UserError("no cdk.json in this folder; run in the app's folder, or remove --write") from error
    except ValueError as error:
        raise UserError(f"{_SETTINGS.resolve()} is not JSON: {error}") from error
    if not isinstance(settings, dict) or not isinstance(settings.get("context", {}), dict):
        raise UserError(f"{_SETTINGS.resolve()} must be an object with an object as context; correct it first")
    return settings
