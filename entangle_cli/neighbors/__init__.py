"""Distances between points in tiles, and the nearest of them.

    distances    squared Euclidean and cosine distance; the one matrix product underneath
    interface    `Neighbors`, and what every index promises
    opening      `build_index`: exact wherever it is quick enough, by a stated cost model
    exact        all distances, certified: sieve, tiles, search, ranking, coordinates, copies
    approximate  PyNNDescent behind the same interface; recall on a sample
    store        neighbor lists kept on disk

*Conventions*: points are rows, ``(n, d)``; ``squared_euclidean`` is never rooted; cosine distance
is ``1 - similarity``, never squared.
"""
