"""From a model's int8 graph back to the weights of a network: what users have of a model is its graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from transformers import BertConfig, BertModel

from models.finetune.table import FinetuneError
from models.labels import SENTIMENTS, Labels
from models.network import FiveHeads
from models.quantize import Array
from models.session import feeds, open_session

HEADS = ("sentiment", "topic", "risk", "story")
"""In the order of their products in the graph."""
START = {"topic": 0.0, "risk": -3.0, "mention_risk": -3.0}
"""Logits of new labels before anything was learned of them, by head: the topic that is right has 5 or more."""
TOLERANCE = 0.05
"""Largest difference of a logit between the network and the graph in half precision: .02 on the shipped model."""
LINEAR = (".query.weight", ".key.weight", ".value.weight", ".dense.weight")


class Recovered(NamedTuple):
    """Weights by the network's names, and its sizes. ``smooth``: by which each channel of a linear layer's input was
    divided, by the names of the weights; empty where nothing was smoothed."""

    weights: dict[str, Array]
    config: dict[str, Any]
    smooth: dict[str, Array]


def recover(path: Path) -> Recovered:
    """The weights of a graph that ``models.export`` wrote, each int8 one times its scale. Raises FinetuneError."""
    try:
        return _recover(_Nodes(onnx.load(path)))
    except (KeyError, IndexError, ValueError) as error:
        raise FinetuneError(
            f"{path}: no network can be made of this graph ({error!r}); adapt a model that tapewatch exported"
        ) from error


class _Nodes:
    """A graph's nodes by kind, in its order, and its constants."""

    def __init__(self, model: Any) -> None:
        self._constants = {entry.name: numpy_helper.to_array(entry) for entry in model.graph.initializer}
        self._nodes = list(model.graph.node)

    def of(self, kind: str) -> list[Any]:
        """Nodes of a kind that reckon with constants."""
        return [node for node in self._nodes if node.op_type == kind and self.constants(node)]

    def constants(self, node: Any) -> list[Array]:
        return [self._constants[name] for name in node.input if name in self._constants]

    def all(self, kind: str) -> list[list[Array]]:
        return [self.constants(node) for node in self.of(kind)]

    def linear(self) -> list[Linear]:
        """The integer products: a product's input is quantised, and before that smoothed or not."""
        source = {name: node for node in self._nodes for name in node.output}
        found = []
        for node in self.of("MatMulIntegerToFloat"):
            before = source.get(source[node.input[0]].input[0])
            (factors,) = self.constants(before) if before is not None and before.op_type == "Mul" else (None,)
            weight, _, scales, _, bias = self.constants(node)
            restored = weight.astype(np.float32) * scales
            smooth = np.ones(len(weight), np.float32) if factors is None else 1 / factors
            found.append(Linear((restored / smooth[:, None]).T, bias, None if factors is None else smooth))
        return found


class Linear(NamedTuple):
    """A linear layer: weights, [outputs, inputs], its bias, and what its inputs were divided by, None for nothing."""

    weight: Array
    bias: Array
    smooth: Array | None


