"""The HTTP service: requests → the matcher and libraries → answers. docs/http.md is its contract."""
