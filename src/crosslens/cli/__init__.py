"""Stage 7, present, for a terminal: parse (the commands), call (what they do), render (what is shown)."""

from crosslens.cli.app import main, run

__all__ = ["main", "run"]
