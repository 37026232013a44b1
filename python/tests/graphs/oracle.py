"""What is right. PyTorch computes a graph in its own dtypes, and in float64 with each step's result rounded to its dtype;
teenygrad's result may be near either. How near is found by computing in float64 a few times more with each operand, result
and gradient that may be rounded multiplied by a number near 1 (Monte Carlo arithmetic; Parker 1997): at most ten times the
largest move of this element, or of the tensor in the mean, and a few units in the last place. Where a value is *same*
(make.py) all bits must agree. An element whose kind (finite, infinite, NaN) rounding alone can change proves nothing."""
import contextlib
import re

import torch
from graphs.make import DOUBLE, FLOATS, NATIVE, THEIRS, learn

NOISES = 4
EPSILON = {d: torch.finfo(getattr(torch, d)).eps for d in FLOATS}
TINY = {"float16": 2.0 ** -23, "bfloat16": 1e-36, "float32": 1e-36, "float64": 1e-300}

# Formulas of several terms in one step, where no noise gets. What is left where equal terms cancel is held against the
# largest result; and PyTorch's slopes, in one piece, are 0 where a product of slopes is 0 times infinity.
FORMULAS = ("softmax", "log_softmax", "layernorm", "attention", "std", "std_population", "batchnorm", "sparse_crossentropy",
            "binary_crossentropy", "gelu", "quick_gelu", "silu", "swish", "mish", "softplus", "softplus_beta", "softsign", "elu",
            "elu_alpha", "celu", "celu_alpha", "hardswish", "tanh", "sigmoid", "sin", "cos")
DIVIDES = ("layernorm", "std", "std_population")  # by a deviation, which may be small


class Noise(torch.autograd.Function):
    """x times numbers near 1, and so its gradient, which is rounded to the dtype too."""
    @staticmethod
    def forward(ctx, x, dtype, forward, backward, random):
        ctx.dtype, ctx.size, ctx.random = dtype, backward, random
        return shaken(x, dtype, forward, random)

    @staticmethod
    def backward(ctx, grad):
        return shaken(grad, ctx.dtype, ctx.size, ctx.random), None, None, None, None


def shaken(x, dtype, size, random):
    if not size or not x.numel():
        return x.clone()
    sign = torch.randint(-1, 2, x.shape, generator=random).double()
    small = 2.0 ** -24 if dtype == "float16" else 0.0
    return x * (1 + sign * size) + sign * small * ((x != 0) & x.isfinite())


def random_sign(random):
    return torch.randint(-1, 2, (), generator=random).double()


def lost_in_mean(x, axis):
    """How far a mean that is rounded moves all that is divided by the deviation from it."""
    apart = (x - x.mean(axis, keepdim=True)).abs().amax(axis, keepdim=True)
    moved = EPSILON["float32"] * x.abs().amax(axis, keepdim=True) / apart
    return torch.where((apart > 0) & moved.isfinite(), moved, 0)


@contextlib.contextmanager
def default_dtype(dtype):
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


def step_values(graph, noise=None):
    """Every step's value, in the dtypes of the graph (noise None) or in float64 (0), with noise of that seed (1 ...)."""
    double, names, values = noise is not None, dict(THEIRS), []
    random = torch.Generator().manual_seed(noise or 0)
    for i, s in enumerate(graph.steps):
        names[f"d{i}"] = s.data
        if noise:  # each operand apart, the same value twice too
            for n, k in enumerate(s.ins):
                dtype = graph.steps[k].dtype
                size = 0 if s.same or dtype not in FLOATS else 2 * EPSILON["float64" if dtype == "float64" else "float32"]
                names[f"n{n}"] = Noise.apply(values[k], dtype, size, EPSILON[dtype], random) if dtype in FLOATS else values[k]
        operands = [f"n{n}" for n in range(len(s.ins))] if noise else None
        exec(s.text(s.theirs, i, DOUBLE if double else NATIVE, operands), names)
        value = names[f"v{i}"]
        if double and s.dtype in FLOATS and s.kind != "leaf":
            if noise and s.op == "layernorm" and value.numel():
                axis = int(re.search(r"movedim\((-?\d+), -1\)", s.theirs)[1])
                value = value + random_sign(random) * lost_in_mean(values[s.ins[0]].detach(), axis)
            if noise:
                value = Noise.apply(value, s.dtype, 0 if s.same else EPSILON[s.dtype], EPSILON[s.dtype], random)
            value = value.to(getattr(torch, s.dtype)).double()
        values.append(value)
        names[f"v{i}"] = value
    return values


def compute(graph, noise=None):
    """The compared values, then the gradients of the leaves (None where there is none)."""
    with default_dtype(torch.float32 if noise is None else torch.float64):
        values = step_values(graph, noise)
        results = [values[i].detach() for i in graph.outs]
        if graph.loss:
            at, upstream = graph.loss
            if values[at].requires_grad:
                (values[at] * values[upstream]).sum().backward()
            results += [values[i].grad for i in graph.leaves()]
        return results


