"""Mixed precision: bfloat16 where a device computes in it, float32 elsewhere."""

from __future__ import annotations

import torch


def autocast(device: torch.device) -> torch.autocast:
    """A context in which matrix products and convolutions take bfloat16: on CUDA, and on CPUs that have it.

    A CPU that only imitates bfloat16 takes seven times as long with it as with float32.
    """
    has_bf16 = device.type == "cuda" or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return torch.autocast(device.type, torch.bfloat16, enabled=has_bf16)
