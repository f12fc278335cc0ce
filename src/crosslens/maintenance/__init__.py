"""Keeping a library: integrity, backup, export and import, duplicates, tags, migration to another model."""
