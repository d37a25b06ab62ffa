"""Recorded sessions, kept in git: one JSON file a model and hardware."""
