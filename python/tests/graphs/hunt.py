"""Graph after graph until the time is up: made, computed by PyTorch and in every variant, compared; what fails is cut down."""
import collections
import json
import os
import sys
import time

from graphs.make import make
from graphs.oracle import Truth, compare
from graphs.ops import OPS, WEIGHTS
from graphs.run import VARIANTS, results
from graphs.shrink import program, shrink, verdict


class Tally:
    def __init__(self):
        self.graphs, self.steps, self.seconds = 0, 0, 0.0
        self.ops, self.dtypes, self.evaluated = (collections.Counter() for _ in range(3))
        self.gradients, self.refused, self.failures = 0, 0, []

    def figures(self):
        return dict(graphs=self.graphs, steps=self.steps, gradients=self.gradients, refused=self.refused,
                    seconds=round(self.seconds, 1), evaluated=self.evaluated, ops=self.ops, dtypes=self.dtypes, failures=self.failures)


def judged(graph, truth, got, variant):
    if isinstance(got, Exception):
        return f"{type(got).__name__}: {got}"
    found = compare(truth, got)
    return found and found[1]


def report(graph, variant, words, tally, cut):
    """Cuts the graph down; one that fails only beside others is printed whole."""
    alone = verdict(graph, variant)
    if alone and cut:
        graph = shrink(graph, variant, cut)
        words = verdict(graph, variant) or words
    text = program(graph, variant, words if alone else words + " (only beside other graphs)")
    tally.failures.append(dict(seed=graph.seed, variant=variant, words=words, steps=len(graph.steps), program=text))
    print(text, file=sys.stderr, flush=True)


def any_graph(seed):
    return make(seed, OPS, list(WEIGHTS.values()))


def batch(seeds, variants, tally, cut=20, made=any_graph):
    graphs = []
    for seed in seeds:
        g = made(seed)
        try:
            if g.outs:
                graphs.append((g, Truth(g)))
        except RuntimeError:  # PyTorch's, in the other precision or in a gradient
            tally.refused += 1
    for g, _ in graphs:
        tally.graphs += 1
        tally.gradients += bool(g.loss)
        tally.steps += sum(s.op != "leaf" for s in g.steps)
        tally.ops.update(s.op for s in g.steps)
        tally.dtypes.update(s.dtype for s in g.steps)
    wrong = set()
    for variant in variants:
        for (g, truth), got in zip(graphs, results([g for g, _ in graphs], variant)):
            tally.evaluated[variant] += 1
            words = judged(g, truth, got, variant)
            if words and g.seed not in wrong:
                wrong.add(g.seed)
                report(g, variant, words, tally, cut)


def hunt(seconds, seed, variants, size=1, cut=20, most=20):
    """`size` graphs at a time; ends early when `most` have failed. The file that TG_GRAPH_AT
    names holds the seed under way, for crashes."""
    tally, start = Tally(), time.time()
    while time.time() - start < seconds and len(tally.failures) < most:
        if "TG_GRAPH_AT" in os.environ:
            with open(os.environ["TG_GRAPH_AT"], "w") as f:
                print(f"seeds from {seed} on", file=f)
        batch(range(seed, seed + size), variants, tally, cut)
        seed += size
    tally.seconds = time.time() - start
    return tally


def main(seconds, seed, which, size):
    import torch
    import warnings
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    tally = hunt(float(seconds), int(seed), [v for v in VARIANTS if v.startswith(tuple(which.split("+")))], int(size))
    print(json.dumps(tally.figures()))
