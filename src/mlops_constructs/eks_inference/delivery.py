"""Delivery of a service's static objects: service account and network policy. Only the Deploy machine changes slots."""

from dataclasses import dataclass

from mlops_constructs._arguments import checked


@checked("InvalidDelivery")
@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """Delivery of a service's static manifests, which no rollout changes, to the cluster. Use one of the two factories.

    In every case, the Deploy machine writes the version and number of pods of each slot, by server-side apply as field manager
    ``mlops-constructs``: a rollout is not a commit. A GitOps controller that owns those objects too would revert each rollout;
    exclude ``<endpoint>-blue`` and ``<endpoint>-green`` from what it syncs.

    Example:
        >>> Delivery.git_ops().is_applied
        False
    """

    is_applied: bool

    @classmethod
    def server_side_apply(cls) -> "Delivery":
        """Apply them when the stack is deployed, after a dry run of all; a field that another field manager owns is an error."""
        return cls(is_applied=True)

    @classmethod
    def git_ops(cls) -> "Delivery":
        """Write them to a file, ``manifests_url``, for the repository that Argo CD or Flux reads; the stack applies nothing."""
        return cls(is_applied=False)
