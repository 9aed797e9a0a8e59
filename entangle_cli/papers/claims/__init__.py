"""One file per claim or per family of figures that share an experiment; each names ``CLAIMS``."""
