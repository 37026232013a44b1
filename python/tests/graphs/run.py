"""teenygrad's values of graphs. A graph advances as a generator that yields what it wants computed before it goes on; so many
advance side by side, and one schedule (with TG_JIT=sync one run of the compiler) has the same step of all of them."""
import os
from math import inf, nan

import numpy as np
import torch

from teenygrad import Tensor, dtypes, from_dlpack
from teenygrad.ops import Device

OURS = {"Tensor": Tensor, "dtypes": dtypes, "Device": Device, "from_dlpack": from_dlpack, "np": np, "torch": torch,
        "inf": inf, "nan": nan}

# name -> (device, TG_JIT, every intermediate realized)
VARIANTS = {"CPU, lazily": ("CPU", "off", False), "CPU, its plan found": ("CPU", "off", False),
            "CPU, step by step": ("CPU", "off", True),
            "REF, lazily": ("REF", "off", False), "REF, step by step": ("REF", "off", True),
            "generated C, lazily": ("CPU", "sync", False), "generated C, step by step": ("CPU", "sync", True)}


def host(t):
    """The tensor as one of PyTorch's, with its bits."""
    if t is None:
        return None
    if t.dtype is dtypes.bfloat16:
        return torch.from_numpy(t.bitcast(dtypes.int16).numpy()).view(torch.bfloat16)
    return torch.from_numpy(np.array(t.numpy()))


def play(graph, stepwise):
    names = dict(OURS)
    for i, s in enumerate(graph.steps):
        names[f"d{i}"] = s.data
        exec(s.text(s.ours, i, {}), names)
        if stepwise:
            yield [names[f"v{i}"]]
    if graph.loss:
        at, upstream = graph.loss
        if names[f"v{at}"].requires_grad:
            (names[f"v{at}"] * names[f"v{upstream}"]).sum().backward()
    grads = [names[f"v{i}"].grad for i in graph.leaves()]
    outs = [names[f"v{i}"] for i in graph.outs]
    yield [t for t in (outs + grads if graph.seed % 2 else grads + outs) if t is not None]
    return [host(t) for t in outs + grads]


def results(graphs, variant):
    """For each graph its values, or the exception."""
    device, os.environ["TG_JIT"], stepwise = VARIANTS[variant]
    Device.DEFAULT = device
    done, running = [None] * len(graphs), {n: play(g, stepwise) for n, g in enumerate(graphs)}
    while running:
        wanted = {}
        for n, player in list(running.items()):
            try:
                wanted[n] = next(player)
            except StopIteration as end:
                done[n] = end.value
            except Exception as e:
                done[n] = e
            if done[n] is not None:
                del running[n]
        try:
            Tensor.corealize([t for ts in wanted.values() for t in ts])
        except Exception:  # one of them: each alone
            for n, ts in wanted.items():
                try:
                    Tensor.corealize(ts)
                except Exception as e:
                    done[n] = e
                    del running[n]
    Device.DEFAULT = "CPU"
    return done
