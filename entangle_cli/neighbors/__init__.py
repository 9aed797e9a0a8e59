"""Distances between points, in tiles that fit the cache, and later the neighbors found with them.

    distances   squared Euclidean and cosine distance; the one matrix product underneath

*Conventions*: points are rows, ``(n, d)``; ``squared_euclidean`` is never rooted; cosine distance
is ``1 - similarity``, never squared.
"""
