"""Stage 5, store: a library on disk. SQLite is the only truth; everything else is derived from it."""
