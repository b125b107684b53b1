"""``mlops terraform export``: export a synthesized stack as a Terraform module."""

import json
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlops_cli.answers import AsJson, answer
from mlops_cli.aws_account import UserError, shown, writing
from mlops_cli.stacks import App, synthesize_app

if TYPE_CHECKING:
    from mlops_local.stacks.deployer import FileAsset, Stack

app = typer.Typer(help="Export a unit as a Terraform module.", no_args_is_help=True)
_FILES, _EARLIER = "files", "earlier"


@app.callback()
def _terraform() -> None:
    """Export a unit as a Terraform module."""


@app.command()
def export(
    stack: Annotated[str, typer.Argument(help="Name of the stack.")],
    output: Annotated[Path, typer.Option(help="Folder of the module; an earlier export in it is replaced.")],
    app: App = None,
    as_json: AsJson = False,
) -> None:
    """Write a stack of the app as a module that deploys it through CloudFormation, without a CDK bootstrap."""
    from mlops_runtime.terraform.unit_module import MARK, ExportError, UnitStack, unit_module

    _check(output, MARK)
    with tempfile.TemporaryDirectory() as folder:
        synthesize_app(app, Path(folder))
        found, assets = _read(Path(folder), stack)
        kept = {asset.key: f"{_FILES}/{asset.key}" for asset in assets}
        earlier = _earlier(output, set(kept))
        with shown(ExportError):
            texts = unit_module(
                UnitStack(
                    name=found.name,
                    template=json.loads(found.template.read_text("utf-8")),
                    bucket=found.assets[0].bucket,
                    files={**kept, **{file.name: f"{_EARLIER}/{file.name}" for file in earlier}},
                    tags=found.tags,
                )
            )
        made = Path(folder) / "module"
        (made / _FILES).mkdir(parents=True)
        for name, text in texts.items():
            (made / name).write_text(text, "utf-8")
        for asset in assets:
            (made / kept[asset.key]).write_bytes(asset.read())
        for file in earlier:
            (made / _EARLIER).mkdir(exist_ok=True)
            shutil.copyfile(file, made / _EARLIER / file.name)
        with writing(output):
            _put(made, output.resolve())
    text = f"{output}: module of stack {stack}, {len(assets)} files"
    answer({"output": output, "stack": stack, "files": sorted(asset.key for asset in assets)}, text, as_json=as_json)


def _earlier(output: Path, keys: set[str]) -> list[Path]:
    """Return the files of the previous export that running trainings and rollouts may still read.

    They are kept until the next export that changes files; then no new execution has used them, and Terraform deletes them.
    """
    before = {file.name: file for file in sorted((output / _FILES).glob("*"))}
    if set(before) == keys:
        before = {file.name: file for file in sorted((output / _EARLIER).glob("*"))}
    return [file for name, file in before.items() if name not in keys]


def _put(made: Path, output: Path) -> None:
    """Replace an earlier module; it is deleted last, so that a complete module always exists."""
    output.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{output.name}.", dir=output.parent))
    shutil.move(made, beside / "new")  # possibly across file systems
    was_there = output.exists()
    if was_there:
        output.rename(beside / "old")
    try:
        (beside / "new").rename(output)
    except OSError:
        if was_there:
            (beside / "old").rename(output)
        raise
    try:
        shutil.rmtree(beside)
    except OSError as error:
        raise UserError(
            f"{output} was written, but the earlier module could not be deleted from {beside}: {error}; delete it"
        ) from error


def _check(output: Path, mark: str) -> None:
    """Refuse to overwrite files that no earlier export wrote, such as a state file or files that a user added."""
    there = next(each for each in output.absolute().parents if each.exists())
    if not there.is_dir():
        raise UserError(f"{output} cannot be created, since {there} is a file; name another folder")
    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return
    if not output.is_dir():
        raise UserError(f"{output} is a file; name a folder")
    main = output / "main.tf"
    if not _has_mark(main, mark):
        raise UserError(f"{output} contains files that are not an exported module; give another folder or empty it")
    foreign = sorted(entry.name for entry in output.iterdir() if not _is_exported(entry, mark))
    if foreign:
        raise UserError(
            f"{output} also contains {', '.join(foreign)}, which no export wrote and a new export would delete; move them to "
            "another folder and use the module from there"
        )


def _is_exported(entry: Path, mark: str) -> bool:
    if entry.suffix == ".tf":
        return _has_mark(entry, mark)
    return entry.name in (_FILES, _EARLIER, "template.json")


def _has_mark(file: Path, mark: str) -> bool:
    return file.is_file() and file.read_text("utf-8", errors="replace").startswith(mark)


def _read(assembly: Path, stack: str) -> "tuple[Stack, list[FileAsset]]":
    from mlops_local.stacks import deployer as assemblies

    with shown(assemblies.AssemblyError):
        # keep the placeholders: Terraform determines account and Region
        stacks = assemblies.read(assembly, account="${AWS::AccountId}", region="${AWS::Region}", names=[stack])
    found = next(item for item in stacks if item.name == stack)
    return found, [asset for asset in found.assets if asset.path != found.template]
