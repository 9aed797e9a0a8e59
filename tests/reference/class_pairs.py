"""Entanglement of every two classes: the points of both, one pair after the other, float64."""

import numpy as np

from tests.reference.snnl import all_distances, ceiling, snnl_of_distances
from tests.reference.temperature import minimum


def pair_entanglements(points, labels, temperature=None):
    """{(a, b): snnl / ceiling} of classes with two points or more, a < b."""
    points, labels = np.asarray(points, dtype=np.float64), np.asarray(labels)
    found = {}
    for a in sorted(set(labels.tolist())):
        for b in sorted(set(labels.tolist())):
            chosen = [i for i in range(len(labels)) if labels[i] in (a, b)]
            theirs = labels[chosen]
            if a >= b or min((theirs == a).sum(), (theirs == b).sum()) < 2:
                continue
            distances, top = all_distances(points[chosen]), ceiling(theirs)
            if temperature is None:
                loss = min(minimum(distances, theirs)[0], top)
            else:
                loss = snnl_of_distances(distances, theirs, temperature)
            found[a, b] = loss / top
    return found
