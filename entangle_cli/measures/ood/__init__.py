"""Out-of-distribution scores from stored activations; higher = more out of distribution.

evidence    what is stored of inputs, and what a detector may be fitted on
interface   what a detector and an entry of the catalogue are
catalogue   every detector by name: what it looks at and what it needs
"""
