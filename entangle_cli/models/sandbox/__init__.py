"""Models opened and run in a process that can do nothing else."""
