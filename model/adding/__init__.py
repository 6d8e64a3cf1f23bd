"""Checks anyone's SavedModel and makes a version of it; runs on a developer's machine and is never deployed."""
