"""Numbers as people read them in a sentence."""


def percent(share: float) -> str:
    """Return a share in percent: two digits below ten, whole percents above.

    Example:
        >>> percent(0.0123), percent(0.314), percent(0.0)
        ('1.2 %', '31 %', '0 %')
    """
    value = 100 * share
    if value == 0:
        return "0 %"
    if abs(value) < 0.095:
        return f"{value:.1g} %"
    return f"{value:.1f} %" if abs(value) < 9.95 else f"{value:.0f} %"


def number(value: float) -> str:
    """Return a number to three digits, large ones whole.

    Example:
        >>> number(4.0951), number(0.000123), number(12345.6), number(5.0)
        ('4.1', '0.000123', '12,346', '5')
    """
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e15 else f"{value:.3g}"


def change(before: float, after: float) -> str:
    """Return from what to what a number moved, relatively where that says something.

    Example:
        >>> change(4.1, 4.59), change(4.0, 2.0), change(-0.1, 0.4)
        ('rose 12 %, from 4.1 to 4.59', 'fell 50 %, from 4 to 2', 'rose from -0.1 to 0.4')
    """
    verb = "rose" if after > before else "fell"
    relative = f" {percent(abs(after / before - 1))}," if before > 0 and after > 0 else ""
    return f"{verb}{relative} from {number(before)} to {number(after)}"
