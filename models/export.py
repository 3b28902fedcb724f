"""Builds the graphs that are shipped: static int8 for the CPU, fp16 for the GPU.

The encoder's graph is written node by node rather than traced: one projection for query, key and value with the
attention's scale folded in, plain layer normalisation, embeddings quantised by row. Activations have fixed ranges,
measured on some hundred training texts, so that a text's result does not depend on its batch.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer

from models.quantize import Array, Range, by_column, by_row, least_error, least_product_error
from models.reading import ends_of
from models.session import feeds, open_session

MS = "com.microsoft"
MAX_TOKENS = 128
CALIBRATION_TEXTS = 400
MENTION = ("mention_sentiment", "mention_risk")
"""The heads whose answers every token has."""


class Graph:
    """A small builder of ONNX graphs."""

    def __init__(self, prefix: str = "") -> None:
        self._prefix = prefix
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self._count = 0

    def constant(self, value: Any) -> str:
        self._count += 1
        name = f"{self._prefix}c{self._count}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(self, kind: str, inputs: Sequence[str], outputs: int = 1, *, domain: str = "", **attributes: Any) -> Any:
        self._count += 1
        names = [f"{self._prefix}t{self._count}_{number}" for number in range(outputs)]
        self.nodes.append(
            helper.make_node(
                kind, inputs, names, name=f"{self._prefix}{kind}_{self._count}", domain=domain, **attributes
            )
        )
        return names[0] if outputs == 1 else names


class Encoder:
    """Writes a BERT encoder with mean pooling and its heads (``models.network`` says what each reads).

    ``kind``: "fp32", "fp16", or "int8", which needs ``ranges`` (linear layer to Range). ``watch`` makes every linear
    layer's input an output of the graph, to measure its range.
    """

    def __init__(
        self,
        weights: Mapping[str, Array],
        config: Mapping[str, Any],
        *,
        kind: str,
        ranges: Mapping[str, Range] | None = None,
        bits: int = 8,
        watch: bool = False,
    ) -> None:
        self._weights = {name.removeprefix("encoder."): value for name, value in weights.items()}
        self._config = config
        self._kind = kind
        self._ranges = ranges or {}
        self._bits = bits
        self._watch = watch
        self._graph = Graph()
        self.watched: dict[str, tuple[str, Array]] = {}
        """Linear layers: their input in the graph, and their weights, [outputs, inputs]."""
        self._float = np.float16 if kind == "fp16" else np.float32

    def build(self) -> Any:
        graph, hidden = self._graph, int(self._config["hidden_size"])
        heads = int(self._config["num_attention_heads"])
        mask = graph.node("Cast", ["attention_mask"], to=self._type())
        x = self._norm(self._embed(), "embeddings.LayerNorm")
        bias, states = self._bias(mask), [x]
        for number in range(int(self._config["num_hidden_layers"])):
            x = self._layer(x, bias, f"layer.{number}.", heads, hidden // heads)
            states.append(x)
        pooled = self._pool(x, mask)
        both = graph.node("Concat", [pooled, self._pool(states[len(states) // 2], mask)], axis=1)
        outputs = [
            self._output(self._gemm(pooled, "sentiment"), "sentiment", self._size("sentiment")),
            self._output(self._gemm(pooled, "topic"), "topic", self._size("topic")),
            self._output(self._gemm(pooled, "risk"), "risk", self._size("risk")),
            self._output(self._unit(self._gemm(both, "story")), "story", self._size("story")),
            self._output(self._tokens(x), "tokens", "tokens", self._size(*MENTION)),
        ]
        if self._watch:
            outputs += [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n, _ in self.watched.values()]
        inputs = [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "tokens"])
            for name in ("input_ids", "attention_mask")
        ]
        whole = helper.make_graph(graph.nodes, "classifier", inputs, outputs, graph.constants)
        return helper.make_model(
            whole, opset_imports=[helper.make_opsetid("", 18), helper.make_opsetid(MS, 1)], ir_version=9
        )

    def _size(self, *heads: str) -> int:
        return sum(len(self._weights[f"{head}.bias"]) for head in heads)

    def _type(self) -> int:
        return int(TensorProto.FLOAT16 if self._kind == "fp16" else TensorProto.FLOAT)

    def _constant(self, value: Any) -> str:
        return self._graph.constant(np.asarray(value).astype(self._float))

    def _embed(self) -> str:
        graph = self._graph
        table = self._weights["embeddings.word_embeddings.weight"]
        if self._kind == "int8":
            packed = by_row(table)
            rows = graph.node("Gather", [graph.constant(packed.values), "input_ids"])
            scales = graph.node("Gather", [graph.constant(packed.scales[:, None]), "input_ids"])
            words = graph.node("Mul", [graph.node("Cast", [rows], to=TensorProto.FLOAT), scales])
        else:
            words = graph.node("Gather", [self._constant(table), "input_ids"])
        places = self._weights["embeddings.position_embeddings.weight"]
        places = places + self._weights["embeddings.token_type_embeddings.weight"][0]
        width = graph.node("Shape", ["input_ids"], start=1, end=2)
        zero = graph.constant(np.array([0], np.int64))
        position = graph.node("Slice", [self._constant(places), zero, width, zero])
        return str(graph.node("Add", [words, position]))

    def _norm(self, x: str, name: str) -> str:
        parts = [self._constant(self._weights[f"{name}.{part}"]) for part in ("weight", "bias")]
        epsilon = float(self._config["layer_norm_eps"])
        return str(self._graph.node("LayerNormalization", [x, *parts], axis=-1, epsilon=epsilon))

    def _bias(self, mask: str) -> str:
        graph = self._graph
        hidden = graph.node("Sub", [self._constant(np.float32(1)), mask])
        scaled = graph.node("Mul", [hidden, self._constant(np.float32(-1e4))])
        return str(graph.node("Unsqueeze", [scaled, graph.constant(np.array([1, 2], np.int64))]))

    def _linear(self, x: str, weight: Array, bias: Array, name: str) -> str:
        graph, transposed = self._graph, weight.T.astype(np.float32)
        if self._watch:
            self.watched[name] = x, weight
        if self._kind != "int8":
            product = graph.node("MatMul", [x, self._constant(transposed)])
            return str(graph.node("Add", [product, self._constant(bias)]))
        span = self._ranges[name]
        if span.smooth is not None:
            x = graph.node("Mul", [x, self._constant(1 / span.smooth)])
            transposed = transposed * span.smooth[:, None]
        packed = by_column(transposed, self._bits)
        scale, zero = np.float32(span.scale), np.uint8(span.zero)
        quantised = graph.node("QuantizeLinear", [x, graph.constant(scale), graph.constant(zero)])
        inputs = [quantised, graph.constant(packed.values), graph.constant(scale), graph.constant(packed.scales)]
        inputs += [graph.constant(zero), "", graph.constant(bias.astype(np.float32))]
        return str(graph.node("MatMulIntegerToFloat", inputs, domain=MS))

    def _layer(self, x: str, bias: str, name: str, heads: int, width: int) -> str:
        w, prefix = self._weights, f"encoder.{name}"
        attended = self._attend(x, bias, prefix, heads, width)
        out = self._linear(
            attended,
            w[prefix + "attention.output.dense.weight"],
            w[prefix + "attention.output.dense.bias"],
            name + "attention_out",
        )
        x = self._norm(self._graph.node("Add", [out, x]), prefix + "attention.output.LayerNorm")
        inner = self._linear(
            x, w[prefix + "intermediate.dense.weight"], w[prefix + "intermediate.dense.bias"], name + "in"
        )
        inner = self._gelu(inner)
        inner = self._linear(inner, w[prefix + "output.dense.weight"], w[prefix + "output.dense.bias"], name + "out")
        return self._norm(self._graph.node("Add", [inner, x]), prefix + "output.LayerNorm")

    def _gelu(self, x: str) -> str:
        if self._kind == "int8":
            return str(self._graph.node("Gelu", [x], domain=MS))
        graph = self._graph
        erf = graph.node("Erf", [graph.node("Mul", [x, self._constant(np.float32(0.5**0.5))])])
        half = graph.node("Mul", [x, self._constant(np.float32(0.5))])
        return str(graph.node("Mul", [half, graph.node("Add", [erf, self._constant(np.float32(1))])]))

    def _attend(self, x: str, bias: str, prefix: str, heads: int, width: int) -> str:
        """[batch, tokens, hidden] through one projection and one transposition to queries, keys and values."""
        graph, own = self._graph, prefix + "attention.self."
        factor = width**-0.5
        weight = np.concatenate(
            [
                self._weights[own + f"{part}.weight"] * (factor if part == "query" else 1.0)
                for part in ("query", "key", "value")
            ]
        )
        offset = np.concatenate(
            [
                self._weights[own + f"{part}.bias"] * (factor if part == "query" else 1.0)
                for part in ("query", "key", "value")
            ]
        )
        joint = self._linear(x, weight, offset, prefix.removeprefix("encoder.") + "qkv")
        shape = graph.constant(np.array([0, 0, 3, heads, width], np.int64))
        split = graph.node("Transpose", [graph.node("Reshape", [joint, shape])], perm=[2, 0, 3, 1, 4])
        parts = graph.node("Split", [split], 3, axis=0, num_outputs=3)
        first = graph.constant(np.array([0], np.int64))
        q, k, v = (graph.node("Squeeze", [part, first]) for part in parts)
        if self._kind == "int8":
            scores = graph.node("FusedMatMul", [q, k], domain=MS, transB=1, alpha=1.0)
        else:
            scores = graph.node("MatMul", [q, graph.node("Transpose", [k], perm=[0, 1, 3, 2])])
        attention = graph.node("Softmax", [graph.node("Add", [scores, bias])], axis=-1)
        mixed = graph.node("Transpose", [graph.node("MatMul", [attention, v])], perm=[0, 2, 1, 3])
        return str(graph.node("Reshape", [mixed, graph.constant(np.array([0, 0, heads * width], np.int64))]))

    def _pool(self, x: str, mask: str) -> str:
        graph, one = self._graph, np.array([1], np.int64)
        weights = graph.node("Unsqueeze", [mask, graph.constant(one)])
        total = graph.node("Squeeze", [graph.node("MatMul", [weights, x]), graph.constant(one)])
        return str(graph.node("Div", [total, graph.node("ReduceSum", [mask, graph.constant(one)], keepdims=1)]))

    def _gemm(self, pooled: str, name: str) -> str:
        weight, bias = self._weights[f"{name}.weight"], self._weights[f"{name}.bias"]
        return str(self._graph.node("Gemm", [pooled, self._constant(weight), self._constant(bias)], transB=1))

    def _unit(self, x: str) -> str:
        """Rows of unit length."""
        norm = self._graph.node("ReduceL2", [x, self._graph.constant(np.array([1], np.int64))], keepdims=1)
        return str(self._graph.node("Div", [x, norm]))

    def _tokens(self, x: str) -> str:
        """Sentiment and risk toward what each token names; the caller takes the mean over a mention's tokens."""
        weight = np.concatenate([self._weights[f"{part}.weight"] for part in MENTION])
        bias = np.concatenate([self._weights[f"{part}.bias"] for part in MENTION])
        product = self._graph.node("MatMul", [x, self._constant(weight.T)])
        return str(self._graph.node("Add", [product, self._constant(bias)]))

    def _output(self, value: str, name: str, *shape: int | str) -> Any:
        self._graph.nodes.append(helper.make_node("Cast", [value], [name], to=TensorProto.FLOAT))
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *shape])


