"""Concepts taught by a few examples: linear heads on the vectors that a library has stored. No tower runs."""
