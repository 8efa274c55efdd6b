"""Numbers as a person reads them: with a unit, and no more digits than they deserve."""

import math
import re
from decimal import ROUND_HALF_UP, Decimal

# Keys of metrics that are shares of images or codes, which are given in per cent.
SHARE = re.compile(r"leakage/(?!.*(_bits|standard_error|selection))|accuracy|_rate$|^control/")
MOST = 4  # digits after the point


def is_share(key: str) -> bool:
    """Whether a metric is a share."""
    return SHARE.search(key) is not None


def decimals(value: float, interval: tuple[float, float] | None = None) -> int:
    """Digits after the point that a number deserves.

    With an interval, up to the first digit of its half-width. Without, two digits that are not
    zeros, three from 10 on.
    """
    if interval is not None and interval[1] > interval[0]:
        size, digits = (interval[1] - interval[0]) / 2, 1
    elif value == 0 or value == round(value):
        return 0
    else:
        size, digits = abs(value), 3 if abs(value) >= 10 else 2
    return min(MOST, max(0, digits - 1 - math.floor(math.log10(size))))


def per_cent(value: float, digits: int = 1) -> str:
    """A share in per cent; halves are rounded up, as a person would: 0.1135 is 11.4 %."""
    exact = Decimal(repr(float(value))) * 100
    return f"{exact.quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP)} %"


def written(key: str, value: float, interval: tuple[float, float] | None = None) -> tuple[str, str]:
    """A metric's value, and its interval; the latter empty if there is none.

    Shares are given in per cent, without an interval to one decimal.
    """
    if not math.isfinite(value):
        return "not measured", ""
    if is_share(key):
        digits = 1
        if interval is not None and interval[1] > interval[0]:
            digits = decimals(100 * value, (100 * interval[0], 100 * interval[1]))
        ends = [] if interval is None else [per_cent(end, digits)[:-2] for end in interval]
        return per_cent(value, digits), " to ".join(ends)
    digits = decimals(value, interval)
    ends = [] if interval is None else [f"{end:.{digits}f}" for end in interval]
    return f"{value:.{digits}f}", " to ".join(ends)
