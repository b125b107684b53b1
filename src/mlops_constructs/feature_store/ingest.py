"""How a feature store takes batches that arrive as objects."""

from dataclasses import dataclass

from mlops_constructs._errors import ValidationError
from mlops_constructs._validation import check_range

# an idempotency key is remembered at least as long, so that a batch which is still there is never ingested twice
REMEMBERED_DAYS = 90


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureIngest:
    """Batches as Parquet objects ``incoming/<table>/<idempotency key>.parquet`` in a bucket of their own, ingested as they arrive.

    Args:
        maximum_rows: Rows of a batch, at most; a larger one is rejected by name. Default: 1,000,000.
        maximum_mebibytes: MiB of a batch, in the object and decompressed, at most, 1 to 512. Default: 64.
        memory_size: MiB of the function, 1,024 to 10,240. Default: 3,008, the most that a new account allows.
        kept_days: Days that delivered batches and reports of rejected ones are kept, 1 to 90. Default: 30.

    Raises:
        ValidationError: If a number is not possible; with every problem.

    Example:
        >>> FeatureIngest(maximum_rows=200_000).maximum_mebibytes
        64
    """

    maximum_rows: int = 1_000_000
    maximum_mebibytes: int = 64
    memory_size: int = 3008
    kept_days: int = 30

    def __post_init__(self) -> None:
        problems = [
            check_range("maximum_rows", self.maximum_rows, minimum=1, maximum=100_000_000),
            check_range("maximum_mebibytes", self.maximum_mebibytes, minimum=1, maximum=512),
            check_range("memory_size", self.memory_size, minimum=1024, maximum=10240),
            check_range("kept_days", self.kept_days, minimum=1, maximum=REMEMBERED_DAYS),
        ]
        found = [problem for problem in problems if problem is not None]
        if found:
            raise ValidationError("InvalidFeatureIngest", found)
