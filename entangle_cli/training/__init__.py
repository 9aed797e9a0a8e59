"""Networks trained here and saved as checkpoints that the rest of the tool can read."""
