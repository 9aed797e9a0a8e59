"""Numbers from points ``(n, d)`` and labels ``(n,)``; no files, no models, no printing.

    snnl          soft nearest neighbor loss at a temperature
    temperature   its minimum over temperature, with ceiling, entanglement and 1-NN accuracy
    batches       the mean over stratified batches, the protocol of the papers

Underneath, for the loss: ``points`` and ``survey`` (checks, centering, class order), ``scales``
(the median distance), ``pairs`` (distances of a class-ordered set in tiles), ``nearest`` (the
nearest same-class and other-class distance of every point), ``sums`` (weighted sums over all
pairs), ``stored`` and ``streamed`` (the loss over temperature, with all distances kept or computed
anew), ``limits`` (temperature to 0 and to infinity), ``scan`` (basins and the way down),
``minimum``.
"""
