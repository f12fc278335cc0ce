"""torchvision, which transformers, peft and OpenCLIP import, beside a PyTorch it was not built for."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec

import torch

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_declared: list[torch.library.Library] = []  # a library's operators live as long as it does


def load_torchvision() -> None:
    """Import it, if it is installed.

    Package indexes offer torchvision for CUDA alone. Beside PyTorch for the CPU its operators are missing and
    its import fails, though nothing here calls them: they are declared, and it is imported once more.
    """
    if find_spec("torchvision") is None:
        return
    try:
        import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "FRAGMENT")
        for schema in _SCHEMAS:
            if not hasattr(torch.ops.torchvision, schema.partition("(")[0]):
                library.define(schema)
        _declared.append(library)
        import_module("torchvision")
