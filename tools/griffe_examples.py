"""Griffe extension that renames our docstrings' ``Example:`` section to ``Examples:``, so that it is rendered as code."""

import re
from typing import Any

import griffe


class ExampleSections(griffe.Extension):
    """Rename the section where it begins a line."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rename it in one docstring."""
        if obj.docstring is not None:
            obj.docstring.value = re.sub(r"(?m)^(\s*)Example:$", r"\1Examples:", obj.docstring.value)
