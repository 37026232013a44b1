"""Random graphs against PyTorch (graphs/): some of each way of computing, and that the tester finds what is wrong.

TG_GRAPH_SECONDS says for how long in all (35); TG_GRAPH_SEED where the seeds begin (1). Each way is a process of its own:
one that crashes is a failure like any other, and its seed is known."""
import json
import os
import pathlib
import subprocess
import sys

import pytest
from graphs.hunt import Tally, any_graph, batch
from graphs.make import make
from graphs.ops import OPS
from graphs.oracle import relearn
from graphs.run import results
from graphs.shrink import program, shrink, verdict

from teenygrad import Tensor, dtypes

pytestmark = pytest.mark.filterwarnings("ignore")  # PyTorch's, about deviations of one element
SECONDS = float(os.environ.get("TG_GRAPH_SECONDS", "35"))
SEED = int(os.environ.get("TG_GRAPH_SEED", "1"))
# which variants, their part of the time, how many graphs side by side, the first seed
WAYS = {"CPU": (0.4, 1, 0), "REF": (0.3, 1, 10 ** 6), "generated": (0.3, 16, 2 * 10 ** 6)}


@pytest.mark.parametrize("way", WAYS)
def test_graphs(way, tmp_path):
    part, size, first = WAYS[way]
    env = dict(os.environ, TG_GRAPH_AT=str(tmp_path / "at"), TG_CACHE_DIR=str(tmp_path / "cache"), PYTHONFAULTHANDLER="1")
    env.setdefault("TG_CC", "cc -O1")
    run = subprocess.run([sys.executable, "-m", "graphs", str(SECONDS * part), str(SEED + first), way, str(size)], env=env,
                         cwd=pathlib.Path(__file__).parent, capture_output=True, text=True, timeout=SECONDS * 4 + 600)
    assert run.returncode == 0, (tmp_path / "at").read_text() + run.stderr[-4000:]
    figures = json.loads(run.stdout.splitlines()[-1])
    rare = sorted(figures["ops"].items(), key=lambda pair: pair[1])
    print("%s: %d graphs, %d steps, %d with gradients in %.0f s; %s; ops: %s" % (
        way, figures["graphs"], figures["steps"], figures["gradients"], figures["seconds"], figures["dtypes"], rare))
    assert not figures["failures"], run.stderr[-8000:]
    assert figures["graphs"] >= size


def test_every_operation_occurs():
    """In the first graphs that test_graphs makes, those of the seeds from 1 on."""
    seen = {s.op for seed in range(1, 1001) for s in any_graph(seed).steps}
    assert set(OPS) - seen == set()


def test_bad_indices():
    """One number of an index out of range: an IndexError where PyTorch has an error, whatever is around it."""
    checked = 0
    for seed in range(1, 500):
        g = any_graph(seed)
        for i, s in enumerate(g.steps):
            users = {t.op for t in g.steps if i in t.ins}
            nothing = any(0 in t.shape for t in g.steps)  # nothing is looked up for it, so nothing is missed
            if not s.fixed or nothing or "sparse_crossentropy" in users:
                continue
            right, s.data = s.data, s.data.copy()
            s.data.flat[seed % s.data.size] = (-1) ** seed * 1000
            if relearn(g) is None:
                for variant in ("CPU, step by step", "REF, step by step"):
                    got = results([g], variant)[0]
                    assert isinstance(got, IndexError), program(g, variant, f"no error: {got}")
                    checked += 1
            s.data = right
    assert checked > 100


def test_every_operation_alone():
    """Each operation by itself, where it is found, in two ways of computing."""
    tally = Tally()
    for n, name in enumerate(OPS):
        batch(range(n * 1000, n * 1000 + 3), ["CPU, lazily", "REF, lazily"], tally, cut=0,
              made=lambda seed, name=name: make(seed, {name: OPS[name]}, [1], steps=1))
    assert not tally.failures, tally.failures[0]["program"]
    assert set(OPS) <= set(tally.ops)


def plant(monkeypatch, name, wrong):
    right = getattr(Tensor, name)
    monkeypatch.setattr(Tensor, name, lambda self, *a, **k: wrong(right, self, *a, **k))


def half_slope(right, x):
    return right(x) * 0.5 + right(x).detach() * 0.5


FAULTS = {  # in where elements stand, the last digits, the sign of zero, the precision of one dtype, the gradient alone
    "flip": lambda right, x, *axes: x.contiguous(),
    "log": lambda right, x: right(x) * 1.0001,
    "where": lambda right, c, a, b: right(c, a, b) + 0.0 if isinstance(a, Tensor) and a.is_floating_point() else right(c, a, b),
    "sum": lambda right, x, *a, **k: right(x, *a, **k).half().float() if x.dtype is dtypes.float32 else right(x, *a, **k),
    "tanh": half_slope,
}


@pytest.mark.parametrize("name", FAULTS)
def test_planted_faults_are_found(monkeypatch, name):
    """A wrong operation is found, and the graph cut down to it."""
    plant(monkeypatch, name, FAULTS[name])
    for seed in range(1, 2000):
        g = any_graph(seed)
        if not any(name in s.ours for s in g.steps):
            continue
        if g.outs and verdict(g, "CPU, lazily"):
            small = shrink(g, "CPU, lazily", 10)
            assert verdict(small, "CPU, lazily")
            assert sum(s.op != "leaf" for s in small.steps) <= 2, [s.op for s in small.steps]
            assert any(name in s.ours for s in small.steps)
            return
    pytest.fail("not found")
