"""How well scores separate two sets, by loops over all pairs and all thresholds.

Higher = more out of distribution. Fractions throughout, so that nothing is rounded before the end.
"""

from fractions import Fraction


def auroc(inside, outside):
    """How often an outside score beats an inside one; a tie counts half."""
    won = Fraction(0)
    for low in inside:
        for high in outside:
            won += 1 if high > low else Fraction(1, 2) if high == low else 0
    return won / (len(inside) * len(outside))


def share(scores, accepted):
    return Fraction(sum(1 for score in scores if accepted(score)), len(scores))


def average_precision(positive, negative):
    """Thresholds from the strictest on; positives score high."""
    total, recall = Fraction(0), Fraction(0)
    for limit in sorted({*positive, *negative}, reverse=True):
        hits = sum(1 for score in positive if score >= limit)
        alarms = sum(1 for score in negative if score >= limit)
        added = Fraction(hits, len(positive)) - recall
        total += added * Fraction(hits, hits + alarms)
        recall += added
    return total


def fpr95(positive, negative):
    """Share of negatives let through by the strictest threshold that keeps 95 % of positives."""
    for limit in sorted(set(positive), reverse=True):
        if share(positive, lambda s: s >= limit) >= Fraction(95, 100):  # noqa: B023
            return share(negative, lambda s: s >= limit)  # noqa: B023
    raise AssertionError("the lowest positive keeps all")


def best_accuracy(inside, outside):
    """Mean of both rates; above the limit, and from the limit on, is called outside."""
    best = Fraction(1, 2)
    for limit in {*inside, *outside}:
        above = share(inside, lambda s: s <= limit) + share(outside, lambda s: s > limit)  # noqa: B023
        reached = share(inside, lambda s: s < limit) + share(outside, lambda s: s >= limit)  # noqa: B023
        best = max(best, above / 2, reached / 2)
    return best


def detection(inside, outside):
    negated_inside, negated_outside = [-s for s in inside], [-s for s in outside]
    return {
        "auroc": auroc(inside, outside),
        "aupr_in": average_precision(negated_inside, negated_outside),
        "aupr_out": average_precision(outside, inside),
        "fpr95_in": fpr95(negated_inside, negated_outside),
        "fpr95_out": fpr95(outside, inside),
        "dtacc": best_accuracy(inside, outside),
    }
