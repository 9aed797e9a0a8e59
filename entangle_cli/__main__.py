"""Run as ``python -m entangle_cli``."""

from entangle_cli.app import main

main()
