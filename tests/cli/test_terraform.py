"""``mlops terraform export``: writes a folder for Terraform, or prints one line with the reason."""

import json
import runpy
from collections.abc import Callable
from functools import partial
from pathlib import Path

import aws_cdk as cdk
import pytest

from mlops_cli.aws_account import UserError
from mlops_cli.terraform import _check, _put, export
from mlops_runtime.terraform.unit_module import MARK

APP = """
from pathlib import Path
import aws_cdk as cdk
from aws_cdk import aws_s3_assets as assets

app = cdk.App()
stack = cdk.Stack(app, "CliTerraform", tags={"team": "shop"})
Path("data").mkdir(exist_ok=True)
Path("data/prices.csv").write_text("a,1\\n")
data = assets.Asset(stack, "Data", path=str(Path("data").resolve()))
value = cdk.CfnResource(stack, "P", type="AWS::SSM::Parameter", properties={"Type": "String", "Value": data.s3_object_url})
cdk.CfnOutput(stack, "Where", value=value.ref)
app.synth()
"""


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """An app with one file asset."""
    (tmp_path / "app.py").write_text(APP)
    (tmp_path / "cdk.json").write_text(json.dumps({"app": "python app.py"}))
    return tmp_path


def test_a_stack_becomes_a_folder_and_again(mlops: Callable[..., object], app: Path) -> None:
    """Asset files are beside the configuration; an earlier export is replaced."""
    result = mlops("terraform", "export", "CliTerraform", "--output", "module")

    assert (result.returncode, result.stdout) == (0, "module: module of stack CliTerraform, 1 files\n")
    module = app / "module"
    (archive,) = (module / "files").iterdir()
    assert f'"{archive.name}" = "files/{archive.name}"' in (module / "main.tf").read_text()
    assert 'tags       = merge({ "team" = "shop" }, var.tags)' in (module / "main.tf").read_text()
    assert "hnb659fds" not in "".join(f.read_text() for f in module.iterdir() if f.is_file())

    assert mlops("terraform", "export", "CliTerraform", "--output", "module").returncode == 0
    assert [f.name for f in (module / "files").iterdir()] == [archive.name]
    assert not (module / "earlier").exists()


@pytest.fixture
def app_here(app: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The app, in its folder and in this process."""

    def synthesize(_app: str | None, output: Path) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(cdk, "App", partial(cdk.App, outdir=str(output)))
            runpy.run_path("app.py")

    monkeypatch.chdir(app)
    monkeypatch.setattr("mlops_cli.terraform.synthesize_app", synthesize)
    return app


def test_files_of_the_export_before_stay_until_the_next(app_here: Path) -> None:
    """Running applies still read them; the export after the next deletes them."""
    app, text = app_here, (app_here / "app.py").read_text()
    found = []
    for prices in ("a,1", "a,1", "a,2", "a,2", "a,3"):
        (app / "app.py").write_text(text.replace("a,1", prices))
        export("CliTerraform", output=Path("module"))
        current, earlier = (sorted((app / "module" / folder).glob("*")) for folder in ("files", "earlier"))
        main = (app / "module" / "main.tf").read_text()
        assert all(f'"{file.name}" = "{file.parent.name}/{file.name}"' in main for file in (*current, *earlier))
        found.append(([file.name for file in current], [file.name for file in earlier]))

    (one, two, three) = (found[index][0] for index in (0, 2, 4))
    assert len({*one, *two, *three}) == 3
    assert found == [(one, []), (one, []), (two, one), (two, one), (three, two)]


@pytest.mark.parametrize(
    ("name", "text"), [("terraform.tfstate", "{}"), ("backend.tf", "terraform {}\n"), (".terraform", None)]
)
def test_what_no_export_made_is_not_deleted(app: Path, name: str, text: str | None) -> None:
    """Above all a state, without which Terraform would lose its resources."""
    module = app / "module"
    module.mkdir()
    (module / "main.tf").write_text(MARK)
    _check(module, MARK)
    if text is None:
        (module / name).mkdir()
    else:
        (module / name).write_text(text)

    with pytest.raises(UserError, match=rf"module also contains {name}, which no export wrote"):
        _check(module, MARK)
    assert (module / name).exists()


def test_fails_below_a_file(tmp_path: Path) -> None:
    """Before the app is synthesized."""
    (tmp_path / "mine").write_text("mine")

    with pytest.raises(UserError, match=r"mine/a/b cannot be created, since .*/mine is a file; name another folder"):
        _check(tmp_path / "mine" / "a" / "b", MARK)


@pytest.mark.parametrize("name", ["main.tf", "other.tf"])
@pytest.mark.parametrize("content", [b"\xff\xfe", None])
def test_what_is_no_text_is_no_exported_module(tmp_path: Path, name: str, content: bytes | None) -> None:
    """Neither bytes nor a folder with the name of a file."""
    (tmp_path / "main.tf").write_text(MARK)
    (tmp_path / name).unlink(missing_ok=True)
    if content is None:
        (tmp_path / name).mkdir()
    else:
        (tmp_path / name).write_bytes(content)

    with pytest.raises(UserError, match=r"contains (files that are not an exported module|other\.tf, which no export)"):
        _check(tmp_path, MARK)


@pytest.mark.parametrize(
    ("stack", "folder", "message"),
    [
        ("Nope", "module", "no stack Nope in the assembly; it has CliTerraform"),
        ("CliTerraform", "cdk.json", "cdk.json is a file; name a folder"),
        (
            "CliTerraform",
            "data",
            "data contains files that are not an exported module; give another folder or empty it",
        ),
    ],
)
def test_what_cannot_be_is_one_line(
    in_process: Callable[..., object], app_here: Path, stack: str, folder: str, message: str
) -> None:
    """Writes and loses nothing."""
    app = app_here
    (app / "data").mkdir()
    (app / "data" / "mine.txt").write_text("mine")

    result = in_process("terraform", "export", stack, "--output", folder)

    assert (result.returncode, result.stderr) == (1, f"mlops: {message}\n")
    assert (app / "data" / "mine.txt").read_text() == "mine"
    assert not (app / "module").exists()


@pytest.fixture
def modules(tmp_path: Path) -> tuple[Path, Path]:
    """A new module, and an earlier one at the destination."""
    made, there = tmp_path / "made", tmp_path / "there" / "module"
    for folder, text in ((made, "new"), (there, "old")):
        folder.mkdir(parents=True)
        (folder / "main.tf").write_text(text)
    return made, there


def test_an_earlier_module_that_cannot_be_deleted_is_said_and_takes_no_place(
    modules: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new one is at the destination, and not nested in the old one."""

    def refuse(path: Path, **_: object) -> None:
        raise PermissionError(13, "denied", str(path))

    made, there = modules
    monkeypatch.setattr("mlops_cli.terraform.shutil.rmtree", refuse)

    with pytest.raises(
        UserError, match=r"module was written, but the earlier module could not be deleted .*denied.*; delete it"
    ):
        _put(made, there)
    assert [(entry.name, entry.read_text()) for entry in there.iterdir()] == [("main.tf", "new")]


def test_a_module_that_cannot_be_put_there_leaves_the_earlier_one(
    modules: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stays complete, under its name."""
    rename = Path.rename

    def fail(path: Path, target: Path) -> Path:
        if path.name == "new":
            raise OSError(28, "no space")
        return rename(path, target)

    made, there = modules
    monkeypatch.setattr(Path, "rename", fail)

    with pytest.raises(OSError, match="no space"):
        _put(made, there)
    assert [(entry.name, entry.read_text()) for entry in there.iterdir()] == [("main.tf", "old")]
