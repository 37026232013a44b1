"""Graphs and how they are made. A Step is one line, as text for teenygrad and as text for PyTorch: {0}, {1} are its
operands, {out} is its result (a text without {out} is an expression), {float32} and so on are PyTorch's dtypes, which
are all float64 where the oracle computes in double precision. So a graph runs by exec, and is printed by joining lines.

A value is *same* when no rounding but that of its own dtype stands between it and the leaves: then every right answer has the
same bits. Moved elements and single additions are; sums only where no order of adding rounds; exp and its kind never.
What jumps (comparisons, argmax, casts to integers) is only given such values, as tests/graphs/facts.c explains."""
import random
from math import inf, nan

import numpy as np
import torch

FLOATS = ("float16", "bfloat16", "float32", "float64")
DTYPES = ("bool", "int8", "uint8", "int16", "int32", "int64") + FLOATS  # in the order of promotion
MOST = 4000  # elements of a value

# What a step does to *same*: MOVE, ARITH and MAX keep it, SUM keeps it where adding is exact, FUNC loses it, JUMP asks for
# it. The sign of a zero is promised through MOVE, ARITH and JUMP; SEES_SIGN are those that make an infinity of it.
MOVE, ARITH, MAX, SUM, FUNC, JUMP, LEAF = "move", "arith", "max", "sum", "func", "jump", "leaf"
SEES_SIGN = ("reciprocal", "rsqrt", "div", "div_number", "power", "power_of_tensors", "bitcast")


class Skip(Exception):
    """No operand fits, or PyTorch does not do this: another operation is chosen."""


class Step:
    def __init__(self, op, kind, ins, ours, theirs=None, limits=None, data=None, fixed=False, grad=False):
        self.op, self.kind, self.ins, self.limits = op, kind, tuple(ins), limits
        self.ours, self.theirs = ours, theirs or ours
        self.data, self.fixed, self.grad = data, fixed, grad  # of leaves; fixed: the values matter, an index for one
        self.shape = self.dtype = self.same = self.signed = None  # what learn() finds

    def text(self, which, i, types, ins=None):
        text = which if "{out}" in which else "{out} = " + which
        return text.format(*(ins or [f"v{k}" for k in self.ins]), out=f"v{i}", data=f"d{i}", **types)


class Graph:
    """Steps, the ones whose values are compared, and perhaps (loss, upstream): two of them whose product is the loss."""
    def __init__(self, steps, outs, loss=None, seed=0):
        self.steps, self.outs, self.loss, self.seed = steps, outs, loss, seed

    def leaves(self):
        return [i for i, s in enumerate(self.steps) if s.grad] if self.loss else []


def dtype_of(t):
    return str(t.dtype).split(".")[1]


NATIVE = {d: f"torch.{d}" for d in DTYPES}
DOUBLE = {d: "torch.float64" if d in FLOATS else f"torch.{d}" for d in DTYPES}
THEIRS = {"torch": torch, "F": torch.nn.functional, "np": np, "inf": inf, "nan": nan}


# ---- what is known of a value

def learn(step, inputs, value):
    """Fills in what is known of the step's result; False: the step must not be done with these operands."""
    step.shape, step.dtype = tuple(value.shape), dtype_of(value)
    ins = [s for s, _ in inputs]
    if step.kind == JUMP and not all(s.same for s in ins):
        return False
    if step.limits and not all(within(v, step.limits) for s, v in inputs if s.dtype != "bool" and not s.fixed):
        return False
    if step.kind in (SUM, FUNC) and not all(within(v, (-1e12, 1e12, True)) for s, v in inputs if s.dtype in FLOATS):
        return False  # in which order what overflows is nobody's promise
    if step.op in SEES_SIGN and not all(s.signed or bool((v != 0).all()) for s, v in inputs):
        return False
    step.same = all(s.same for s in ins)
    step.signed = all(s.signed for s in ins) and step.kind in (LEAF, MOVE, ARITH, JUMP)
    if step.dtype not in FLOATS:
        step.signed = True
        return step.same or not ins
    if step.kind == FUNC or step.kind == SUM and not adds_exactly([v for _, v in inputs]):
        step.same = False
    return True


