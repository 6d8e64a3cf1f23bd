"""Stores in SQL databases, through SQLAlchemy Core. The only door to SQL."""
