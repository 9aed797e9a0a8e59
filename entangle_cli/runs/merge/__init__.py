"""Shards of a run, made by jobs that know nothing of each other, and what they make up."""
