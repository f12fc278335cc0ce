"""Contrastive losses. Vectors are float32 (n, d) of unit length; every loss is a mean, in nats."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from crosslens.train.recipe import Loss


def targets(same: Tensor, similarity: Tensor | None, weight: float, temperature: float) -> Tensor:
    """What the softmax over a batch should say: rows and columns (n, n), each row summing to 1.

    same: bool (n, n), pairs that match: the same picture, or equal captions. similarity: cosines (n, n) of
    the captions, or None. weight: in [0, 1), of what follows the similarity.
    """
    positive = same.float()
    hard = positive / positive.sum(dim=1, keepdim=True)
    if similarity is None or not weight:
        return hard
    return (1 - weight) * hard + weight * torch.softmax(similarity / temperature, dim=1)


def softmax_loss(logits: Tensor, wanted: Tensor) -> Tensor:
    """CLIP's loss with soft targets, the mean of both directions. logits, wanted: (pictures, texts)."""
    return (cross_entropy(logits, wanted) + cross_entropy(logits.T, _rows(wanted.T))) / 2


def sigmoid_loss(logits: Tensor, same: Tensor) -> Tensor:
    """SigLIP's loss: every pair of the batch is a match or none; the sum over texts, the mean over pictures.

    Source: Zhai, Mustafa, Kolesnikov, Beyer, ICCV 2023, algorithm 1.
    """
    signs = 2 * same.float() - 1
    return -functional.logsigmoid(signs * logits).sum(dim=1).mean()


def contrastive_loss(
    kind: Loss, images: Tensor, texts: Tensor, scale: Tensor, bias: Tensor, same: Tensor, wanted: Tensor
) -> Tensor:
    """The loss of a batch of pairs. scale, bias: scalars. same, wanted: see `targets`."""
    logits = scale * images @ texts.T
    return sigmoid_loss(logits + bias, same) if kind == "sigmoid" else softmax_loss(logits, wanted)


def similarity_distillation(logits: Tensor, teacher: Tensor) -> Tensor:
    """How far a batch's similarities are from a teacher's: KL(teacher ‖ model) of their softmax, both ways.

    logits, teacher: (pictures, texts), cosines times the scale of each. The mean over rows and of both
    directions. Source: Yang et al., CLIP-KD, CVPR 2024, where it is contrastive relational distillation.
    """
    return (_divergence(logits, teacher) + _divergence(logits.T, teacher.T)) / 2


def _divergence(logits: Tensor, teacher: Tensor) -> Tensor:
    theirs = torch.log_softmax(teacher, dim=1)
    return functional.kl_div(torch.log_softmax(logits, dim=1), theirs, reduction="batchmean", log_target=True)


def feature_distillation(vectors: Tensor, teacher: Tensor) -> Tensor:
    """Mean of 1 − cosine between vectors (n, d) and a teacher's (n, d), in [0, 2]."""
    return (1 - functional.cosine_similarity(vectors, teacher, dim=1)).mean()


def cross_entropy(logits: Tensor, wanted: Tensor, weights: Tensor | None = None) -> Tensor:
    """−Σ wanted · log softmax(logits) by row; the mean over rows, weighted.

    Rows without a target count nothing.
    """
    rows = -(wanted * torch.log_softmax(logits, dim=1)).sum(dim=1)
    weights = wanted.sum(dim=1) if weights is None else weights
    return (rows * weights).sum() / weights.sum().clamp(min=1e-6)


def label_loss(logits: Tensor, wanted: Tensor, fresh: Tensor) -> Tensor:
    """Pictures against label texts, both directions.

    logits: (n, labels). wanted: (n, labels), how far each label is true of each picture, in [0, 1].
    fresh: bool (labels,), those whose vectors carry gradients; only they are asked which pictures they fit.
    """
    by_picture = cross_entropy(logits, _rows(wanted), wanted.sum(dim=1).clamp(max=1))
    columns = wanted.T[fresh]
    by_label = cross_entropy(logits.T[fresh], _rows(columns), columns.sum(dim=1).clamp(max=1))
    return (by_picture + by_label) / 2


def _rows(values: Tensor) -> Tensor:
    """Each row divided by its sum; a row of zeros stays so."""
    return values / values.sum(dim=1, keepdim=True).clamp(min=1e-6)
