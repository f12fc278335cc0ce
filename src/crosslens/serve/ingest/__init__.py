"""Uploads into a library: received, unpacked, indexed as jobs, and taken up again after a crash."""
