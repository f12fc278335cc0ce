"""The neural networks behind one seam: a batch in, raw vectors out."""
