"""The measures that need several stored sets, for Python programs; the commands build on them too.

deep_neighbors  which predictions the training data supports (DkNN)
detectors       out-of-distribution scores
evidence        from stored activations to what detectors look at
"""