def encode(tokenizer: Tokenizer, texts: Sequence[str]) -> list[list[int]]:
    return [list(ends_of(encoding.ids, MAX_TOKENS)) for encoding in tokenizer.encode_batch(list(texts))]


def measure(
    weights: Mapping[str, Array],
    config: Mapping[str, Any],
    rows: Sequence[list[int]],
    folder: Path,
    *,
    smooth: bool = False,
    bits: int = 8,
) -> dict[str, Range]:
    """The range of every linear layer's input that quantises ``rows`` with the least error.

    ``smooth``: whether channels are smoothed, which an encoder with a few large ones needs, and costs a product.
    """
    encoder = Encoder(weights, config, kind="fp32", watch=True)
    path = folder / "watched.onnx"
    onnx.save(encoder.build(), path)
    session = open_session(path, device="cpu")
    seen: dict[str, list[Array]] = {name: [] for name in encoder.watched}
    for row in rows:
        values = session.run([x for x, _ in encoder.watched.values()], feeds([row]))
        for name, value in zip(encoder.watched, values, strict=True):
            seen[name].append(value[0])
    path.unlink()
    return {name: _range(np.concatenate(parts), encoder.watched[name][1], smooth, bits) for name, parts in seen.items()}


def _range(values: Array, weights: Array, smooth: bool, bits: int) -> Range:
    """``values``: [tokens, channels]."""
    return least_product_error(values, weights, bits) if smooth else least_error(values.reshape(-1))


