"""Deep k-nearest neighbors as in arXiv 1803.04765, algorithm 1: loops, whole numbers, one division.

Labels of neighbors come as ``layers[layer][input]``, a list of k labels, -1 where one is missing.
"""


def nonconformity(layers, row, label):
    """How many neighbors, over all layers, do not have the label."""
    return sum(1 for layer in layers for other in layer[row] if other != label)


def calibration(layers, labels, zeros="keep", group=None):
    """(point, score with its true label) of the labeled points, or of those of one class."""
    scores = []
    for row, label in enumerate(labels):
        if label >= 0 and group in (None, label):
            scores.append((row, nonconformity(layers, row, label)))
    kept = [(row, score) for row, score in scores if score != 0]
    # a set of zeros alone is not trimmed
    return kept if zeros == "trim" and kept else scores


def p_value(alpha, scores, kind, uniform):
    """Share of the scores at least as large; nothing supports a label where there are none."""
    at_least = sum(1 for score in scores if score >= alpha)
    above = sum(1 for score in scores if score > alpha)
    if not scores:
        return 0.0
    if kind == "paper":
        return at_least / len(scores)
    if kind == "conformal":
        return (1 + at_least) / (len(scores) + 1)
    return (above + uniform * (1 + at_least - above)) / (len(scores) + 1)


def p_values(layers, row, classes, calibrations, kind="paper", uniform=0.0, left_out=None):
    """p-value of every label; ``calibrations(label)`` are the scores that label is judged by."""
    values = []
    for label in range(classes):
        scores = [score for point, score in calibrations(label) if point != left_out]
        values.append(p_value(nonconformity(layers, row, label), scores, kind, uniform))
    return values


def decide(values, alphas, model=None):
    """(prediction, credibility, confidence): ties by nonconformity, the model, the lowest label."""
    best = max(values)
    tied = [label for label, value in enumerate(values) if value == best]
    fewest = min(alphas[label] for label in tied)
    tied = [label for label in tied if alphas[label] == fewest]
    prediction = model if model in tied else tied[0]
    others = sorted(values)[:-1]
    return prediction, best, 1.0 - (others[-1] if others else 0.0)
