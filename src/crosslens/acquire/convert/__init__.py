"""Models in other formats become bundles: tensors are renamed, joined and turned, nothing is traced."""
