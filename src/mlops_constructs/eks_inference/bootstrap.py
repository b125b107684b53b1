"""Who makes a unit's place on a cluster: a function that is administrator while it works, or the platform team from a file."""

from dataclasses import dataclass

from mlops_constructs._arguments import checked


@checked("InvalidBootstrap")
@dataclass(frozen=True, slots=True, kw_only=True)
class Bootstrap:
    """How namespace, quota, roles and the enforcement of network policies come to a cluster. Use one of the two factories.

    Example:
        >>> Bootstrap.yaml().is_function
        False
    """

    is_function: bool

    @classmethod
    def function(cls) -> "Bootstrap":
        """Let a function of the unit make them: it gives itself an access entry of an administrator, and removes it in every case.

        Both ends are recorded in the unit's audit bucket, below ``access/``.
        """
        return cls(is_function=True)

    @classmethod
    def yaml(cls) -> "Bootstrap":
        """Write them into a file that the platform team applies; the unit's functions never get more than its namespace."""
        return cls(is_function=False)
