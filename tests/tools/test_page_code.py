"""Example code in pages: regions, their marks and indentation, and blocks generated from the example."""

import pytest

from tools import page_code

SOURCE = (
    "import a\n\n# [start:all]\nclass One:\n    # [start:one]\n    x = 1\n\n    y = 2\n    # [end:one]\n# [end:all]\n"
)


@pytest.mark.parametrize(
    ("region", "code"),
    [
        ("one", "x = 1\n\ny = 2\n"),
        ("all", "class One:\n    x = 1\n\n    y = 2\n"),
        (None, "import a\n\nclass One:\n    x = 1\n\n    y = 2\n"),
    ],
)
def test_marks_and_indentation_are_left_out(region: str | None, code: str) -> None:
    """Regions may contain other regions."""
    assert page_code.shown(SOURCE, region) == code


def test_fails_for_a_region_that_is_missing() -> None:
    """A renamed region fails before a page is published."""
    with pytest.raises(ValueError, match="no region 'two'"):
        page_code.shown(SOURCE, "two")


def test_a_block_follows_its_example() -> None:
    """Whatever its old content; other blocks stay."""
    page = "<!-- code: examples/__init__.py -->\n```python\nold = 1\n```\n\n```python\nkept = 1\n```\n"

    written = page_code.written(page)

    assert "old" not in written
    assert written.endswith("```\n\n```python\nkept = 1\n```\n")
    assert page_code.written(written) == written