def main() -> None:
    """Exports trained weights into a model's folder: graph, tokenizer, calibration, evaluation, card, golden."""
    from models import golden, reference
    from models.assemble import assemble

    parser = argparse.ArgumentParser(prog="python -m models.export", description=main.__doc__)
    parser.add_argument("--run", type=Path, required=True, help="folder that training wrote")
    parser.add_argument("--data", type=Path, required=True, help="folder of the training files")
    parser.add_argument("--out", type=Path, required=True, help="the model's folder")
    parser.add_argument("--name", default="default")
    parser.add_argument("--version", default=datetime.now(UTC).strftime("%Y.%m.%d"))
    parser.add_argument("--weight-bits", type=int, choices=(7, 8), default=8)
    parser.add_argument("--smooth", action="store_true", help="smooth channels before they are quantised")
    arguments = parser.parse_args()
    started = time.monotonic()
    card = assemble(
        arguments.run,
        arguments.data,
        arguments.out,
        arguments.name,
        arguments.version,
        bits=arguments.weight_bits,
        smooth=arguments.smooth,
    )
    golden.write(arguments.out)
    reference.write(arguments.out, arguments.data)
    print(f"exported in {time.monotonic() - started:.0f} s", file=sys.stderr)  # noqa: T201 (a command's output)
    json.dump(msgspec.to_builtins(card.evaluation), sys.stdout, indent=2)


