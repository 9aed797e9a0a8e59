"""``entangle dknn``."""
