"""Precision recipes by backend family, and the content-addressed cache of what they build."""
