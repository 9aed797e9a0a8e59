"""Distances between points in tiles, and the nearest of them.

    distances    squared Euclidean and cosine distance; the one matrix product underneath
    interface    `Neighbors`, and what every index promises
    opening      `build_index`: exact wherever it is quick enough, by a stated cost model
    products     that product: oneDNN where it is the quicker one, the same choice every time
    exact        all distances, certified: sieve, tiles, search, ranking, coordinates, copies
    certified    codes of 8 bits that leave few candidates, where a pilot says so: codes, coarse,
                 rooms; the same answers
    approximate  PyNNDescent behind the same interface; projection of wide points, recall on a
                 sample
    store        neighbor lists kept on disk

*Conventions*: points are rows, ``(n, d)``; ``squared_euclidean`` is never rooted; cosine distance
is ``1 - similarity``, never squared.
"""
