"""What people and programs see in a terminal: text, JSON, progress bars. Computes nothing."""
