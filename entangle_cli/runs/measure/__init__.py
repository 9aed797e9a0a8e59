"""``entangle measure``."""
