"""Models that have a name instead of a file: built offline, or found in installed packages."""
