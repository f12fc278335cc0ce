"""Indexes pictures and texts once, and searches them: composes images, texts, matching, store and search."""
