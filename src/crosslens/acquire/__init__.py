"""Models in: downloaded, converted, quantised and certified. A repository or checkpoint in, a bundle out."""