def within(v, limits):
    """Whether all elements are finite and in the interval; with a third word in `limits`, infinities and NaN too."""
    v = v.double()
    inside = (v >= limits[0]) & (v <= limits[1])
    return bool((inside | ~v.isfinite() if len(limits) > 2 else inside).all())


def adds_exactly(values):
    """Whether products and sums of these numbers are exact in float32 in any order: small multiples of 1/8."""
    most, terms, grid = 1.0, 1, 1
    for v in values:
        v = v.detach().double()
        if not bool((v * 8 == (v * 8).floor()).all()):
            return False
        most *= max(1.0, v.abs().max().item()) if v.numel() else 1.0
        terms, grid = max(terms, v.numel()), grid * (1 if bool((v == v.floor()).all()) else 8)
    return most * terms * grid < 2 ** 23


# ---- leaves

INTS = {"int8": (-128, 127), "uint8": (0, 255), "int16": (-2 ** 15, 2 ** 15 - 1), "int32": (-2 ** 31, 2 ** 31 - 1),
        "int64": (-2 ** 63, 2 ** 63 - 1)}
SPECIAL = (inf, -inf, nan, 0.0, -0.0, 1.0, -1.0, 0.5)
EXTREME = {"float16": (65504.0, 6e-8), "bfloat16": (3.3895e38, 1e-38), "float32": (3.4028234e38, 1.2e-38),
           "float64": (1.7976931348623157e308, 2.3e-308)}


