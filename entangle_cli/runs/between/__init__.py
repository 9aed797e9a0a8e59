"""``entangle between``."""
