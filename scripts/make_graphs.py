"""Make tests/golden/graphs: a small bundle of two ONNX graphs with random weights, for tests.

The weights are the same each time. Needs onnx, tokenizers and numpy:

    python scripts/make_graphs.py
"""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper, save
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

OUT = Path(__file__).parent.parent / "tests/golden/graphs"
SIZE, CONTEXT, DIMENSION = 96, 24, 256
PATCH, CHANNELS, WIDTH = 8, 16, 32
PAD, UNKNOWN, START, END = "<pad>", "<unk>", "<s>", "</s>"
WORDS = [
    *("a", "and", "the", "on", "red", "blue", "green", "black", "white"),
    *("dog", "cat", "car", "sea", "beach"),
]
VOCABULARY = {word: number for number, word in enumerate([PAD, UNKNOWN, START, END, *WORDS])}
RANDOM = np.random.default_rng(0)


def weights(*shape: int) -> np.ndarray:
    """Normal numbers that keep the size of what they are multiplied by."""
    fan_in = int(np.prod(shape[1:])) if len(shape) == 4 else shape[0]
    return (RANDOM.standard_normal(shape) / np.sqrt(fan_in)).astype(np.float32)


def write(name: str, nodes: list, tensors: dict[str, np.ndarray], kind: int, shape: list[int]) -> None:
    """A graph whose input is that of the first node and whose output is that of the last."""
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info(nodes[0].input[0], kind, ["batch", *shape])],
        [helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, ["batch", DIMENSION])],
        [numpy_helper.from_array(value, key) for key, value in tensors.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(model, full_check=True)
    save(model, OUT / f"{name}.onnx")


def image_graph() -> None:
    """A convolution over patches, the mean over them, and a linear layer."""
    node = helper.make_node
    nodes = [
        node("Conv", ["pixel_values", "patch"], ["patches"], strides=[PATCH, PATCH]),
        node("Tanh", ["patches"], ["states"]),
        node("ReduceMean", ["states"], ["pooled"], axes=[2, 3], keepdims=0),
        node("MatMul", ["pooled", "projection"], ["image_embeds"]),
    ]
    tensors = {"patch": weights(CHANNELS, 3, PATCH, PATCH), "projection": weights(CHANNELS, DIMENSION)}
    write("image", nodes, tensors, TensorProto.FLOAT, [3, SIZE, SIZE])


def text_graph() -> None:
    """A row of a table for each token, the mean of those that are not padding, and a linear layer."""
    node = helper.make_node
    nodes = [
        node("Equal", ["input_ids", "pad"], ["padding"]),
        node("Not", ["padding"], ["kept"]),
        node("Cast", ["kept"], ["mask"], to=TensorProto.FLOAT),
        node("Unsqueeze", ["mask", "last"], ["column"]),
        node("Gather", ["table", "input_ids"], ["tokens"]),
        node("Mul", ["tokens", "column"], ["masked"]),
        node("ReduceSum", ["masked", "places"], ["sum"], keepdims=0),
        node("ReduceSum", ["column", "places"], ["count"], keepdims=0),
        node("Div", ["sum", "count"], ["pooled"]),
        node("MatMul", ["pooled", "projection"], ["text_embeds"]),
    ]
    tensors = {
        "pad": np.array(VOCABULARY[PAD], np.int64),
        "last": np.array([2], np.int64),
        "places": np.array([1], np.int64),
        "table": RANDOM.standard_normal((len(VOCABULARY), WIDTH)).astype(np.float32),
        "projection": weights(WIDTH, DIMENSION),
    }
    write("text", nodes, tensors, TensorProto.INT64, [CONTEXT])


def tokenizer() -> None:
    """Lower-cased words between a start and an end token, cut and padded to the context."""
    made = Tokenizer(models.WordLevel(VOCABULARY, unk_token=UNKNOWN))
    made.add_special_tokens(list(VOCABULARY)[:4])
    ends = normalizers.Replace(Regex(r"[\s.!?]+$"), "")
    made.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase(), ends])
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {END}", special_tokens=[(word, VOCABULARY[word]) for word in (START, END)]
    )
    made.enable_truncation(CONTEXT)
    made.enable_padding(pad_id=VOCABULARY[PAD], pad_token=PAD, length=CONTEXT)
    made.save(str(OUT / "tokenizer.json"))


def config() -> None:
    files = ("image.onnx", "text.onnx", "tokenizer.json")
    facts = {
        "format": "two-tower-bundle",
        "name": "graphs",
        "version": 0,
        "embedding_dim": DIMENSION,
        "logit_scale": 20.0,
        "image": {
            "file": "image.onnx", "input": "pixel_values", "output": "image_embeds", "size": SIZE,
            "resize": "shortest_edge", "interpolation": "bicubic", "crop": "center",
            "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225],
        },
        "text": {
            "file": "text.onnx", "input": "input_ids", "output": "text_embeds",
            "tokenizer": "tokenizer.json", "context_length": CONTEXT, "pad_id": VOCABULARY[PAD],
        },
        "scripts": ["LATIN"],
        "license": "random weights, for tests",
        "match": {"a": 8.0, "b": -3.0, "fitted_on": "nothing, for tests", "calibrated": True},
        "sha256": {name: hashlib.sha256((OUT / name).read_bytes()).hexdigest() for name in files},
    }  # fmt: skip
    (OUT / "config.json").write_text(json.dumps(facts, indent=1) + "\n")


def main() -> int:
    OUT.mkdir(parents=True, exist_ok=True)
    image_graph()
    text_graph()
    tokenizer()
    config()
    return 0


if __name__ == "__main__":
    sys.exit(main())
