"""Runs the code cells of a notebook in this process and collects their outputs."""

import ast
import contextlib
import io
import json
from pathlib import Path
from typing import Any


class Notebook:
    """A notebook of a documentation page.

    Args:
        path: The ``.ipynb``.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._document: dict[str, Any] = json.loads(path.read_text())

    @property
    def cells(self) -> list[dict[str, Any]]:
        """Return the code cells."""
        return [cell for cell in self._document["cells"] if cell["cell_type"] == "code"]

    def run(self) -> list[list[dict[str, Any]]]:
        """Execute the code cells in order; return the outputs of each."""
        names: dict[str, Any] = {"__name__": "__main__"}
        return [_outputs("".join(cell["source"]), names, number) for number, cell in enumerate(self.cells, start=1)]

    def write(self, outputs: list[list[dict[str, Any]]]) -> None:
        """Write the outputs into the notebook."""
        for number, (cell, shown) in enumerate(zip(self.cells, outputs, strict=True), start=1):
            cell["execution_count"], cell["outputs"] = number, shown
        self._path.write_text(json.dumps(self._document, indent=1, ensure_ascii=False) + "\n")


def kinds(outputs: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    """Return the kinds of outputs, as their texts differ between runs."""
    return [tuple(sorted(each["data"])) if "data" in each else (each["output_type"],) for each in outputs]


def _outputs(source: str, names: dict[str, Any], number: int) -> list[dict[str, Any]]:
    tree = ast.parse(source)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(tree, f"<cell {number}>", "exec"), names)  # noqa: S102 - the notebook is ours
        value = _value(last, names, number)
    found: list[dict[str, Any]] = []
    if printed.getvalue():
        found.append({"output_type": "stream", "name": "stdout", "text": printed.getvalue().splitlines(keepends=True)})
    if value is not None:
        data = {"text/plain": [repr(value)]}
        show = getattr(value, "_repr_html_", None)
        if show is not None:
            data["text/html"] = [show()]
        found.append({"output_type": "execute_result", "execution_count": number, "metadata": {}, "data": data})
    return found


def _value(last: ast.stmt | None, names: dict[str, Any], number: int) -> Any:
    if not isinstance(last, ast.Expr):
        return None
    return eval(compile(ast.Expression(last.value), f"<cell {number}>", "eval"), names)  # noqa: S307 - the notebook is ours