def fp16(folder: Path, target: Path) -> None:
    """The graph for the GPU, built from the shipped int8 weights: standard operators, half precision."""
    graph = onnx.load(folder / "model.onnx")
    onnx.save(dequantise(graph), target)


def dequantise(model: Any) -> Any:
    """The int8 graph with its integer products as half-precision ones."""
    constants = {entry.name: numpy_helper.to_array(entry) for entry in model.graph.initializer}
    rebuilt = Graph("half_")
    half = TensorProto.FLOAT16
    answers = {output.name for output in model.graph.output}
    quantised: dict[str, str] = {}
    for node in model.graph.node:
        if node.op_type == "QuantizeLinear":
            quantised[node.output[0]] = node.input[0]
        elif node.op_type == "MatMulIntegerToFloat":
            weight = constants[node.input[1]].astype(np.float32) * constants[node.input[3]]
            bias = constants[node.input[6]]
            product = rebuilt.node("MatMul", [quantised[node.input[0]], rebuilt.constant(weight.astype(np.float16))])
            rebuilt.nodes.append(
                helper.make_node("Add", [product, rebuilt.constant(bias.astype(np.float16))], list(node.output))
            )
        elif node.op_type == "FusedMatMul":
            turned = rebuilt.node("Transpose", [node.input[1]], perm=[0, 1, 3, 2])
            rebuilt.nodes.append(helper.make_node("MatMul", [node.input[0], turned], list(node.output)))
        elif node.op_type == "Gelu":
            rebuilt.nodes.extend(_gelu_half(rebuilt, node))
        elif node.op_type == "Cast" and node.output[0] not in answers:
            rebuilt.nodes.append(helper.make_node("Cast", list(node.input), list(node.output), to=half))
        else:
            rebuilt.nodes.append(node)
    used = {name for node in rebuilt.nodes for name in node.input}
    kept = [
        numpy_helper.from_array(value.astype(np.float16) if value.dtype == np.float32 else value, name)
        for name, value in constants.items()
        if name in used
    ]
    whole = helper.make_graph(
        rebuilt.nodes, "classifier", list(model.graph.input), list(model.graph.output), kept + rebuilt.constants
    )
    return helper.make_model(whole, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def _gelu_half(graph: Graph, node: Any) -> list[Any]:
    x = node.input[0]
    before = len(graph.nodes)
    erf = graph.node("Erf", [graph.node("Mul", [x, graph.constant(np.float16(0.5**0.5))])])
    half = graph.node("Mul", [x, graph.constant(np.float16(0.5))])
    sums = graph.node("Add", [erf, graph.constant(np.float16(1))])
    graph.nodes.append(helper.make_node("Mul", [half, sums], list(node.output)))
    added = graph.nodes[before:]
    del graph.nodes[before:]
    return added


if __name__ == "__main__":
    main()
