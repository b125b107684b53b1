"""Copy code of examples into the documentation: ``python -m tools.page_code``; a test compares pages with examples.

A comment before a block names the file, and optionally a region of it; the tool rewrites the block::

    <!-- code: examples/pages/rollout.py:canary -->

A region of the example is between ``# [start:canary]`` and ``# [end:canary]``.
"""

import re
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(
    r"^<!-- code: (?P<file>[^\s:]+)(?::(?P<region>\w+))? -->\n```python\n(?P<code>.*?)^```$", re.DOTALL | re.MULTILINE
)
_MARK = re.compile(r"^[ \t]*# \[(?:start|end):\w+\]\n", re.MULTILINE)


def shown(source: str, region: str | None) -> str:
    r"""Return the code of an example, or of one region of it, without marks and indentation.

    Raises:
        ValueError: If the example has no such region.

    Example:
        >>> shown("# [start:sum]\n    a = 1 + 2\n# [end:sum]\n", "sum")
        'a = 1 + 2\n'
    """
    if region is not None:
        found = re.search(
            rf"^[ \t]*# \[start:{region}\]\n(.*?)^[ \t]*# \[end:{region}\]$", source, re.DOTALL | re.MULTILINE
        )
        if found is None:
            raise ValueError(f"no region {region!r} between # [start:{region}] and # [end:{region}]")
        source = found[1]
    return textwrap.dedent(_MARK.sub("", source)).strip("\n") + "\n"


def written(page: str) -> str:
    """Return a page with its blocks updated from the examples."""

    def block(match: re.Match[str]) -> str:
        code = shown((ROOT / match["file"]).read_text(), match["region"])
        return f"{match[0].partition('```')[0]}```python\n{code}```"

    return BLOCK.sub(block, page)


def pages() -> list[Path]:
    """Return the pages that may contain code of examples."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def main() -> None:
    """Write each page whose examples have changed."""
    for page in pages():
        text = page.read_text()
        if written(text) != text:
            page.write_text(written(text))
            print(page.relative_to(ROOT))


if __name__ == "__main__":
    main()
