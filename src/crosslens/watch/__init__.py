"""Keeps a library up to date with folders while others search it: file events in, indexing runs out."""
