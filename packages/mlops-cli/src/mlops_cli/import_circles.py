"""Pairs of stacks that import exports of each other, neither of which can be deleted.

CloudFormation keeps a stack while another one imports its exports. Two stacks get into a circle by an update: the first one is
deployed, the second one imports from it, and a later version of the first one imports from the second.

See: https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/using-cfn-stack-exports.html
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

_WHOLE_UNIT = re.compile(r"mlops-unit-[^:]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportCircle:
    """Two stacks that import from each other."""

    opener: str  # the stack whose imports are to be removed first
    opens: tuple[str, ...]  # exports of the other stack that it imports
    other: str  # the other stack
    keeps: tuple[str, ...]  # exports of the opener that the other stack imports

    @property
    def text(self) -> str:
        """The problem and its fix, as one sentence."""
        return (
            f"stacks {' and '.join(sorted((self.opener, self.other)))} import from each other, so neither can be deleted: "
            f"{self.opener} imports {_listed(self.opens)} of {self.other}, and {self.other} imports {_listed(self.keeps)} of "
            f"{self.opener}; deploy {self.opener} without its imports of {self.other} first, then destroy {self.other}, then "
            f"{self.opener}"
        )


def import_circles(cloudformation: Any, doomed: Sequence[str]) -> list[ImportCircle]:
    """Return the pairs of stacks that import from each other, one of which at least is to be deleted."""
    exports: dict[str, list[str]] = {}
    for page in cloudformation.get_paginator("list_exports").paginate():
        for each in page["Exports"]:
            exports.setdefault(_name(each["ExportingStackId"]), []).append(str(each["Name"]))
    used: dict[str, dict[str, list[str]]] = {}
    found = {}
    for stack in doomed:
        for other in _importers(cloudformation, stack, exports, used):
            back = _importers(cloudformation, other, exports, used)
            if stack in back:
                pair = tuple(sorted((stack, other)))
                found[pair] = _circle(stack, other, used)
    return list(found.values())


def _circle(stack: str, other: str, used: Mapping[str, Mapping[str, Sequence[str]]]) -> ImportCircle:
    """Return a pair; the opener is the owner of a unit, as what the other one adds to a unit cannot exist without it."""
    ours, theirs = used[stack][other], used[other][stack]
    is_owner = any(map(_WHOLE_UNIT.fullmatch, ours))
    owns_other = any(map(_WHOLE_UNIT.fullmatch, theirs))
    if (not is_owner, stack) > (not owns_other, other):
        stack, other, ours, theirs = other, stack, theirs, ours
    return ImportCircle(opener=stack, opens=tuple(sorted(theirs)), other=other, keeps=tuple(sorted(ours)))


def _importers(
    cloudformation: Any, stack: str, exports: Mapping[str, Sequence[str]], used: dict[str, dict[str, list[str]]]
) -> Mapping[str, list[str]]:
    """Return the exports of a stack that other stacks import, by importing stack."""
    if stack not in used:
        used[stack] = {}
        for export in exports.get(stack, ()):
            for importer in _imports(cloudformation, export):
                used[stack].setdefault(importer, []).append(export)
    return used[stack]


def _imports(cloudformation: Any, export: str) -> Iterator[str]:
    try:
        for page in cloudformation.get_paginator("list_imports").paginate(ExportName=export):
            yield from map(str, page["Imports"])
    except ClientError as error:
        if "is not imported by any stack" not in str(error):
            raise


def _name(stack_id: str) -> str:
    """Return the name of a stack: ``arn:...:stack/<name>/<uuid>``."""
    return stack_id.split("/")[1]


def _listed(exports: Sequence[str]) -> str:
    return f"{'export' if len(exports) == 1 else 'exports'} {' and '.join(exports)}"
