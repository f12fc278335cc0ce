"""The transformer architecture of both towers, written once; `Ops` maps it to a runtime.

A vision transformer and a text transformer as OpenAI, OpenCLIP, SigLIP, BERT and XLM-RoBERTa build them.
Facts that weights do not tell are in `NetworkSpec`; what is marked "?" is there when its weights are:

    image.patch (w, 3, p, p)   image.class_token? (w,)   image.positions (tokens, w)
    text.tokens (vocabulary, w)                          text.positions (length, w)
    T.first_norm?              T.blocks.I.{attention_norm, mlp_norm}            T = image or text
    T.blocks.I.attention.{in (3w, w), out (w, w)}   T.blocks.I.mlp.{in (h, w), out (w, h)}
    T.final_norm?   T.projection? (d, w), or T.projection.{in, out} with a GELU between them
    image.pool.{query (w,), key_value (2w, w), out (w, w), norm, mlp.in, mlp.out}   for pool "attention"

Each name but tokens, positions, class_token and query stands for NAME.weight and, where there is one,
NAME.bias.
"""

from __future__ import annotations

from typing import Protocol, TypeVar

from crosslens.models.spec import Activation, NetworkSpec

T = TypeVar("T")


class Ops(Protocol[T]):
    """What a runtime must offer. T: its tensors. States are (n, t, w); names are those of weights."""

    def has(self, name: str) -> bool:
        """Whether there is such a weight."""
        ...

    def patches(self, pixels: T, name: str) -> T:
        """Pixels (n, 3, s, s) cut into patches, each mapped to a state."""
        ...

    def look_up(self, ids: T, name: str) -> T:
        """Ids (n, t) → the rows of a table."""
        ...

    def prepend(self, states: T, name: str) -> T:
        """One learned state (w,) before all others."""
        ...

    def place(self, states: T, name: str) -> T:
        """Add the first t rows of a table."""
        ...

    def add(self, one: T, other: T) -> T:
        """The sum."""
        ...

    def linear(self, states: T, name: str) -> T:
        """States · weightᵀ + bias; the bias may be missing."""
        ...

    def norm(self, states: T, name: str, epsilon: float) -> T:
        """Layer norm over the last axis."""
        ...

    def activate(self, states: T, kind: Activation) -> T:
        """The activation function, number by number."""
        ...

    def split(self, states: T, parts: int) -> list[T]:
        """The last axis cut into equal parts."""
        ...

    def attend(self, query: T, key: T, value: T, heads: int, *, causal: bool, seen: T | None) -> T:
        """Scaled dot-product attention. seen: (n, t) of the keys, None for all."""
        ...

    def learned(self, name: str, like: T) -> T:
        """A weight (w,) as one state for each row of `like`: (n, 1, w)."""
        ...

    def differs(self, ids: T, number: int) -> T:
        """Which ids are not this number: (n, t)."""
        ...

    def row(self, states: T, index: int) -> T:
        """(n, w): the state at a place, -1 for the last."""
        ...

    def row_of(self, states: T, ids: T, number: int) -> T:
        """(n, w): the state where ids first hold this number."""
        ...

    def mean(self, states: T, seen: T | None) -> T:
        """(n, w): the mean of the states that are seen."""
        ...


def image_tower(ops: Ops[T], spec: NetworkSpec, pixels: T) -> T:
    """Normalised pixels float32 (n, 3, s, s) → raw vectors (n, d)."""
    states = ops.patches(pixels, "image.patch")
    if ops.has("image.class_token"):
        states = ops.prepend(states, "image.class_token")
    states = _encode(ops, "image", spec, ops.place(states, "image.positions"), None)
    return _project(ops, "image", _pool(ops, "image", spec, states, None, None))


def text_tower(ops: Ops[T], spec: NetworkSpec, ids: T, pad_id: int) -> T:
    """Ids int64 (n, t) → raw vectors (n, d)."""
    seen = ops.differs(ids, pad_id) if spec.masked else None
    states = ops.place(ops.look_up(ids, "text.tokens"), "text.positions")
    states = _encode(ops, "text", spec, states, seen)
    return _project(ops, "text", _pool(ops, "text", spec, states, ids, seen))


def _encode(ops: Ops[T], tower: str, spec: NetworkSpec, states: T, seen: T | None) -> T:
    """All blocks."""
    if ops.has(f"{tower}.first_norm.weight"):
        states = ops.norm(states, f"{tower}.first_norm", spec.epsilon)
    number = 0
    while ops.has(f"{tower}.blocks.{number}.mlp.in.weight"):
        states = _block(ops, f"{tower}.blocks.{number}", spec, states, seen)
        number += 1
    return states


def _block(ops: Ops[T], name: str, spec: NetworkSpec, states: T, seen: T | None) -> T:
    def norm(states: T, half: str) -> T:
        return ops.norm(states, f"{name}.{half}_norm", spec.epsilon)

    def attention(states: T) -> T:
        query, key, value = ops.split(ops.linear(states, f"{name}.attention.in"), 3)
        states = ops.attend(query, key, value, spec.heads, causal=spec.causal, seen=seen)
        return ops.linear(states, f"{name}.attention.out")

    if spec.norm == "before":
        states = ops.add(states, attention(norm(states, "attention")))
        return ops.add(states, _mlp(ops, f"{name}.mlp", spec, norm(states, "mlp")))
    states = norm(ops.add(states, attention(states)), "attention")
    return norm(ops.add(states, _mlp(ops, f"{name}.mlp", spec, states)), "mlp")


def _mlp(ops: Ops[T], name: str, spec: NetworkSpec, states: T) -> T:
    return ops.linear(ops.activate(ops.linear(states, f"{name}.in"), spec.activation), f"{name}.out")


def _pool(ops: Ops[T], tower: str, spec: NetworkSpec, states: T, ids: T | None, seen: T | None) -> T:
    """One state for each row: (n, w), normed at the end where the network does."""

    def final(states: T) -> T:
        has_norm = ops.has(f"{tower}.final_norm.weight")
        return ops.norm(states, f"{tower}.final_norm", spec.epsilon) if has_norm else states

    if spec.pool == "mean":
        return ops.mean(final(states), seen)
    if spec.pool == "attention":
        return _attention_pool(ops, f"{tower}.pool", spec, final(states))
    # A norm goes state by state, so that of one state is enough.
    if spec.pool == "end" and ids is not None and spec.end_id is not None:
        return final(ops.row_of(states, ids, spec.end_id))
    return final(ops.row(states, 0 if spec.pool == "first" else -1))


def _attention_pool(ops: Ops[T], name: str, spec: NetworkSpec, states: T) -> T:
    """SigLIP's: a learned query attends to all states."""
    key, value = ops.split(ops.linear(states, f"{name}.key_value"), 2)
    query = ops.learned(f"{name}.query", states)
    pooled = ops.attend(query, key, value, spec.heads, causal=False, seen=None)
    pooled = ops.row(ops.linear(pooled, f"{name}.out"), 0)
    return ops.add(pooled, _mlp(ops, f"{name}.mlp", spec, ops.norm(pooled, f"{name}.norm", spec.epsilon)))


def _project(ops: Ops[T], tower: str, pooled: T) -> T:
    name = f"{tower}.projection"
    if ops.has(f"{name}.in.weight"):
        return ops.linear(ops.activate(ops.linear(pooled, f"{name}.in"), "gelu"), f"{name}.out")
    return ops.linear(pooled, name) if ops.has(f"{name}.weight") else pooled
