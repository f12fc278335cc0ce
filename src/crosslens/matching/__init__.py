"""A model that compares: pictures and texts in, vectors, similarities, probabilities out. No library."""
