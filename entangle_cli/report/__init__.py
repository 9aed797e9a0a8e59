"""Figures from results alone; nothing here computes. Needs the extra ``report``."""
