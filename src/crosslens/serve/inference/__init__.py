"""The model for many callers at once: requests' pictures and texts in, vectors out, in shared batches."""
