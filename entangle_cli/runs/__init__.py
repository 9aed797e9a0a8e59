"""What the commands do, from the names on a command line to results."""
