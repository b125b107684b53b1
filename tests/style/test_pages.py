"""Statements of the documentation match the code."""

import ast
import re
from pathlib import Path

import pytest

from tools import page_code

ROOT = Path(__file__).resolve().parents[2]


def _rows(page: str) -> list[list[str]]:
    lines = (ROOT / page).read_text().splitlines()
    cells = [[c.strip() for c in line.strip("|").split("|")] for line in lines if line.startswith("| ")]
    return [row for row in cells if row[0] not in {"what", "construct"}]


def test_every_path_of_agents_exists() -> None:
    """Paths in the location table exist."""
    paths = [path for row in _rows("AGENTS.md") for path in re.findall(r"`([^`]+)`", row[1])]

    missing = [path for path in paths if not (ROOT / path).exists()]

    assert len(paths) > 20
    assert missing == []


@pytest.mark.parametrize(("page", "least"), [("docs/architecture.md", 60), ("docs/extending.md", 60)])
def test_every_path_of_architecture_exists(page: str, least: int) -> None:
    """Paths in the description of the parts, and in the instructions for extending the project, exist."""
    words = re.findall(r"`([^`\s]+)`", (ROOT / page).read_text())
    paths = [word for word in words if re.match(r"(src|packages|tests|tools|lambdas|docs)/", word)]

    assert len(paths) > least
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_every_function_has_a_row() -> None:
    """One table lists what each function does and never does."""
    folders = {path.parent.name for path in (ROOT / "lambdas").glob("*/handler.py")}
    named = {row[0].strip("`") for row in _rows("lambdas/README.md")}

    assert folders - named == set()


def test_every_module_of_wiring_exists() -> None:
    """Modules are named relative to ``mlops_runtime``, or with their package."""
    below = [*(ROOT / "packages").glob("*/src"), ROOT / "src", *(ROOT / "packages").glob("*/src/mlops_runtime")]
    modules = re.findall(r"`([a-z_/]+\.py)`", (ROOT / "docs/reference/wiring.md").read_text())

    assert len(modules) > 30
    assert [each for each in modules if not any((folder / each).exists() for folder in below)] == []


def test_every_link_of_the_pages_exists() -> None:
    """Relative links of README, CONTRIBUTING and docs resolve."""
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "AGENTS.md", *(ROOT / "docs").rglob("*.md")]
    broken = [
        f"{page.name}: {target}"
        for page in pages
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text())
        if "://" not in target and not (page.parent / target).exists()
    ]

    assert broken == []


def test_prose_of_the_pages_is_wrapped() -> None:
    """At 100 columns, except addresses, tables, headings, pictures and code."""
    folders = ("docs", "packages", "examples", "benchmarks", "lambdas")
    pages = [*ROOT.glob("*.md"), *(page for folder in folders for page in (ROOT / folder).rglob("*.md"))]
    prose = re.compile(r"(?! {4} *(?!- |\d+\. )\S|[|#]|!\[) *(?:- |\d+\. )?(.*)")
    long = [
        f"{page.relative_to(ROOT)}: {line}"
        for page in pages
        if "worklog" not in page.parts
        for line in re.sub(r"^( *)```.*?^\1```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE).splitlines()
        if len(line) > 100 and (found := prose.fullmatch(line)) and " " in found[1]
    ]

    assert len(pages) > 100
    assert long == []


def test_code_of_examples_is_theirs() -> None:
    """``python -m tools.page_code`` changes nothing, each marked block is read, and no page needs a macro."""
    texts = {page: page.read_text() for page in page_code.pages() if "worklog" not in page.parts}
    marked = sum(text.count("<!-- code: ") for text in texts.values())

    assert [page.name for page, text in texts.items() if page_code.written(text) != text] == []
    assert sum(len(page_code.BLOCK.findall(text)) for text in texts.values()) == marked > 30
    assert [page.name for page, text in texts.items() if "--8<--" in text] == []


def test_pages_name_the_file_of_each_example() -> None:
    """Each code block names its source file."""
    found = [
        (page.name, example)
        for page in page_code.pages()
        for before, example in re.findall(r"((?:.+\n)+)\n<!-- code: ([^: ]+)", page.read_text())
        if example not in before
    ]

    assert found == []


def test_the_readme_lists_every_construct() -> None:
    """Each public construct has a row, and each row names a public construct."""
    import mlops_constructs
    from constructs import Construct

    rows = {re.findall(r"`(\w+)`", row[0])[0] for row in _rows("README.md")}
    public = {
        name
        for name in mlops_constructs.__all__
        if isinstance(item := getattr(mlops_constructs, name), type) and issubclass(item, Construct)
    }

    assert rows == public


def test_the_readmes_first_endpoint_is_the_example() -> None:
    """Code in the README is code that the tests synthesize."""
    shown = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert shown is not None
    example = ast.parse((ROOT / "examples/first_endpoint.py").read_text())
    classes = {node.name: node for node in example.body if isinstance(node, ast.ClassDef)}

    shown_class = ast.parse(shown.group(1)).body[0]

    assert isinstance(shown_class, ast.ClassDef)
    body = [n for n in classes[shown_class.name].body if not isinstance(n, ast.Expr)]
    assert [ast.unparse(n) for n in shown_class.body] == [ast.unparse(n) for n in body]


@pytest.mark.parametrize("command", ["uv run mlops demo", "uv run pytest"])
def test_the_readme_opens_with_the_two_commands(command: str) -> None:
    """The two commands are in the first sixteen lines."""
    head = "\n".join((ROOT / "README.md").read_text().splitlines()[:16])

    assert f"pip install uv && {command}" in head
