"""One file format of data a module."""
