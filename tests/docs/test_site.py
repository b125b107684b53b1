"""The documentation site: a strict build, no external resources, and existing code and commands."""

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main
import yaml

import mlops_constructs
from mlops_cli.__main__ import app
from mlops_constructs import compliance
from tools import page_code

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(p for p in DOCS.rglob("*.md") if "worklog" not in p.parts)
SHOWN = [*PAGES, ROOT / "README.md"]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site as readers get it."""
    folder = tmp_path_factory.mktemp("site")
    program = Path(sys.executable).with_name("mkdocs")
    result = subprocess.run(
        [program, "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )
    problems = [line for line in result.stderr.splitlines() if not line.startswith("INFO")]
    assert result.returncode == 0, "\n".join(problems)
    return folder


def python_blocks() -> Iterator[tuple[Path, str]]:
    """Yield Python code written on the pages; code of examples is tested there."""
    for page in PAGES:
        text = page_code.BLOCK.sub("", page.read_text())
        for block in re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
            yield page, block


def commands() -> Iterator[tuple[Path, str]]:
    """Yield every line of the command on the pages."""
    for page in SHOWN:
        for line in page.read_text().splitlines():
            found = re.match(r"    (?:pip install uv && )?(?:uv run )?mlops ([^#]+)", line)
            if found:
                yield page, found[1].strip()


def test_it_builds_and_fetches_nothing(site: Path) -> None:
    """The strict build checks links and anchors; scripts, styles, fonts and pictures are local."""
    outside = [
        f"{page.relative_to(site)}: {url}"
        for page in site.rglob("*.html")
        for url in re.findall(
            r'<(?:script|img|link rel="stylesheet")[^>]*(?:src|href)="?((?:https?:)?//[^" >]+)', page.read_text()
        )
    ]

    assert outside == []
    assert len(list(site.rglob("index.html"))) >= len(PAGES)


def test_the_reference_names_everything_public(site: Path) -> None:
    """Each public name has its own heading."""
    text = (site / "reference" / "constructs" / "index.html").read_text()

    assert [name for name in mlops_constructs.__all__ if f'id="mlops_constructs.{name}"' not in text] == []


def test_a_page_opens_in_a_browser(site: Path, tmp_path: Path) -> None:
    """Diagrams appear without a network, with their source and picture."""
    if shutil.which("chromium") is None:
        pytest.skip("chromium is not installed")
    page = site / "concepts" / "index.html"
    arguments = ["--headless", "--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP * ~NOTFOUND"]
    result = subprocess.run(
        ["chromium", *arguments, f"--user-data-dir={tmp_path}", "--dump-dom", page.as_uri()],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )

    assert "One writer" in result.stdout
    assert re.search(r'<html[^>]*class="[^"]*\bjs\b', result.stdout), "its script did not run"


def test_every_page_is_in_the_menu() -> None:
    """The hand-written menu contains every page; decisions are one entry that links to each."""
    lines = (ROOT / "mkdocs.yml").read_text()
    menu = {item for entry in yaml.safe_load(lines)["nav"] for items in entry.values() for item in items}
    decisions = {f"adr/{name}" for name in re.findall(r"\]\((\d+-[^)]+)\)", (DOCS / "adr/index.md").read_text())}

    assert {str(p.relative_to(DOCS)) for p in PAGES} == menu | decisions
    assert len(decisions) > 20


@pytest.mark.parametrize(
    ("page", "block"), list(python_blocks()), ids=lambda value: value.name if isinstance(value, Path) else ""
)
def test_code_of_a_page_uses_what_is_there(page: Path, block: str) -> None:
    """Code blocks are Python, and the constructs they name are public."""
    names = {n.func for n in ast.walk(ast.parse(block)) if isinstance(n, ast.Call)}
    called = {f.id for f in names if isinstance(f, ast.Name)} | {
        f.value.id for f in names if isinstance(f, ast.Attribute) and isinstance(f.value, ast.Name)
    }
    constructs = {name for name in called if name[0].isupper()}

    of_others = {"EndpointClient", "FeatureStoreClient", "Path", "Tags", "Unit", "Validations"}
    assert constructs <= {*mlops_constructs.__all__, *compliance.__all__, *of_others}, page


@pytest.mark.parametrize(
    ("page", "line"), list(commands()), ids=lambda value: value.name if isinstance(value, Path) else value[:40]
)
def test_a_command_of_a_page_is_one(page: Path, line: str) -> None:
    """Verbs and options of the commands exist."""
    command = typer.main.get_command(app)
    words = line.split()
    while words and hasattr(command, "commands"):
        assert words[0] in command.commands, f"{page.name}: {line}"
        command = command.commands[words.pop(0)]
    options = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}

    assert {w.split("=")[0] for w in words if w.startswith("--")} <= {*options, "--help"}, f"{page.name}: {line}"


def test_every_alarm_is_explained() -> None:
    """The first column of the page lists the suffixes of all alarm ids."""
    rows = re.findall(r"^\| (`[^|]+)\|", (DOCS / "alarms.md").read_text(), re.MULTILINE)
    names = [name for row in rows for name in re.findall(r"`([^`]+)`", row)]
    ends = set()
    for path in (ROOT / "src" / "mlops_constructs").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in {"create_alarm", "_define_alarm"}:
                ends |= {end for argument in node.args for end in _literal_ends(argument)}
            elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Child":
                names_of_alarms = [keyword.value for keyword in node.keywords if keyword.arg == "name"]
                ends |= {end.capitalize() for value in names_of_alarms for end in _literal_ends(value)}  # `Child.id`

    assert len(ends) > 16
    assert [end for end in sorted(ends) if not any(name.endswith(end) for name in names)] == []


def _literal_ends(argument: ast.expr) -> Iterator[str]:
    if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
        yield argument.value
    elif isinstance(argument, ast.JoinedStr) and isinstance(argument.values[-1], ast.Constant):
        yield str(argument.values[-1].value)
