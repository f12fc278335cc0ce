"""One module for each command: options in, calls of the library, output out."""
