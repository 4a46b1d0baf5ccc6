"""How pages, cards and messages write figures."""


def percent(value: float | None) -> str:
    """A share in per cent with one decimal, or a dash."""
    return "–" if value is None else f"{100 * value:.1f} %"


def number(value: float | None) -> str:
    """A figure with three significant digits, or a dash."""
    return "–" if value is None else f"{value:.3g}"
