"""Generate ``docs/errors.md``, the list of all errors, warnings and notices of the library.

Run ``python -m tools.errors_index``; a test compares the page with the code.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

from mlops_constructs._warnings import ALL_WARNINGS

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "errors.md"
_HEAD = """# Errors and warnings

A message lists all problems at once, each with the value, the allowed values and the fix.
`tools/errors_index.py` generates this page from the code.

## At synth: `ValidationError`

The message starts with the code in brackets and the construct's path, before the problems. The
error is raised before anything is written.

| code | raised by |
|---|---|
"""
_ERRORS = """
## At run time

| error | where | when |
|---|---|---|
"""
_WARNINGS = """
## Warnings at synth

Acknowledge one with `cdk.Annotations.of(construct).acknowledge_warning(id, reason)`; ids never
change.

| id | text |
|---|---|
"""


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), "utf-8")


def page() -> str:
    """Return the page's text."""
    codes: dict[str, set[str]] = {}
    for name, tree in _modules("mlops_constructs"):
        for code in _codes(tree):
            codes.setdefault(code, set()).add(name)
    lines = [f"| `{code}` | {', '.join(f'`{name}`' for name in sorted(codes[code]))} |" for code in sorted(codes)]
    errors = sorted(
        (node.name, name, _first_line(node))
        for package in ("mlops_runtime", "mlops_local", "mlops_cli")
        for name, tree in _modules(package)
        for node in tree.body
        if isinstance(node, ast.ClassDef) and node.name.endswith("Error") and not node.name.startswith("_")
    )
    rows = [f"| `{error}` | `{name}` | {text} |" for error, name, text in errors]
    warnings = [f"| `{warning.id}` | {warning.text.replace('|', ' ')} |" for warning in ALL_WARNINGS]
    return "\n".join([_HEAD + "\n".join(lines), _ERRORS + "\n".join(rows), _WARNINGS + "\n".join(warnings)]) + "\n"


def _modules(package: str) -> Iterator[tuple[str, ast.Module]]:
    folder = next(path for path in (ROOT / "src" / package, *ROOT.glob(f"packages/*/src/{package}")) if path.is_dir())
    for path in sorted(folder.rglob("*.py")):
        name = ".".join(path.relative_to(folder.parent).with_suffix("").parts).removesuffix(".__init__")
        yield name, ast.parse(path.read_text("utf-8"))


def _codes(tree: ast.Module) -> Iterator[str]:
    """Yield the literal codes of the errors that a module raises."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            place = {"ValidationError": 0, "checked": 0, "raise_if_any": 1}.get(node.func.id)
            if place is not None and len(node.args) > place and isinstance(node.args[place], ast.Constant):
                yield str(node.args[place].value)  # type: ignore[attr-defined]


def _first_line(node: ast.ClassDef) -> str:
    return (ast.get_docstring(node) or "").split("\n", 1)[0].replace("|", " ")


if __name__ == "__main__":
    main()
