"""Out-of-distribution scores from stored activations; higher = more out of distribution.

    evidence    what is stored of inputs, and what a detector may be fitted on
    interface   what a detector and an entry of the catalogue are
    catalogue   every detector by name: what it looks at and what it needs
    fitting     detectors fitted where they can be, with thresholds; scores of inputs
    state       fitted detectors as plain data, and back

The detectors, by what they look at. Class scores: ``logit_scores``, ``logit_fitted``. The input of
the last linear layer: ``shaping``, ``subspace``, ``directions``, ``boundaries``. One layer:
``distances``, ``gaussian``, ``soft_neighbors``, ``dknn_scores``. All layers: ``dknn_scores``,
``fisher``. Underneath: ``class_scores``, ``probabilities``, ``penultimate``, ``layered``,
``least_squares``.
"""
