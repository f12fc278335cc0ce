"""What a model is, which ones are known, and how one lies on disk."""
