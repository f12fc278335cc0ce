"""Stage 6, search: query vectors → items and scores. Knows arrays and ids, never models or files."""
