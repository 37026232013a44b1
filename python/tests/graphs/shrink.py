"""A graph that fails, made small. Tried again and again, as long as something helps: fewer results, no gradient, a step
replaced by an operand or by a leaf of its value, a leaf replaced by ones or by zeros; whatever still fails is kept. It is
printed as a program that needs nothing but the two libraries."""
import time

import numpy as np
import torch
from graphs.make import LEAF, NATIVE, Graph, Step, leaf_step, pruned
from graphs.oracle import Truth, compare, relearn
from graphs.run import VARIANTS, results


def verdict(graph, variant):
    """None if the graph is right, else words. An error counts if PyTorch has none."""
    got = results([graph], variant)[0]
    if isinstance(got, Exception):
        return f"{type(got).__name__}: {got}"
    found = compare(Truth(graph), got)
    return found and found[1]


def fails(graph, variant):
    if relearn(graph) is None:
        return False
    try:
        return verdict(graph, variant) is not None
    except (RuntimeError, IndexError, TypeError):  # PyTorch's
        return False


def with_step(graph, i, step):
    steps = list(graph.steps)
    steps[i] = step
    return pruned(Graph(steps, graph.outs, graph.loss, graph.seed))


def renamed(graph, old, new):
    """Step `new` in the place of step `old`."""
    def at(k):
        return new if k == old else k
    steps = [Step(s.op, s.kind, [at(k) for k in s.ins], s.ours, s.theirs, s.limits, s.data, s.fixed, s.grad)
             for s in graph.steps]
    for s, t in zip(graph.steps, steps):
        t.shape, t.dtype = s.shape, s.dtype
    return pruned(Graph(steps, [at(k) for k in graph.outs], graph.loss and tuple(map(at, graph.loss)), graph.seed))


def array_of(value):
    value = value.detach()
    return (value.float() if value.dtype == torch.bfloat16 else value).numpy()


def candidates(graph):
    """Smaller graphs, the much smaller ones first."""
    if graph.loss and graph.outs:
        yield pruned(Graph(graph.steps, [], graph.loss, graph.seed))
    if graph.loss:
        yield pruned(Graph(graph.steps, graph.outs, None, graph.seed))
    for i in graph.outs if len(graph.outs) > 1 else ():
        yield pruned(Graph(graph.steps, [i], None, graph.seed))
    values = relearn(graph)
    for i in reversed(range(len(graph.steps))):
        s = graph.steps[i]
        if s.kind != LEAF:
            fits = [k for k in s.ins if graph.steps[k].shape == s.shape and graph.steps[k].dtype == s.dtype]
            for k in fits:
                yield renamed(graph, i, k)
            yield with_step(graph, i, leaf_step(array_of(values[i]), s.dtype, "copy", grad=bool(graph.loss)))
    for i, s in enumerate(graph.steps):
        if s.kind == LEAF and not s.fixed:
            if s.grad and graph.loss:
                yield with_step(graph, i, leaf_step(s.data, s.dtype, "copy"))
            if not (s.data == 0).all() and not (s.data == 1).all():
                for plain in (np.zeros_like(s.data), np.ones_like(s.data)):
                    yield with_step(graph, i, leaf_step(plain, s.dtype, "copy", s.grad))
            if s.data.dtype.kind == "f" and not np.isfinite(s.data).all():
                finite = np.where(np.isfinite(s.data), s.data, 1).astype(s.data.dtype)
                yield with_step(graph, i, leaf_step(finite, s.dtype, "copy", s.grad))
            if not s.ours.startswith("Tensor({data}, dtype"):
                yield with_step(graph, i, leaf_step(s.data, s.dtype, "copy", s.grad))


def shrink(graph, variant, seconds=20):
    end, smaller = time.time() + seconds, True
    while smaller:
        smaller = False
        for g in candidates(graph):
            if time.time() > end:
                return graph
            if fails(g, variant):
                graph, smaller = g, True
                break
    relearn(graph)
    return graph


# ---- printing

def data_text(data):
    if data.size > 3 and len(set(map(str, data.reshape(-1).tolist()))) == 1:
        return f"np.full({data.shape}, {data.reshape(-1)[0].item()!r}, dtype={data.dtype.name!r})"
    shape = f".reshape({data.shape})" if data.ndim != 1 or not data.size else ""
    return f"np.array({data.reshape(-1).tolist()}, dtype={data.dtype.name!r}){shape}"


def program(graph, variant, words):
    device, jit, stepwise = VARIANTS[variant]
    lines = [f"# {line}" for line in f"seed {graph.seed}, {variant}: {words}".splitlines()]
    lines += ["import os", f"os.environ['TG_JIT'] = {jit!r}", "from math import inf, nan", "import numpy as np",
              "import torch", "import torch.nn.functional as F", "from teenygrad import Tensor, dtypes, from_dlpack",
              "from teenygrad.ops import Device", f"Device.DEFAULT = {device!r}", ""]
    lines += [f"d{i} = {data_text(s.data)}" for i, s in enumerate(graph.steps) if s.data is not None]
    for title, which, types, value in (("teenygrad", "ours", {}, "(%s.float() if %s.dtype is dtypes.bfloat16 else %s).numpy()"),
                                       ("PyTorch", "theirs", NATIVE, "%s.detach()%.0s%.0s")):
        lines.append(f"\n# {title}")
        for i, s in enumerate(graph.steps):
            lines.append(s.text(getattr(s, which), i, types))
            if stepwise and which == "ours":
                lines.append(f"v{i}.realize()")
        if graph.loss:
            lines.append(f"(v{graph.loss[0]} * v{graph.loss[1]}).sum().backward()")
        shown = [f"v{i}" for i in graph.outs] + [f"v{i}.grad" for i in graph.leaves()]
        lines += [f"print({title!r}, {name!r}, {value % (name, name, name)})" for name in shown]
    return "\n".join(lines) + "\n"
