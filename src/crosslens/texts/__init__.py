"""Tables and texts in, rows and token ids out. Knows no network and no library."""
