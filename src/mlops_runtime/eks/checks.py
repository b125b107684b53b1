"""What no schema says: whether manifests fit together and keep the promises of the platform."""

from collections.abc import Sequence

from mlops_runtime.eks.names import Manifest


def problems(manifests: Sequence[Manifest]) -> list[str]:
    """Return everything that is wrong with manifests which are applied together; empty where nothing is."""
    raise NotImplementedError
