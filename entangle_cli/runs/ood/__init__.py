"""``entangle ood``."""
