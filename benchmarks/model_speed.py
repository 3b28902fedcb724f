"""How fast the model is beside what else could be used: every other way on the same texts, in turns, in one run.

``python -m benchmarks.model_speed [MODEL]`` (make bench-model) prints one table. In each round every contender judges
texts of one kind, one contender after the other, and a ratio is one of times of the same round: so what else the
machine does weighs on both sides of it. The slow ones get fewer texts, spread over the same lengths.
OpenVINO and CTranslate2 take part where they are installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import multiprocessing
import os
import re
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from models import card as cards
from models.bench import Figures, measure
from models.classifier import OnnxClassifier, load
from models.passes import ExactPasses
from models.samples import KINDS, samples
from models.session import feeds

THREADS = 2
MANY, FEW, BATCH = 256, 32, 32
"""Texts of a turn of a quick contender and of a slow one, and of a pipeline's batch."""
ROUNDS = {"headlines": 7, "posts": 4, "articles": 3, "mix": 4}
ALONE_SECONDS = 2.0
PEAK = (1024, 2048, 2048)
"""Rows, inputs and outputs of the integer product that stands for what the machine can do."""
MENTION = re.compile(r"\w+")


class Contender(NamedTuple):
    """``texts``: how many it judges in a turn."""

    name: str
    texts: int
    run: Callable[[list[str]], object]


class Goal(NamedTuple):
    """``limits``: kind of text to the ratio that is asked for; ``most``: whether it is the most, not the least."""

    name: str
    others: tuple[str, ...]
    own: str
    limits: dict[str, float]
    most: bool = False


GOALS = (
    Goal(
        "two pipelines over a BERT-base", ("BERT-base, 3 labels", "BERT-base, 20 labels"), "labels", {"headlines": 40}
    ),
    Goal("one pipeline over a BERT-base", ("BERT-base, 3 labels",), "labels", {"headlines": 20}),
    Goal("one pipeline over the same encoder", ("same encoder",), "labels", {"headlines": 3.5, "mix": 4.5}),
    Goal("ONNX Runtime, fp32, same batches", ("fp32",), "labels", dict.fromkeys(KINDS, 2.2)),
    Goal("its own dynamic int8, same batches", ("dynamic int8",), "labels", dict.fromkeys(KINDS, 1.3)),
    Goal("OpenVINO, same batches", ("OpenVINO",), "labels", dict.fromkeys(KINDS, 1.0)),
    Goal("CTranslate2, int8, encoder alone", ("CTranslate2",), "labels", dict.fromkeys(KINDS, 1.0)),
    Goal("all five heads, of two", ("five heads",), "labels", {}),
    Goal("the token heads, of all without", ("five heads",), "document heads", dict.fromkeys(KINDS, 1.05), most=True),
)