class Truth:
    """PyTorch's values of a graph; those with noise when they are asked for."""
    def __init__(self, graph):
        self.graph = graph
        self.native, self.double = compute(graph), compute(graph, 0)
        self.noisy = None

    def largest(self):
        """The largest finite number of all results, 1 at least."""
        return max([1.0] + [r[r.isfinite()].abs().max().item() for r in self.double
                            if r is not None and r.is_floating_point() and bool(r.isfinite().any())])

    def noise(self, n):
        if self.noisy is None:
            self.noisy = [compute(self.graph, k + 1) for k in range(NOISES)]
        return [r[n] for r in self.noisy]


# ---- comparing

def kind(x):
    """0 finite, 1 and 2 the infinities, 3 NaN."""
    return torch.where(x.isnan(), 3, torch.where(x.isinf(), torch.where(x > 0, 1, 2), 0))


def equal(a, b, signed):
    same = (a == b) | (a.isnan() & b.isnan())
    return same & ((a != 0) | (a.signbit() == b.signbit())) if signed else same


def bad_elements(truth, n, ours, dtype, same, signed):
    """Which elements of result n are wrong. Of a gradient that is not finite the kind is left open: it may be
    multiplied by 0 on the way where a formula in one piece does not."""
    native, double = truth.native[n].double(), truth.double[n].double()
    if dtype not in FLOATS:  # the bits of a float may be either's
        return (truth.native[n] != ours) & (truth.double[n] != ours)
    ours = ours.double()
    if same:
        return ~(equal(ours, native, signed) | equal(ours, double, signed))
    right = equal(ours, native, False) | equal(ours, double, False)
    if bool(right.all()):
        return ~right
    runs = torch.stack([r.double() for r in truth.noise(n)])
    wobbly = (kind(runs) != kind(double)).any(0) | (kind(native) != kind(double))
    moves = torch.where(wobbly, 0.0, (runs - double).abs().amax(0)).nan_to_num(0.0, 0.0, 0.0)
    calm = moves[double.isfinite() & ~wobbly]
    mean = calm.square().mean().sqrt() if calm.numel() else torch.tensor(0.0)
    units = 3 if EPSILON[dtype] > 1e-4 else 8
    bound = 10 * torch.maximum(moves, mean) + units * EPSILON[dtype] * double.abs() + TINY[dtype]
    gradient = n >= len(truth.graph.outs)
    formula = any(s.op in FORMULAS for s in truth.graph.steps)
    if formula:
        small = EPSILON[dtype] if gradient else min(EPSILON[dtype], EPSILON["float32"])
        steep = 40 if gradient and any(s.op in DIVIDES for s in truth.graph.steps) else 1
        bound += units * steep * small * truth.largest()
    near = ((ours - double).abs() <= bound) | ((ours - native).abs() <= bound)
    edge = ours.isinf() & double.isfinite() & (double.abs() > 0.9 * torch.finfo(getattr(torch, dtype)).max)
    if gradient:
        edge |= ~ours.isfinite() & ~double.isfinite()
        if formula:
            edge |= ours.isnan()
        if any(s.op == "attention" for s in truth.graph.steps):  # a masked score has the slope 0, not 0 times NaN
            edge |= double.isnan()
    return ~(right | near | wobbly & (kind(ours) != 0) | wobbly & double.isfinite().logical_not() | edge)


def compare(truth, ours):
    """None, or what is wrong with teenygrad's results: (which result, words)."""
    graph = truth.graph
    for n, got in enumerate(ours):
        grad = n >= len(graph.outs)
        i = graph.leaves()[n - len(graph.outs)] if grad else graph.outs[n]
        step, want = graph.steps[i], truth.native[n]
        if grad and (want is None or truth.double[n] is None):
            continue
        what = f"the gradient of v{i}" if grad else f"v{i} ({step.op})"
        if got is None:
            return n, f"{what} is not there"
        if got.dtype != want.dtype or got.shape != want.shape:
            return n, f"{what} is {got.dtype} {tuple(got.shape)}, not {want.dtype} {tuple(want.shape)}"
        bad = bad_elements(truth, n, got, step.dtype, step.same and not grad, step.signed)
        if bool(bad.any()):
            at = tuple(bad.nonzero()[0].tolist())
            return n, f"{what}, element {list(at)}: {got[at].item()!r}, not {want[at].item()!r} " \
                      f"(in float64 {truth.double[n][at].item()!r}); {int(bad.sum())} of {bad.numel()} differ"
    return None


def relearn(graph):
    """Computes anew what is known of each step; False if the graph is none that proves something."""
    names, values = dict(THEIRS), []
    try:
        with torch.no_grad():
            for i, s in enumerate(graph.steps):
                names[f"d{i}"] = s.data
                exec(s.text(s.theirs, i, NATIVE).replace(".requires_grad_()", ""), names)
                values.append(names[f"v{i}"])
                if not learn(s, [(graph.steps[k], values[k]) for k in s.ins], values[i]):
                    return None
    except (RuntimeError, IndexError, TypeError, ValueError, OverflowError):
        return None
    return values


