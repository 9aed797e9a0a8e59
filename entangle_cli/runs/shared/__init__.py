"""What several commands share: sources, preparation, searching, tables, the terminal."""