def _recover(nodes: _Nodes) -> Recovered:
    found: dict[str, Array] = {}
    (rows,), (scales,) = nodes.all("Gather")
    found["encoder.embeddings.word_embeddings.weight"] = rows.astype(np.float32) * scales
    places = nodes.all("Slice")[0][0]
    found["encoder.embeddings.position_embeddings.weight"] = places
    found["encoder.embeddings.token_type_embeddings.weight"] = np.zeros((2, places.shape[1]), np.float32)
    products, smooth = nodes.linear(), dict[str, Array]()
    shape = next(values[0] for values in nodes.all("Reshape") if len(values[0]) == 5)
    heads, width = int(shape[3]), int(shape[4])
    for layer in range(len(products) // 4):
        found |= _layer(f"encoder.encoder.layer.{layer}.", products[4 * layer : 4 * layer + 4], width, smooth)
    found |= _norms(nodes.all("LayerNormalization"))
    for name, (weight, bias) in zip(HEADS, nodes.all("Gemm"), strict=True):
        found |= {f"{name}.weight": weight, f"{name}.bias": bias}
    found |= _mention(nodes.all("MatMul")[-1][0], nodes.all("Add")[-1][0])
    epsilon = next(one.f for one in nodes.of("LayerNormalization")[0].attribute if one.name == "epsilon")
    config = {
        "vocab_size": len(rows),
        "hidden_size": heads * width,
        "num_hidden_layers": len(products) // 4,
        "num_attention_heads": heads,
        "intermediate_size": len(products[2].weight),
        "max_position_embeddings": len(places),
        "layer_norm_eps": float(epsilon),
    }
    return Recovered({name: np.array(value, np.float32) for name, value in found.items()}, config, smooth)


def _layer(name: str, products: Sequence[Linear], width: int, smooth: dict[str, Array]) -> dict[str, Array]:
    """Queries, keys and values come joined, the attention's scale folded into the queries."""
    joint, *others = products
    found: dict[str, Array] = {}
    parts = zip(("query", "key", "value"), np.split(joint.weight, 3), np.split(joint.bias, 3), strict=True)
    for part, weight, bias in parts:
        factor = width**0.5 if part == "query" else 1.0
        found |= _named(f"{name}attention.self.{part}", weight * factor, bias * factor)
        if joint.smooth is not None:
            smooth[f"{name}attention.self.{part}.weight"] = joint.smooth
    for part, product in zip(("attention.output", "intermediate", "output"), others, strict=True):
        found |= _named(f"{name}{part}.dense", product.weight, product.bias)
        if product.smooth is not None:
            smooth[f"{name}{part}.dense.weight"] = product.smooth
    return found


def _named(name: str, weight: Array, bias: Array) -> dict[str, Array]:
    return {f"{name}.weight": weight, f"{name}.bias": bias}


def _norms(norms: Sequence[Sequence[Array]]) -> dict[str, Array]:
    names = ["encoder.embeddings.LayerNorm"]
    for layer in range(len(norms) // 2):
        names += [f"encoder.encoder.layer.{layer}.{part}.LayerNorm" for part in ("attention.output", "output")]
    found: dict[str, Array] = {}
    for name, (weight, bias) in zip(names, norms, strict=True):
        found |= _named(name, weight, bias)
    return found


def _mention(weight: Array, bias: Array) -> dict[str, Array]:
    count, turned = len(SENTIMENTS), weight.T
    return _named("mention_sentiment", turned[:count], bias[:count]) | _named(
        "mention_risk", turned[count:], bias[count:]
    )


def network(recovered: Recovered, labels: Labels) -> FiveHeads:
    """The network with these weights; labels that they lack come last and start with START."""
    config = BertConfig(**recovered.config)
    model = FiveHeads(BertModel(config, add_pooling_layer=False), config.hidden_size, config.num_hidden_layers, labels)
    state = model.state_dict()
    for name, value in recovered.weights.items():
        start = START.get(name.removesuffix(".bias"), 0.0)
        grown = torch.full_like(state[name], start) if state[name].shape != value.shape else state[name]
        grown[: len(value)] = torch.from_numpy(value)
        state[name] = grown
    model.load_state_dict(state)
    return model


@torch.no_grad()  # type: ignore[untyped-decorator]  # torch is not in this environment
def loosen(model: FiveHeads, bits: int, smooth: Mapping[str, Array]) -> None:
    """Moves every weight of the linear layers to somewhere in the step that int8 rounds to where it stands.

    Weights made of int8 lie in the middle of their steps. Learning moves most by less than half a step: rounded again,
    all of them would be back where they were. From anywhere in the step as many get over its edge as the move is long
    (dither, as in Gray and Stockham 1993). Embeddings stay as they are, and do not learn. ``smooth``: as recovered; a
    weight whose channel was divided by so much was rounded multiplied by it.
    """
    model.encoder.embeddings.requires_grad_(False)
    for name, weight in model.encoder.named_parameters():
        if name.endswith(LINEAR):
            factors = torch.from_numpy(smooth[f"encoder.{name}"]) if smooth else torch.ones(weight.shape[1])
            step = (weight * factors).abs().amax(1, keepdim=True) / (2 ** (bits - 1) - 1) / factors
            weight += (torch.rand_like(weight) - 0.5) * step


@torch.inference_mode()  # type: ignore[untyped-decorator]  # as above
def check(model: FiveHeads, graph: Path, rows: Sequence[Sequence[int]]) -> float:
    """The largest difference of a logit from the graph in half precision, which is made of the graph node by node.

    Raises FinetuneError where it is too large: then training would start elsewhere than where the model stands.
    """
    session = open_session(graph, device="cpu", half=True)
    model.eval()
    apart = 0.0
    for ids in rows:
        wanted = session.run(list(HEADS), feeds([ids]))
        tokens = torch.tensor([list(ids)])
        whole = torch.full((1, len(ids)), 1 / len(ids))
        answers = model(tokens, torch.ones_like(tokens), torch.tensor([0]), whole)
        for name, logits in zip(HEADS, wanted, strict=True):
            own = getattr(answers, name).numpy()[:, : logits.shape[1]]
            apart = max(apart, float(np.abs(own - logits).max()))
    if apart > TOLERANCE:
        raise FinetuneError(
            f"{graph}: the network made of it is {apart:.2f} apart from it in a logit, more than {TOLERANCE}; "
            "adapt a model that this version of tapewatch exported"
        )
    return apart