def numbers(rng, shape, dtype, style):
    """An array of values of that dtype; bfloat16, which numpy has not, as float32."""
    count = int(np.prod(shape))
    if dtype == "bool":
        return np.array([rng.random() < 0.5 for _ in range(count)], dtype=bool).reshape(shape)
    if dtype in INTS:
        low, high = INTS[dtype]
        small = range(0 if low == 0 else -4, 5)
        pool = small if style != "special" else [low, high, low + 1, high - 1, high // 2, *small]
        return np.array([rng.choice(pool) for _ in range(count)], dtype=dtype).reshape(shape)
    draw = {"grid": lambda: rng.randint(-24, 24) / 8, "real": lambda: rng.uniform(-2, 2),
            "whole": lambda: float(rng.randint(-3, 3)),
            "positive": lambda: rng.uniform(0.1, 2),
            "special": lambda: rng.choice(SPECIAL) if rng.random() < 0.4 else rng.randint(-24, 24) / 8,
            "extreme": lambda: rng.choice(SPECIAL + EXTREME[dtype]) if rng.random() < 0.4 else rng.uniform(-2, 2)}[style]
    values = torch.tensor([draw() for _ in range(count)], dtype=torch.float64).to(getattr(torch, dtype))
    return (values.float() if dtype == "bfloat16" else values).numpy().reshape(shape)


# Ways for an array to become a tensor; DTYPE and GRAD are filled in below.
WAYS = {"copy": "Tensor({data}, dtype=dtypes.DTYPE, requires_grad=GRAD)",
        "list": "Tensor({data}.tolist(), dtype=dtypes.DTYPE, requires_grad=GRAD)",
        "shared": "Tensor.from_numpy({data})",
        "strided": "Tensor(np.repeat({data}, 2, axis=-1)[..., ::2], requires_grad=GRAD)",
        "backwards": "Tensor({data}[::-1].copy()[::-1], requires_grad=GRAD)",
        "swapped": "Tensor({data}.astype({data}.dtype.newbyteorder()), requires_grad=GRAD)",
        "dlpack": "from_dlpack(torch.from_numpy({data}.copy()))"}


def leaf_step(data, dtype, way, grad=False, fixed=False):
    grad = grad and dtype in FLOATS
    if way in ("strided", "backwards") and not data.ndim or way == "list" and not data.size or dtype == "bfloat16" or \
            grad and way in ("shared", "dlpack"):
        way = "copy"
    ours = WAYS[way].replace("DTYPE", dtype).replace("GRAD", str(grad))
    theirs = "torch.tensor({data}).to({%s})" % dtype + (".requires_grad_()" if grad else "")
    return Step("leaf", LEAF, (), ours, theirs, data=data, fixed=fixed, grad=grad)


# ---- making

class Maker:
    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.seed, self.steps, self.values = seed, [], []
        self.names = dict(THEIRS)
        self.styles = self.rng.choice([["grid"], ["grid", "real"], ["real"], ["grid", "special"], ["whole", "special"],
                                       ["real", "positive"], ["real", "special", "extreme"]])
        self.grads = self.rng.random() < 0.5
        self.dtypes = self.rng.choice([DTYPES, ("float32",), ("float32", "bool", "int64"), ("float16", "float32"),
                                       ("bfloat16", "float32"), DTYPES[:6], FLOATS, ("float64", "int32", "bool")])

    # -- choosing

    def chance(self, p):
        return self.rng.random() < p

    def shape(self, low=0, high=4):
        if high > 0 and self.chance(0.08):  # longer than a vector, and no multiple of one
            low, high = min(low, 2), min(high, 2)
            sizes = [3, 8, 17, 33]
        else:
            sizes = [1, 2, 2, 3, 3, 4, 5] + ([0] if self.chance(0.05) else [])
        return tuple(self.rng.choice(sizes) for _ in range(self.rng.randint(low, high)))

    def dtype(self, among=DTYPES):
        return self.rng.choice([d for d in self.dtypes if d in among] or list(among))

    def leaf(self, shape, dtype, data=None, style=None, fixed=False):
        style = style or self.rng.choice(self.styles)
        data = numbers(self.rng, shape, dtype, style) if data is None else np.asarray(data).astype(dtype).reshape(shape)
        way = "copy" if self.chance(0.5) else self.rng.choice(list(WAYS))
        return self.add(leaf_step(data, dtype, way, grad=self.grads and self.chance(0.8), fixed=fixed))

    def index(self, shape, below, unique=None):
        """A leaf of indices: any numbers below `below`; unique=axis: no number twice along that axis."""
        dtype = self.rng.choice(["int32", "int64"])
        if unique is None:
            data = [self.rng.randrange(below) for _ in range(int(np.prod(shape)))]
        else:
            rows = np.prod(shape) // max(1, shape[unique])
            data = np.array([self.rng.sample(range(below), shape[unique]) for _ in range(int(rows))], dtype=np.int64)
            rest = shape[:unique] + shape[unique + 1:]
            data = np.moveaxis(data.reshape(*rest, shape[unique]), -1, unique)
        return self.leaf(shape, dtype, data=data, fixed=True)

    def pick(self, test=lambda s: True, dtypes=DTYPES, low=0, high=5, some=False, most=600):
        """A value for which all that holds: late ones rather than early ones, at times a new leaf."""
        fits = [i for i, s in enumerate(self.steps) if s.dtype in dtypes and low <= len(s.shape) <= high
                and np.prod(s.shape) <= most and not (some and 0 in s.shape) and not s.fixed and test(s)]
        if fits and not self.chance(0.12):
            return fits[-1] if self.chance(0.4) else self.rng.choice(fits)
        for _ in range(20):
            shape, dtype = self.shape(low, min(high, 4)), self.dtype(dtypes)
            s = Step("leaf", LEAF, (), "", "")
            s.shape, s.dtype, s.same, s.signed = shape, dtype, True, True
            if not (some and 0 in shape) and test(s):
                return self.leaf(shape, dtype)
        raise Skip

    def partner(self, shape, dtypes=DTYPES, test=lambda s: True):
        """A value of that shape, or a new leaf of it."""
        fits = [i for i, s in enumerate(self.steps) if s.shape == tuple(shape) and s.dtype in dtypes and not s.fixed and test(s)]
        return self.rng.choice(fits) if fits and self.chance(0.7) else self.leaf(tuple(shape), self.dtype(dtypes))

    def axis(self, i):
        n = len(self.steps[i].shape)
        if not n:
            raise Skip
        return self.rng.randrange(-n, n)

    def axes(self, i):
        """Some axes, as text: None, a number or a tuple."""
        n = len(self.steps[i].shape)
        if not n or self.chance(0.25):
            return None
        some = self.rng.sample(range(n), self.rng.randint(1, n))
        some = [a - n if self.chance(0.3) else a for a in some]
        return some[0] if len(some) == 1 and self.chance(0.5) else tuple(some)

    def number(self, dtype):
        """A Python number that every dtype like this one holds exactly."""
        if dtype in FLOATS:
            return self.rng.choice([0.5, -1.5, 2.0, 3, 1, 0, -1, 0.125, -2, -0.0])
        return self.rng.choice([0, 1, 2, 3, 5] + ([] if dtype in ("uint8", "bool") else [-1, -2]))

    # -- adding

    def add(self, step):
        """Tries the step with PyTorch and keeps it; Skip if that cannot be done."""
        i = len(self.steps)
        self.names[f"d{i}"] = step.data
        try:
            with torch.no_grad():
                exec(step.text(step.theirs, i, NATIVE).replace(".requires_grad_()", ""), self.names)
        except (RuntimeError, IndexError, TypeError, ValueError, OverflowError) as e:
            raise Skip from e
        value = self.names[f"v{i}"]
        if dtype_of(value) not in DTYPES or value.numel() > MOST or value.ndim > 6:
            raise Skip
        if self.grads and step.kind in (MAX, FUNC) and any(v.is_floating_point() and bool(v.isnan().any())
                                                           for v in map(self.values.__getitem__, step.ins)):
            raise Skip  # which slope a bend has at NaN is a habit
        if not learn(step, [(self.steps[k], self.values[k]) for k in step.ins], value):
            raise Skip
        self.steps.append(step)
        self.values.append(value)
        return i


def make(seed, ops, weights, steps=None):
    """The graph of this seed, of so many steps. ops: name -> function of a Maker that gives (kind, ins, ours, theirs, limits)."""
    g = Maker(seed)
    wanted, names, tries = steps or g.rng.randint(1, 12), list(ops), 0
    done = []
    while len(done) < wanted and tries < 100:
        tries += 1
        name = g.rng.choices(names, weights)[0]
        try:
            kind, ins, ours, *rest = ops[name](g)
            done.append(g.add(Step(name, kind, ins, ours, *rest)))
        except Skip:
            continue
    used = {k for s in g.steps for k in s.ins}
    outs = [i for i in done if i not in used or g.chance(0.2)]
    loss = None
    real = [i for i in done if g.steps[i].dtype in FLOATS]
    if g.grads and real:
        at = g.rng.choice(real[-3:])
        loss = (at, g.leaf(g.steps[at].shape, g.steps[at].dtype, style="grid"))
        g.steps[loss[1]].grad = False
        g.steps[loss[1]].ours = WAYS["copy"].replace("DTYPE", g.steps[at].dtype).replace("GRAD", "False")
        g.steps[loss[1]].theirs = g.steps[loss[1]].theirs.replace(".requires_grad_()", "")
    return pruned(Graph(g.steps, outs, loss, seed))


def pruned(graph):
    """The graph without the steps that nothing needs."""
    needed, todo = set(), list(graph.outs) + list(graph.loss or ())
    while todo:
        i = todo.pop()
        if i not in needed:
            needed.add(i)
            todo += graph.steps[i].ins
    new = {old: i for i, old in enumerate(sorted(needed))}
    steps = []
    for old in sorted(needed):
        s = graph.steps[old]
        t = Step(s.op, s.kind, [new[k] for k in s.ins], s.ours, s.theirs, s.limits, s.data, s.fixed, s.grad)
        t.shape, t.dtype, t.same, t.signed = s.shape, s.dtype, s.same, s.signed
        steps.append(t)
    loss = tuple(new[i] for i in graph.loss) if graph.loss else None
    return Graph(steps, [new[i] for i in graph.outs], loss, graph.seed)
