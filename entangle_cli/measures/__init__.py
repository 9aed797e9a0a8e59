"""Numbers from points ``(n, d)`` and labels ``(n,)``; no files, no models, no printing.

    snnl          soft nearest neighbor loss at a temperature
    temperature   its minimum over temperature, with ceiling, entanglement and 1-NN accuracy
    batches       the mean over stratified batches, the protocol of the papers
    two_sample    the same for two sets: can they be told apart
    dknn          deep k-nearest neighbors; conformal, evaluation, reliability, exemplars
    detection     how well scores tell two sets apart; bootstrap
    ood           out-of-distribution scores, a folder of its own

Underneath, for the loss: ``points`` and ``survey`` (checks, centering, class order), ``scales``
(the median distance), ``pairs`` (distances of a class-ordered set in tiles), ``nearest`` (the
nearest same-class and other-class distance of every point), ``sums`` (weighted sums over all
pairs), ``stored`` and ``streamed`` (the loss over temperature, with all distances kept or computed
anew), ``glance`` (what one pass tells of both), ``losses`` (from sums to the loss), ``visits``
and ``workers`` (tiles in groups, by several threads or elsewhere, in a fixed order), ``limits``
(temperature to 0 and to infinity), ``scan`` (basins and the way down), ``minimum``.
"""
