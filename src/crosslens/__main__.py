"""`python -m crosslens` is the `crosslens` command."""

from crosslens.cli import run

run()
