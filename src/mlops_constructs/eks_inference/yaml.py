"""Manifests as YAML, for GitOps and for a platform team: the same values give the same text."""

from collections.abc import Mapping, Sequence
from typing import Any

import yaml


def render_yaml(manifests: Sequence[Mapping[str, Any]]) -> str:
    r"""Return manifests as one YAML stream, in their order.

    Keys stay in the order of the manifests, nothing is an anchor, and whatever a reader of YAML 1.1 would take for something else
    than text is quoted.

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
        allow_unicode=True,
        width=10_000,
    )


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True
