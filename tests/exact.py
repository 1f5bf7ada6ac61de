"""The tail of a negative binomial distribution, as a sum of as many digits as it takes."""

from decimal import Decimal, localcontext


def digits(count: int) -> int:
    """Enough for what is left of 1: at a mean of FLOOR each post more takes one."""
    return 60 + int(1.1 * count)


def exact(count: int, mean: float) -> Decimal:
    """One less the probability of each lower count, each worked out from the one before."""
    with localcontext(prec=digits(count)):
        mu = Decimal(mean)
        shape = Decimal(min(max(mean / 3, 0.5), 8.0))
        success = mu / (mu + shape)
        part = (shape * (1 - success).ln()).exp()
        left = Decimal(1)
        for at in range(count):
            left -= part
            part *= success * (at + shape) / (at + 1)
        return left
