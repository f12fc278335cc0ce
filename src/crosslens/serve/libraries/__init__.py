"""The service's libraries: found by name, opened once, searched, and their items as JSON."""