def thinned(texts: Sequence[str], count: int) -> list[str]:
    """``count`` of the texts, spread evenly over their lengths, in the order in which they came."""
    by_length = sorted(range(len(texts)), key=lambda place: len(texts[place]))
    picked = {by_length[(2 * i + 1) * len(texts) // (2 * count)] for i in range(count)}
    return [texts[place] for place in sorted(picked)]


def turns(
    contenders: Sequence[Contender],
    texts: Sequence[str],
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Seconds a text of each contender, by round, after a turn that does not count: the first of a shape is slower."""
    given = {one.name: thinned(texts, min(one.texts, len(texts))) for one in contenders}
    for one in contenders:
        one.run(given[one.name] if one.texts == MANY else given[one.name][:8])
    found: dict[str, list[float]] = {one.name: [] for one in contenders}
    for _ in range(rounds):
        for one in contenders:
            started = clock()
            one.run(given[one.name])
            found[one.name].append((clock() - started) / len(given[one.name]))
    return found


def own(model: str) -> tuple[OnnxClassifier, list[Contender]]:
    """The model as it is shipped: its two labels; all that it says of a document; that, and toward a company each."""
    whole = load(model, device="cpu", threads=THREADS)
    labels = OnnxClassifier(cards.folder_of(model), two_heads(whole.card), whole._passes, threads=THREADS)

    def five(texts: list[str]) -> object:
        spans = [[(found.span(),)] if (found := MENTION.search(text)) else [] for text in texts]
        return whole.predict(texts, spans, story=True)

    return whole, [
        Contender("labels", MANY, labels.predict),
        Contender("document heads", MANY, lambda texts: whole.predict(texts, story=True)),
        Contender("five heads", MANY, five),
    ]


def two_heads(card: cards.Card) -> cards.Card:
    """The card of a model that tells sentiment and topic alone."""
    return msgspec.structs.replace(card, risk=None, mention=None, story=None, reference=None)


def graphs(model: str, scratch: Path) -> list[Contender]:
    """The same weights and heads as an fp32 graph, and that one quantised by ONNX Runtime's own tool, each with the
    passes, threads and tokenizer of the shipped one."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    from models.export import Encoder
    from models.finetune.weights import recover

    folder = cards.folder_of(model)
    recovered = recover(folder / "model.onnx")
    whole, dynamic = scratch / "fp32.onnx", scratch / "dynamic.onnx"
    onnx.save(Encoder(recovered.weights, recovered.config, kind="fp32").build(), whole)
    quantize_dynamic(whole, dynamic, weight_type=QuantType.QInt8)
    found = [
        Contender(name, MANY, _classifier(folder, ExactPasses(_session(graph))).predict)
        for name, graph in (("fp32", whole), ("dynamic int8", dynamic))
    ]
    if importlib.util.find_spec("openvino") is None:
        _say("OpenVINO is not installed: left out")
        return found
    return [*found, Contender("OpenVINO", MANY, _classifier(folder, OpenVinoPasses(whole)).predict)]


def _classifier(folder: Path, passes: Any) -> OnnxClassifier:
    return OnnxClassifier(folder, two_heads(cards.read(folder)), passes, threads=THREADS)


def _session(graph: Path, threads: int = 1) -> Any:
    """As ONNX Runtime opens it by itself, but for threads."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    return ort.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])


class OpenVinoPasses(ExactPasses):
    """A stream and a request for each of the classifier's threads; precision as OpenVINO chooses it, bf16 where the
    processor has matrices of it."""

    def __init__(self, graph: Path) -> None:
        import openvino

        super().__init__(_session(graph))
        self._local = threading.local()
        self._model = openvino.Core().compile_model(
            str(graph), "CPU", {"INFERENCE_NUM_THREADS": THREADS, "NUM_STREAMS": THREADS}
        )

    def run(self, wanted: Sequence[str], ids: Sequence[Sequence[int]]) -> dict[str, Any]:
        if not hasattr(self._local, "request"):
            self._local.request = self._model.create_infer_request()
        self._local.request.infer(feeds(ids))
        return {name: np.array(self._local.request.get_tensor(name).data) for name in wanted}


def pipelines(model: str, base: dict[str, Any] | None = None) -> list[Contender]:
    """Transformers' pipelines over a BERT-base with random weights, whose speed no training changes, and over the
    model's own encoder: fp32, batches of 32, the model's tokens and window. ``base``: sizes other than BERT-base's."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    from models.finetune.weights import recover

    torch.set_num_threads(THREADS)
    recovered = recover(cards.folder_of(model) / "model.onnx")
    words = recovered.config["vocab_size"]
    sizes = {"vocab_size": words} | (base or {})
    networks = {
        "BERT-base, 3 labels": BertForSequenceClassification(BertConfig(**sizes, num_labels=3)),
        "BERT-base, 20 labels": BertForSequenceClassification(BertConfig(**sizes, num_labels=20)),
        "same encoder": BertForSequenceClassification(BertConfig(**recovered.config, num_labels=3)),
    }
    fill(networks["same encoder"].bert, recovered.weights)
    return [
        Contender(name, 2 * FEW if name == "same encoder" else FEW, _pipeline(network, model))
        for name, network in networks.items()
    ]


def fill(encoder: Any, weights: Mapping[str, Any]) -> None:
    """Gives a BertModel the weights of the model's encoder, which has no pooler."""
    import torch

    state = encoder.state_dict()
    own = {f"encoder.{name}": value for name, value in state.items() if not name.startswith("pooler.")}
    encoder.load_state_dict({n.removeprefix("encoder."): torch.from_numpy(weights[n]) for n in own}, strict=False)


def _tokenizer(model: str) -> Any:
    from transformers import PreTrainedTokenizerFast

    folder = cards.folder_of(model)
    names = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep")}
    file, window = str(folder / "tokenizer.json"), cards.read(folder).max_tokens
    return PreTrainedTokenizerFast(tokenizer_file=file, model_max_length=window, **names)


def _pipeline(network: Any, model: str) -> Callable[[list[str]], object]:
    from transformers import pipeline

    tokenizer = _tokenizer(model)
    judge = pipeline("text-classification", model=network.eval(), tokenizer=tokenizer, device="cpu")
    return lambda texts: judge(texts, batch_size=BATCH, truncation=True)


def ctranslate2(model: str, scratch: Path, classifier: OnnxClassifier) -> list[Contender]:
    """CTranslate2's int8 over the same encoder, which has no heads there, in the same batches."""
    if importlib.util.find_spec("ctranslate2") is None:
        _say("CTranslate2 is not installed: left out")
        return []
    from concurrent.futures import ThreadPoolExecutor

    from ctranslate2 import Encoder
    from ctranslate2.converters import TransformersConverter
    from transformers import BertConfig, BertModel

    from models.finetune.weights import recover

    recovered = recover(cards.folder_of(model) / "model.onnx")
    bert = BertModel(BertConfig(**recovered.config, position_embedding_type="absolute"))  # its converter asks for it
    fill(bert, recovered.weights)
    bert.save_pretrained(scratch / "bert")
    _tokenizer(model).save_pretrained(scratch / "bert")
    TransformersConverter(str(scratch / "bert")).convert(str(scratch / "ct2"), quantization="int8")
    encoder = Encoder(str(scratch / "ct2"), device="cpu", inter_threads=THREADS, intra_threads=1)
    pool = ThreadPoolExecutor(THREADS)

    def run(texts: list[str]) -> object:
        rows = classifier._tokenise(texts, [()] * len(texts))
        groups = classifier._passes.groups([len(row.ids) for row in rows])
        return list(
            pool.map(lambda g: np.array(encoder.forward_batch([rows[i].ids for i in g]).last_hidden_state), groups)
        )

    return [Contender("CTranslate2", MANY, run)]


def integer_peak(scratch: Path) -> float:
    """Operations a second of one large product of int8 matrices by ONNX Runtime on all threads, the best of many."""
    from onnx import TensorProto, helper, save

    rows, inputs, outputs = PEAK
    weights = np.random.default_rng(7).integers(-127, 128, (inputs, outputs), np.int8)
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["a", "b"], ["c"])],
        "peak",
        [helper.make_tensor_value_info("a", TensorProto.UINT8, [rows, inputs])],
        [helper.make_tensor_value_info("c", TensorProto.INT32, [rows, outputs])],
        [helper.make_tensor("b", TensorProto.INT8, weights.shape, weights.tobytes(), raw=True)],
    )
    path = scratch / "peak.onnx"
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    session, best = _session(path, THREADS), float("inf")
    values = np.full((rows, inputs), 7, np.uint8)
    for _ in range(40):
        started = time.perf_counter()
        session.run(None, {"a": values})
        best = min(best, time.perf_counter() - started)
    return 2.0 * rows * inputs * outputs / best


