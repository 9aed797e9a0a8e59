"""The work of the commands as units for an engine: they fill what the commands then read."""
