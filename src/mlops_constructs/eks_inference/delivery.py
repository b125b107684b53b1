"""Apply the static objects of a service: service account and network policy. Only the Deploy machine changes slots."""

from dataclasses import dataclass

from mlops_constructs._arguments import checked


@checked("InvalidDelivery")
@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """How the manifests of a service that no rollout changes come to the cluster. Use one of the two factories.

    A rollout is not a commit: which slot runs which version, and how many pods, is written by the Deploy machine in every case, by
    server-side apply as field manager ``mlops-constructs``. A GitOps controller that is to own those objects too would take each
    rollout back; keep ``<endpoint>-blue`` and ``<endpoint>-green`` out of what it syncs.

    Example:
        >>> Delivery.git_ops().is_applied
        False
    """

    is_applied: bool

    @classmethod
    def server_side_apply(cls) -> "Delivery":
        """Apply them when the stack is deployed, after a dry run of all; a field with another field manager is an error."""
        return cls(is_applied=True)

    @classmethod
    def git_ops(cls) -> "Delivery":
        """Write them into a file, ``manifests_url``, for the repository that Argo CD or Flux reads; the stack applies nothing."""
        return cls(is_applied=False)
