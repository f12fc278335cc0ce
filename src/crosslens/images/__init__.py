"""Image files and folders in, upright RGB pixels and their metadata out. Knows no model and no library."""
