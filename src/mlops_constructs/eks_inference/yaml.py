"""Manifests as YAML, for GitOps and for a platform team: the same values give the same text."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

# begins with a letter, so that it is no number, and is none of the words that PyYAML itself quotes; y and n are truth to some
_WORD = re.compile(r"[A-Za-z/][A-Za-z0-9_./-]+", re.ASCII)


def render_yaml(manifests: Sequence[Mapping[str, Any]]) -> str:
    r"""Return manifests as one YAML stream, in their order.

    Keys stay in the order of the manifests, nothing is an anchor, and text is quoted unless it is a word: Kubernetes' reader takes
    a hash like ``12e4567`` for a number where PyYAML does not.

    Args:
        manifests: Plain values, as of ``mlops_runtime.eks``.

    Raises:
        yaml.representer.RepresenterError: If a value is no plain one.

    Example:
        >>> print(render_yaml([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "on"}}]), end="")
        ---
        apiVersion: v1
        kind: Namespace
        metadata:
          name: 'on'
    """
    return yaml.dump_all(
        manifests,
        Dumper=_Dumper,
        explicit_start=True,
        sort_keys=False,
        default_flow_style=False,
        width=10_000,
    )


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - PyYAML passes it
        return True

    def represent_text(self, data: str) -> yaml.ScalarNode:
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=None if _WORD.fullmatch(data) else "'")


_Dumper.add_representer(str, _Dumper.represent_text)