def operations(model: str, classifier: OnnxClassifier, texts: Sequence[str]) -> float:
    """Operations of the integer products for one text, on average."""
    import onnx

    graph = onnx.load(cards.folder_of(model) / "model.onnx").graph
    shapes = {entry.name: entry.dims for entry in graph.initializer}
    sizes = [np.prod(shapes[node.input[1]]) for node in graph.node if node.op_type == "MatMulIntegerToFloat"]
    tokens = np.mean([prediction.tokens + 2 for prediction in classifier.predict(list(texts))])
    return float(2 * np.sum(sizes) * tokens)


def alone(model: str) -> Figures:
    """In a process of its own, so that its memory is the model's alone."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_alone, (model,))


def _alone(model: str) -> Figures:
    return measure(load(model, device="cpu", threads=THREADS), ALONE_SECONDS)


def ratios(seconds: dict[str, list[float]], goal: Goal) -> list[float]:
    """Times of the others, together, over its own, by round."""
    rounds = zip(*(seconds[name] for name in (*goal.others, goal.own)), strict=True)
    return [sum(others) / mine for *others, mine in rounds]


def row(goal: Goal, found: dict[str, dict[str, list[float]]]) -> str:
    """A line of the table; medians, and least and most of the rounds."""
    cells, reached = [], True
    for kind, seconds in found.items():
        several = ratios(seconds, goal)
        middle = float(np.median(several))
        cells.append(f"{middle:.2f} ({min(several):.2f}–{max(several):.2f})")
        if (limit := goal.limits.get(kind)) is not None:
            reached &= middle <= limit if goal.most else middle >= limit
    sign = "≤" if goal.most else "≥"
    asked = ", ".join(f"{sign} {limit:g} {kind}" for kind, limit in goal.limits.items())
    if len(goal.limits) == len(KINDS):
        asked = f"{sign} {next(iter(goal.limits.values())):g}"
    verdict = _yes(reached) if goal.limits.keys() & found.keys() else "–"
    return f"| {goal.name} | {' | '.join(cells)} | {asked or '–'} | {verdict} |"


def table(found: dict[str, dict[str, list[float]]], figures: Figures, share: dict[str, float]) -> str:
    """All that was measured, as Markdown. ``share``: of the peak of int8, by kind of text."""
    present = next(iter(found.values()))
    rates = (f"{1 / float(np.median(seconds['labels'])):,.0f}" for seconds in found.values())
    lines = [
        f"| times as long, median (least–most) | {' | '.join(found)} | goal | reached |",
        "|---" * (len(found) + 3) + "|",
        *(row(goal, found) for goal in GOALS if {*goal.others, goal.own} <= present.keys()),
        f"| texts a second, both labels | {' | '.join(rates)} | – | – |",
        f"| share of the int8 peak | {' | '.join(f'{one:.2f}' for one in share.values())} | ≥ 0.35 | "
        f"{_yes(min(share.values()) >= 0.35)} |",
        "",
        "| one process with the model alone | | goal | reached |",
        "|---|---|---|---|",
        f"| one headline, p50 | {figures.alone_p50_ms} ms | ≤ 3 | {_yes(figures.alone_p50_ms <= 3)} |",
        f"| one headline, p99 | {figures.alone_p99_ms} ms | ≤ 6 | {_yes(figures.alone_p99_ms <= 6)} |",
        f"| peak memory | {figures.peak_rss_mb:.0f} MB | ≤ 300 | {_yes(figures.peak_rss_mb <= 300)} |",
    ]
    return "\n".join(lines)


def _yes(reached: bool) -> str:
    return "yes" if reached else "no"


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.model_speed", description=__doc__)
    parser.add_argument("model", nargs="?", default="default")
    parser.add_argument("--rounds", type=int, help="rounds of each kind of text")
    parser.add_argument(
        "--kinds", nargs="+", choices=KINDS, default=KINDS, help="kinds of text, all of them if not told"
    )
    arguments = parser.parse_args()
    started, model = time.monotonic(), arguments.model
    # First, for a process inherits the memory mark of the one that starts it.
    figures = alone(model)
    _say(f"alone: {figures}")
    with tempfile.TemporaryDirectory() as name:
        classifier, contenders = own(model)
        contenders += graphs(model, Path(name)) + pipelines(model) + ctranslate2(model, Path(name), classifier)
        found, share, peak = {}, {}, integer_peak(Path(name))
        for kind in arguments.kinds:
            texts = samples(kind)
            found[kind] = turns(contenders, texts, arguments.rounds or ROUNDS[kind])
            each = float(np.median(found[kind]["labels"]))
            share[kind] = operations(model, classifier, thinned(texts, MANY)) / each / peak
            _say(f"{kind}: {time.monotonic() - started:.0f} s since the start, load {os.getloadavg()[0]:.1f}")
        print(table(found, figures, share))
        print(f"\nPeak of int8: {peak / 1e12:.2f} · 10¹² operations a second on {THREADS} threads.")


if __name__ == "__main__":
    main()
