#!/usr/bin/env python3
"""The Python package, timed: what one small operation costs beside PyTorch's, and MNIST beside the C program.

    VENV/bin/python bench/python.py [--build DIR] [--rounds N] [--nice N]

VENV is an environment with teenygrad, torch and tqdm in it (`make test-python` makes build/venv); DIR holds the C
programs (build). The two sides take turns; a line shows the shortest and the median of the rounds.

    a + b           4 elements, graph only; for torch the whole operation, which it does at once
    whole program   python/examples/mnist.py and examples/mnist.c: start, data, 100 steps, evaluation of 10,000 images
    training        the 100 steps: in Python timed in the script, in C the program with them less the program without
"""
import argparse
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
import timeit

ROOT = pathlib.Path(__file__).resolve().parent.parent
TRAIN = """
import sys, time
sys.path.insert(0, {folder!r})
import numpy as np, mnist
from teenygrad import Tensor
from teenygrad.nn import optim
data = mnist.fetch_mnist()
np.random.seed(1337)
Tensor.manual_seed(1337)
model = mnist.TinyConvNet()
optimizer = optim.Adam([model.c1, model.c2, model.l1], lr=0.001)
start = time.perf_counter()
mnist.train(model, data[0], data[1], optimizer, steps=100)
print(time.perf_counter() - start)
"""


def show(name, ours, other, peer, unit, factor):
    shortest = [factor * min(x) for x in (ours, other)]
    median = [factor * statistics.median(x) for x in (ours, other)]
    print(f"{name:14} teenygrad {shortest[0]:.3g} (median {median[0]:.3g}) {unit}, {peer} {shortest[1]:.3g} "
          f"({median[1]:.3g}), ratio {shortest[0] / shortest[1]:.2f} ({median[0] / median[1]:.2f})", flush=True)


def add(rounds):
    import torch

    from teenygrad import Tensor
    a, b = Tensor([1.0, 2, 3, 4]).realize(), Tensor([1.0, 2, 3, 4]).realize()
    x, y = torch.ones(4), torch.ones(4)
    ours, theirs = [], []
    for _ in range(rounds * 10):
        ours.append(timeit.timeit("a + b", globals={"a": a, "b": b}, number=2000) / 2000)
        theirs.append(timeit.timeit("x + y", globals={"x": x, "y": y}, number=2000) / 2000)
    show("a + b", ours, theirs, "torch", "us", 1e6)


def seconds(command, **options):
    start = time.perf_counter()
    out = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, **options)
    return time.perf_counter() - start, out.stdout


def mnist(build, rounds):
    env = {**os.environ, "CI": "1"}
    folder = str(ROOT / "python" / "examples")
    with tempfile.TemporaryDirectory() as here:
        weights = os.path.join(here, "w.npz")
        program = [str(build / "examples" / "mnist"), "--data", str(build / "data" / "mnist")]
        whole, whole_c, train, train_c = [], [], [], []
        for round in range(-1, rounds):  # the first fills the cache
            w = seconds([sys.executable, os.path.join(folder, "mnist.py")], env=env)[0]
            c = seconds([*program, "--save", weights], env=env)[0]
            rest = seconds([*program, "--load", weights], env=env)[0]
            t = float(seconds([sys.executable, "-c", TRAIN.format(folder=folder)], env=env)[1])
            if round >= 0:
                whole.append(w), whole_c.append(c), train.append(t), train_c.append(c - rest)
    show("whole program", whole, whole_c, "C", "s", 1)
    show("training", train, train_c, "C", "s", 1)


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--build", type=pathlib.Path, default=ROOT / "build")
    args.add_argument("--rounds", type=int, default=7)
    args.add_argument("--nice", type=int, default=0)
    options = args.parse_args()
    if options.nice:
        os.nice(options.nice)
    add(options.rounds)
    mnist(options.build.resolve(), options.rounds)


if __name__ == "__main__":
    main()
