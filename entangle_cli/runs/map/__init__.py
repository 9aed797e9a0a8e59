"""``entangle map``."""
