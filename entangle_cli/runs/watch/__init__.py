"""``entangle measure --watch``."""
