"""Arguments of SageMaker's jobs, which are short."""

# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_AppSpecification.html: an argument has at most 256 characters
MAXIMUM_ARGUMENT = 256


def split_argument(text: str) -> list[str]:
    """Cut a long argument into pieces that SageMaker takes; the job joins them.

    No piece starts with a dash, which an argument parser would take for an option.

    Example:
        >>> split_argument("a" * 255 + "-b")
        ['aaaa...
    """
    pieces = []
    while text:
        size = min(MAXIMUM_ARGUMENT, len(text))
        while 1 < size < len(text) and text[size] == "-":
            size -= 1
        pieces.append(text[:size])
        text = text[size:]
    return pieces
