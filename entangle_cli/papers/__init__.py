"""What the paper claims, measured anew: one file per claim in ``claims``.

claim       what a claim is, what it is given and what it returns
verdicts    the rules by which a measured number is held against a printed one
catalogue   every claim by name
shelf       the data sets below one folder
networks    networks that claims share, trained once and resumed
alone       one process at a time on what they share
keeping     the files of a finished claim, and whether they still hold
page        all finished claims as one page

Reference: Frosst, Papernot, Hinton, arXiv 1902.01889 (ICML 2019).
"""
