#!/usr/bin/env python3
"""Makes values.c: what PyTorch says that every operation of the library gives.

    python3 -m venv venv && venv/bin/pip install torch==2.13.0 numpy
    venv/bin/python tests/oracle/make_values.py

A case is an operation, its inputs and a few integers. Each runs here in
float64: forward, and backward from the loss ((out + 1)^2 * w).mean() with the
uneven weights w[i] = 1 + (i % 7) / 4. Values go to values.c with 13 digits; the
inputs do not, as tests/oracle.c makes the same ones from the same formula. One
line OP(name, ...) in tests/test_ops.c runs all cases `name/...`.
"""
import math
import os
import numpy as np
import torch
import torch.nn.functional as TF

torch.set_num_threads(1)
torch.manual_seed(0)
MASK = (1 << 64) - 1
cases, values = [], []


# ---- inputs: kind (f float, r whole float, i int64, b bool, x given), shape,
# range, and view: how the tensor is seen (t transposed, f flipped, s cut out of
# a larger one, e expanded along axis 0).
class In:
    def __init__(self, kind, shape, lo, hi, view="-", given=None):
        self.kind, self.shape, self.lo, self.hi, self.view = kind, tuple(shape), lo, hi, view
        self.given = given

    def leaf_shape(self):
        s = self.shape
        if self.view == "t": return s[::-1]
        if self.view == "s": return tuple(d + 2 for d in s)
        if self.view == "e": return (1,) + s[1:]
        return s


def F(shape, lo=-2, hi=2, view="-"): return In("f", shape, lo, hi, view)
def R(shape, lo=-3, hi=4, view="-"): return In("r", shape, lo, hi, view)
def I(shape, lo=0, hi=4, view="-"): return In("i", shape, lo, hi, view)
def B(shape, view="-"): return In("b", shape, 0, 2, view)
def X(given, shape=None): return In("x", (len(given),) if shape is None else shape, 0, 0, "-", given)
def XI(given, shape=None): return In("y", (len(given),) if shape is None else shape, 0, 0, "-", given)


def noise(number, i):
    """SplitMix64 of the input's number and the element's: 10 bits."""
    z = (i * 0x9E3779B97F4A7C15 + (number + 1) * 0xD1B54A32D192ED03) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return (z ^ (z >> 31)) >> 54


def leaf(number, x):
    shape = x.leaf_shape()
    if x.given is not None:
        dtype = torch.int64 if x.kind == "y" else torch.float64
        return torch.tensor(x.given, dtype=dtype).reshape(shape)
    n = math.prod(shape)
    k = np.array([noise(number, i) for i in range(n)], dtype=np.float64)
    v = x.lo + (x.hi - x.lo) * k / 1024
    if x.kind != "f": v = np.floor(v)
    t = torch.from_numpy(v).reshape(shape)
    if x.kind == "i": t = t.to(torch.int64)
    if x.kind == "b": t = t != 0
    return t


def seen(x, t):
    if x.view == "t": return t.permute(*range(t.dim() - 1, -1, -1))
    if x.view == "f": return t.flip(tuple(range(t.dim())))
    if x.view == "s": return t[tuple(slice(1, d - 1) for d in t.shape)]
    if x.view == "e": return t.expand(x.shape)
    return t


DTYPES = {torch.float64: "f", torch.int64: "i", torch.bool: "b"}


def case(name, inputs, run, args=(), grad=True, half=True, check=True):
    """One case. run(args, *inputs). half: also in 16 bits; check: tg_gradcheck."""
    args = list(args)
    leaves = [leaf(n, x) for n, x in enumerate(inputs)]
    for t in leaves: t.requires_grad_(grad and t.dtype == torch.float64)
    out = run(args, *[seen(x, t) for x, t in zip(inputs, leaves)])
    grads = []
    if grad:
        n = out.numel()
        w = (1 + (torch.arange(n, dtype=torch.float64) % 7) / 4).reshape(out.shape)
        loss = ((out + 1).square() * w).sum() / max(n, 1)
        wanted = [t for t in leaves if t.requires_grad]
        got = torch.autograd.grad(loss, wanted, allow_unused=True) if loss.requires_grad else [None] * len(wanted)
        grads = [torch.zeros_like(t) if g is None else g for t, g in zip(wanted, got)]
    at = len(values)
    given = []
    for x in inputs:
        given.append(len(values))
        if x.given is not None: values.extend(float(v) for v in x.given)
    start = len(values)
    values.extend(out.detach().double().flatten().tolist())
    for g in grads: values.extend(g.double().flatten().tolist())
    number = sum(1 for c in cases if c[0] == name)
    flags = ("g" if grad else "") + ("h" if half else "") + ("c" if check and grad else "")
    cases.append((name, number, args, inputs, given, tuple(out.shape), DTYPES[out.dtype], start, flags))
    assert len(args) <= 12 and len(inputs) <= 6 and out.dim() <= 7, name


# ---- unary: every shape that matters, each kind of view, kinks, extremes
EXTREME = [math.nan, math.inf, -math.inf, 1e30, -1e30, 100, -100, 30, -30, 10, -10, 1e-5, -1e-5, 0.0, -0.0]
KINKS = [-6, -4, -3, -2, -1, -0.5, 0, 0.5, 1, 2, 3, 4, 6]


def unary(name, run, lo=-2, hi=2, args=((),), kinks=True, extreme=EXTREME, half=True):
    for a in args:
        f = lambda a, x: run(a, x)
        for shape, view in [((), "-"), ((1,), "-"), ((0, 3), "-"), ((7,), "-"), ((3, 5), "t"),
                            ((2, 3, 5), "f"), ((3, 4), "s"), ((3, 4), "e"), ((37,), "-")]:
            case(name, [F(shape, lo, hi, view)], f, a, half=half)
        if kinks: case(name, [X([float(k) for k in KINKS])], f, a, check=False, half=False)
        if extreme: case(name, [X(extreme)], f, a, grad=False, half=False)


q = lambda n: n / 4  # options that are not whole travel as quarters
POSITIVE = [math.nan, math.inf, 1e30, 100, 1, 1e-5, 0.0]
unary("neg", lambda a, x: -x)
unary("log", lambda a, x: x.log(), 0.1, 4, kinks=False, extreme=POSITIVE + [-1.0])
unary("log2", lambda a, x: x.log2(), 0.1, 4, kinks=False, extreme=POSITIVE + [-1.0])
unary("exp", lambda a, x: x.exp())
unary("exp2", lambda a, x: x.exp2())
unary("relu", lambda a, x: x.relu())
unary("sigmoid", lambda a, x: x.sigmoid())
SMALL = [math.nan, math.inf, -math.inf, 100, -100, 1000.5, -1000.5, 30, -30, 1e-5, -1e-5, 0.0, -0.0]
unary("sin", lambda a, x: x.sin(), -7, 7, extreme=SMALL)
unary("cos", lambda a, x: x.cos(), -7, 7, extreme=SMALL)
unary("tan", lambda a, x: x.tan(), -1.25, 1.25, kinks=False, extreme=SMALL)
unary("sqrt", lambda a, x: x.sqrt(), 0.1, 4, kinks=False, extreme=POSITIVE + [-1.0])
unary("rsqrt", lambda a, x: x.rsqrt(), 0.1, 4, kinks=False, extreme=POSITIVE + [-1.0])
unary("trunc", lambda a, x: x.trunc(), -4, 4)
unary("ceil", lambda a, x: x.ceil(), -4, 4)
unary("floor", lambda a, x: x.floor(), -4, 4)
unary("square", lambda a, x: x.square(), extreme=EXTREME[:3] + EXTREME[5:])
unary("clip", lambda a, x: x.clip(q(a[0]), q(a[1])), -3, 3, args=[(-4, 8), (1, 2)])
unary("abs", lambda a, x: x.abs())
unary("sign", lambda a, x: x.sign())
unary("reciprocal", lambda a, x: x.reciprocal(), 0.3, 3, kinks=False)
unary("elu", lambda a, x: TF.elu(x, q(a[0])), args=[(4,), (2,)])
unary("celu", lambda a, x: TF.celu(x, q(a[0])), args=[(4,), (6,)])
unary("swish", lambda a, x: TF.silu(x))
unary("silu", lambda a, x: TF.silu(x))
unary("relu6", lambda a, x: TF.relu6(x), -3, 8)
unary("hardswish", lambda a, x: TF.hardswish(x), -4, 4)
unary("tanh", lambda a, x: x.tanh())
unary("sinh", lambda a, x: x.sinh(), extreme=EXTREME[:3] + EXTREME[7:])
unary("cosh", lambda a, x: x.cosh(), extreme=EXTREME[:3] + EXTREME[7:])
unary("atanh", lambda a, x: x.atanh(), -0.9, 0.9, kinks=False, extreme=[math.nan, 0.0, 1.0, -1.0, 0.5, 1e-5, 2.0])
unary("asinh", lambda a, x: x.asinh(), extreme=[math.nan, math.inf, 0.0, 100, -100, 10, -10, 1e-3])
unary("acosh", lambda a, x: x.acosh(), 1.1, 4, kinks=False, extreme=[math.nan, math.inf, 1.0, 100, 10, 0.5])
unary("hardtanh", lambda a, x: TF.hardtanh(x, q(a[0]), q(a[1])), args=[(-4, 4), (-2, 8)])
unary("gelu", lambda a, x: TF.gelu(x, approximate="tanh"))
unary("quick_gelu", lambda a, x: x * (1.702 * x).sigmoid())
unary("leakyrelu", lambda a, x: TF.leaky_relu(x, q(a[0])), args=[(1,), (-2,)])
unary("mish", lambda a, x: TF.mish(x))
unary("softplus", lambda a, x: TF.softplus(x, q(a[0]), 1e9), args=[(4,), (8,), (1,)])
unary("softsign", lambda a, x: TF.softsign(x), extreme=EXTREME[3:])
unary("cast_float", lambda a, x: x)
unary("contiguous", lambda a, x: x)
unary("contiguous_backward", lambda a, x: x)

# ---- binary and ternary
PAIRS = [((), ()), ((), (3, 4)), ((3, 4), ()), ((5,), (5,)), ((3, 1), (1, 4)), ((2, 3, 4), (4,)),
         ((2, 1, 4), (3, 1)), ((1,), (2, 3)), ((0, 3), (1, 3)), ((3, 0), (1, 1)), ((0,), ()), ((4, 1, 2, 1), (3, 1, 5))]
VIEWS = [("t", "-"), ("f", "t"), ("s", "f"), ("e", "s")]


def binary(name, run, make=F, a=(-2, 2), b=(-2, 2), grad=True, half=True, check=True, edges=None):
    for s, r in PAIRS: case(name, [make(s, *a), make(r, *b)], run, grad=grad, half=half, check=check)
    for v, w in VIEWS:
        case(name, [make((3, 5), *a, v), make((3, 5), *b, w)], run, grad=grad, half=half, check=check)
    if edges:
        x = [p for p in edges for _ in edges]
        y = [p for _ in edges for p in edges]
        case(name, [X(x), X(y)], run, grad=False, half=False)


E = [math.nan, math.inf, -math.inf, 0.0, -0.0, 1.0, -1.0, 2.5, -2.0, 3.0]
binary("add", lambda a, x, y: x + y, edges=E)
binary("sub", lambda a, x, y: x - y, edges=E)
binary("mul", lambda a, x, y: x * y, edges=E)
binary("div", lambda a, x, y: x / y, b=(0.5, 3), edges=E)
binary("pow", lambda a, x, y: x ** y, a=(0.2, 3), edges=E)
binary("maximum", lambda a, x, y: torch.maximum(x, y), edges=E)
binary("minimum", lambda a, x, y: torch.minimum(x, y), edges=E)
binary("maximum", lambda a, x, y: torch.maximum(x, y), make=R, a=(0, 3), b=(0, 3), check=False)
binary("minimum", lambda a, x, y: torch.minimum(x, y), make=R, a=(0, 3), b=(0, 3), check=False)
for n in ["lt", "gt", "ge", "le", "ne", "eq"]:
    binary(n, lambda a, x, y, n=n: getattr(torch, n)(x, y), make=R, a=(0, 3), b=(0, 3), grad=False, edges=E)

# With a number on either side; [0]: the number in quarters.
ZOO = [F(()), F((3, 5), -2, 2, "t"), F((0, 2)), R((7,), -2, 3)]
for name, run in [("add", lambda x, y: x + y), ("sub", lambda x, y: x - y), ("mul", lambda x, y: x * y),
                  ("maximum", torch.maximum), ("minimum", torch.minimum)]:
    for k in (10, -4, 0):
        for x in ZOO:
            c = k == 10
            case(name + "_number", [x], lambda a, x: run(x, torch.tensor(q(a[0])).double()), [k], check=c)
            case("number_" + name, [x], lambda a, x: run(torch.tensor(q(a[0])).double(), x), [k], check=c)
for k in (10, -4, 2):
    for x in ZOO: case("div_number", [x], lambda a, x: x / q(a[0]), [k])
    case("number_div", [F((3, 5), 0.5, 3, "f")], lambda a, x: q(a[0]) / x, [k])
for k in (10, -4, 0, 4, 8, 12, 2):
    case("pow_number", [F((3, 5), 0.3, 3)], lambda a, x: x ** q(a[0]), [k])
for k in (0, 4, 8, 12):
    case("pow_number", [X([-2.0, -1.0, -0.5, 0.0, 0.5, 2.0])], lambda a, x: x ** q(a[0]), [k], half=False, check=False)
for k in (10, 4, 1):
    case("number_pow", [F((3, 5))], lambda a, x: q(a[0]) ** x, [k])
for n in ["lt", "gt", "ge", "le", "ne", "eq"]:
    case(n + "_number", [R((3, 5), 0, 3)], lambda a, x: getattr(torch, n)(x, q(a[0])), [4], grad=False)
    case("number_" + n, [R((3, 5), 0, 3)], lambda a, x: getattr(torch, n)(torch.tensor(q(a[0])).double(), x), [4], grad=False)
for s, r in PAIRS:
    case("where", [B(np.broadcast_shapes(s, r)), F(s), F(r)], lambda a, c, x, y: torch.where(c, x, y))
case("where", [B((3, 1)), F((1, 4)), F((2, 1, 1))], lambda a, c, x, y: torch.where(c, x, y))
case("where", [B((3, 5), "t"), F((3, 5), -2, 2, "f"), F((3, 5), -2, 2, "s")], lambda a, c, x, y: torch.where(c, x, y))
case("where_float", [R((3, 5), 0, 3), F((3, 5)), F((5,))], lambda a, c, x, y: torch.where(c != 0, x, y), check=False)
case("where_number", [B((3, 5)), F((3, 5))], lambda a, c, x: torch.where(c, x, 2.5))
case("number_where", [B((3, 5)), F((3, 5))], lambda a, c, x: torch.where(c, 2.5, x))
case("where_numbers", [B((3, 5)), F((3, 5))], lambda a, c, x: torch.where(c, 2.5, -1.0) * x, half=False)

# ---- reduce: args = keepdim, axes (none: all)
AXES = {0: [[]], 1: [[], [0], [-1]], 2: [[], [0], [1], [-2], [0, 1]],
        3: [[], [0], [1], [2], [-1, 0], [0, 1, 2]], 4: [[], [1], [3], [0, 2], [-1, -2, 1]]}
SHAPES = [((), "-"), ((1,), "-"), ((7,), "f"), ((3, 5), "-"), ((5, 3), "t"), ((3, 4, 5), "s"), ((2, 3, 2, 3), "e"),
          ((13, 17), "-")]


def reduce(name, run, make=F, shapes=SHAPES, zero=(), lo=-2, hi=2, check=True, extra=(), half=True):
    for shape, view in list(shapes) + [(s, "-") for s in zero]:
        for axes in AXES[len(shape)]:
            if 0 in shape and name in ("max", "min"):  # only over axes with elements
                if not axes or any(shape[x] == 0 for x in axes): continue
            for keep in (0, 1):
                case(name, [make(shape, lo, hi, view)], run, [keep, *extra, *axes], check=check, half=half)


over = lambda a, x: tuple(a[1:]) if len(a) > 1 else tuple(range(x.dim()))
ZERO = [(0,), (0, 3), (3, 0), (2, 0, 3)]
reduce("sum", lambda a, x: x.sum(over(a, x), keepdim=bool(a[0])) if x.dim() else x.sum(), zero=ZERO)
reduce("mean", lambda a, x: x.mean(over(a, x), keepdim=bool(a[0])) if x.dim() else x.mean(), zero=ZERO, check=False)
reduce("max", lambda a, x: x.amax(over(a, x), keepdim=bool(a[0])) if x.dim() else x.amax(), zero=ZERO)
reduce("min", lambda a, x: x.amin(over(a, x), keepdim=bool(a[0])) if x.dim() else x.amin(), zero=ZERO)
reduce("max", lambda a, x: x.amax(over(a, x), keepdim=bool(a[0])) if x.dim() else x.amax(), make=R, check=False)
reduce("min", lambda a, x: x.amin(over(a, x), keepdim=bool(a[0])) if x.dim() else x.amin(), make=R, check=False)
for e in ([math.nan, 1.0, math.inf], [-math.inf, -math.inf], [1.0, math.nan], [-1.0, -2.0, -1e30]):
    for n in ("amax", "amin", "sum"):
        case(n.replace("am", "m"), [X(e)], lambda a, x: getattr(x, n)(), [0], grad=False, half=False)
TWO = [((7,), "f"), ((3, 5), "-"), ((5, 3), "t"), ((3, 4, 5), "s"), ((2, 3, 2, 3), "-")]
reduce("std", lambda a, x: x.std(tuple(a[2:]) or None, correction=a[1], keepdim=bool(a[0])), shapes=TWO, extra=(1,))
reduce("std", lambda a, x: x.std(tuple(a[2:]) or None, correction=a[1], keepdim=bool(a[0])), shapes=TWO, extra=(0,))
for name, run in [("sum", lambda a, x: x.sum(tuple(a[1:]) or None)), ("mean", lambda a, x: x.mean(tuple(a[1:]) or None)),
                  ("max", lambda a, x: x.amax(tuple(a[1:]) or tuple(range(x.dim()))))]:
    for axes in ([], [0], [1]): case(name, [F((3, 1031))], run, [0, *axes], check=False)
for name in ("softmax", "log_softmax"):
    for shape, view in [((), "-"), ((1,), "-"), ((7,), "-"), ((3, 5), "-"), ((5, 3), "t"), ((2, 3, 4), "s"),
                        ((0, 3), "-"), ((3, 0), "-"), ((3, 131), "-")]:
        for axis in [-1, *range(len(shape))]:
            case(name, [F(shape, -4, 4, view)], lambda a, x: getattr(x, name)(a[0]), [axis], check=math.prod(shape) < 70)
    case(name, [X([1e4, 1e4 - 1, -1e4])], lambda a, x: getattr(x, name)(a[0]), [0], check=False, half=False)
    case(name, [X([-math.inf, 1.0, 2.0])], lambda a, x: getattr(x, name)(a[0]), [0], grad=False, half=False)


def argmax(a, x, sign):  # args: keepdim, then the axis or nothing; the first of equal ones
    v = (sign * x.detach()).numpy()
    if len(a) == 1: return torch.tensor(np.argmax(v).reshape([1] * v.ndim if a[0] else []))
    r = np.argmax(v, a[1])
    return torch.tensor(np.expand_dims(r, a[1]) if a[0] else r)


for name, sign in (("argmax", 1), ("argmin", -1)):
    for make in (F, R):
        for shape, view in [((), "-"), ((1,), "-"), ((7,), "f"), ((3, 5), "-"), ((5, 3), "t"), ((2, 3, 4), "s"), ((3, 0, 2), "-"), ((131,), "-")]:
            for axis in [[], *[[d] for d in range(-1, len(shape))]]:
                if shape == () and axis: continue
                if 0 in shape and (not axis or shape[axis[0]] == 0): continue
                for keep in (0, 1):
                    case(name, [make(shape, -3, 4, view)], lambda a, x: argmax(a, x, sign), [keep, *axis], grad=False)
for shape, view in [((), "-"), ((1,), "-"), ((7,), "f"), ((3, 5), "-"), ((5, 3), "t"), ((2, 3, 4), "s"), ((0,), "-"),
                    ((3, 0), "-"), ((3, 131), "-")]:
    for axis in [-1, *range(len(shape))]:
        case("cumsum", [F(shape, -2, 2, view)], lambda a, x: x.cumsum(a[0]), [axis], check=math.prod(shape) < 70)
for name in ("triu", "tril"):
    for shape, view in [((3, 3), "-"), ((3, 5), "t"), ((5, 3), "s"), ((2, 3, 4), "f"), ((0, 3), "-"), ((1, 1), "-")]:
        for k in (0, 1, -1, 3, -7): case(name, [F(shape, -2, 2, view)], lambda a, x: getattr(x, name)(a[0]), [k])

# ---- movement
for s, r in [((), (1,)), ((), (1, 1, 1)), ((6,), (2, 3)), ((2, 3), (6,)), ((2, 3, 4), (4, 6)), ((2, 3, 4), (-1, 2)),
             ((2, 3, 4), (3, 2, 2, 2)), ((0, 3), (3, 0)), ((0, 3), (0, 7)), ((1, 1), ()), ((5,), (-1,))]:
    for v in "-tfs": case("reshape", [F(s, -2, 2, v if s else "-")], lambda a, x: x.reshape(a), r)
for s, r in [((), (3,)), ((), (2, 3)), ((1,), (4,)), ((3, 1), (3, 5)), ((3, 1), (-1, 5)), ((1, 4), (2, 3, 4)),
             ((1, 1), (0, 3)), ((3,), (3,)), ((2, 1, 3), (2, 4, -1))]:
    case("expand", [F(s)], lambda a, x: x.expand(a), r)
for s, r in [((3,), (0,)), ((2, 3), (1, 0)), ((2, 3, 4), (2, 0, 1)), ((2, 3, 4), (-1, 0, 1)), ((2, 0, 4), (1, 2, 0)),
             ((2, 3, 2, 2), (3, 1, 0, 2))]:
    for v in "-tfs": case("permute", [F(s, -2, 2, v)], lambda a, x: x.permute(a), r)
for s, r in [((5,), (0,)), ((2, 3), (0,)), ((2, 3), (1,)), ((2, 3, 4), (0, -1)), ((0, 3), (0, 1)), ((1, 4), (0,))]:
    for v in "-ts": case("flip", [F(s, -2, 2, v)], lambda a, x: x.flip(a), r)
cut = lambda x, a: x[tuple(slice(a[i], a[i + 1]) for i in range(0, len(a), 2))]
for s, r in [((5,), (1, 4)), ((5,), (2, 2)), ((3, 4), (0, 3, 1, 3)), ((3, 4), (1, 2, 0, 4)), ((2, 3, 4), (0, 1, 1, 3, 2, 4)),
             ((0, 3), (0, 0, 1, 2))]:
    for v in "-tf": case("shrink", [F(s, -2, 2, v)], lambda a, x: cut(x, a), r)


def padded(x, pads, value):  # pads per axis, first axis first
    return TF.pad(x, [p for i in range(x.dim() - 1, -1, -1) for p in pads[2 * i:2 * i + 2]], value=value)


for s, r in [((3,), (1, 2)), ((3,), (0, 0)), ((2, 3), (1, 0, 0, 2)), ((2, 3), (0, 0, 3, 1)), ((2, 2, 2), (1, 1, 0, 2, 1, 0)),
             ((0, 3), (1, 1, 0, 0)), ((0,), (2, 0))]:
    for value in (0, 6, -3):
        for v in "-ts": case("pad", [F(s, -2, 2, v)], lambda a, x: padded(x, a[1:], q(a[0])), [value, *r])
for s, r in [((2, 3), (1, 2)), ((2, 3), (1, 2, 0, 1)), ((4, 5), (-1, 2, 1, -1)), ((4, 5), (-1, -1)), ((2, 1, 3, 3), (1, 1, 2, 0)),
             ((1, 2, 3, 3), (1, 0, 0, 1, 2, 0))]:
    for value in (0, 6): case("pad2d", [F(s)], lambda a, x: TF.pad(x, a[1:], value=q(a[0])), [value, *r])


def sliced(a, x):
    value, b = q(a[0]), a[1:]
    pads = [p for i, n in enumerate(x.shape) for p in (-b[2 * i], b[2 * i + 1] - n)]
    return padded(x, pads, value)


for s, r in [((5,), (1, 4)), ((5,), (-2, 7)), ((5,), (2, 8)), ((3, 4), (-1, 2, 1, 6)), ((3, 4), (0, 3, 0, 4)), ((3, 4), (1, 1, 0, 2))]:
    for value in (0, 5): case("slice", [F(s)], sliced, [value, *r])
for s, a, b in [((2, 3), 0, 1), ((2, 3, 4), 0, 2), ((2, 3, 4), -1, 1), ((2, 0), 0, 1), ((3,), 0, 0)]:
    for v in "-fs": case("transpose", [F(s, -2, 2, v)], lambda a, x: x.transpose(a[0], a[1]), [a, b])
for s in [(2, 3), (0, 3), (5, 1), (2, 3, 4)]: case("T", [F(s)], lambda a, x: x.transpose(0, 1))
for s in [(), (3,), (2, 3), (2, 3, 4), (0, 3)]:
    for d in range(max(1, len(s))): case("flatten", [F(s)], lambda a, x: x.flatten(a[0]), [d])
case("flatten", [F((2, 3, 4))], lambda a, x: x.flatten(a[0]), [-2])
for s in [(), (1,), (3,), (1, 3), (3, 1, 2, 1), (1, 1), (1, 0)]:
    case("squeeze", [F(s)], lambda a, x: x.squeeze())
    for d in range(-1, len(s)):
        if s: case("squeeze", [F(s)], lambda a, x: x.squeeze(a[0]), [d])
for s in [(), (3,), (2, 3), (0, 2)]:
    for d in range(-len(s) - 1, len(s) + 1): case("unsqueeze", [F(s)], lambda a, x: x.unsqueeze(a[0]), [d])
for s, r in [((3,), (2,)), ((2, 3), (2, 3)), ((2, 3), (1, 1)), ((2, 3), (2, 1, 2)), ((3,), (0,)), ((0, 2), (2, 2)), ((), (4,))]:
    case("repeat", [F(s)], lambda a, x: x.repeat(a), r)
for n, count in [(7, 3), (6, 3), (5, 1), (3, 5), (8, 4)]:  # the parts, each times its number + 1, joined again
    for axis in (0, 1):
        s = (n, 2) if axis == 0 else (2, n)
        case("chunk", [F(s)], lambda a, x: torch.cat([p * (i + 1) for i, p in enumerate(x.chunk(a[0], a[1]))], a[1]), [count, axis])
for shapes, axis in [(((2, 3), (4, 3)), 0), (((2, 3), (2, 1)), 1), (((2, 3), (2, 1)), -1), (((3,), (0,)), 0),
                     (((2, 1, 2), (2, 2, 2)), 1), (((0, 2), (0, 3)), 1)]:
    case("cat", [F(s) for s in shapes], lambda a, *x: torch.cat(x, a[0]), [axis])
    case("cat", [F(s, -2, 2, "t") for s in shapes] + [F(shapes[0])], lambda a, *x: torch.cat(x, a[0]), [axis])
for s in [(), (3,), (2, 3), (0, 2)]:
    for d in range(-1, len(s) + 1):
        case("stack", [F(s), F(s)], lambda a, *x: torch.stack(x, a[0]), [d])
case("stack", [F((2, 3)), F((2, 3), -2, 2, "t"), F((2, 3), -2, 2, "f")], lambda a, *x: torch.stack(x, a[0]), [1])
for s, i, axis in [((5,), (3,), 0), ((3, 4), (3, 2), 1), ((3, 4), (2, 4), 0), ((3, 4), (2, 3), 1), ((3, 4), (6, 4), 0),
                   ((2, 3, 4), (2, 3, 2), -1), ((2, 3, 4), (1, 5, 4), 1), ((3, 4), (3, 0), 1)]:
    n = s[axis]
    case("gather", [F(s), I(i, 0, n)], lambda a, x, i: x.gather(a[0], i), [axis])
    case("gather", [F(s, -2, 2, "t"), I(i, 0, n, "f")], lambda a, x, i: x.gather(a[0], i), [axis])
    case("scatter_add", [F(s), I(i, 0, n), F(i)], lambda a, x, i, y: x.scatter_add(a[0], i, y), [axis])
case("scatter", [F((3, 4)), XI([0, 2, 1, 3, 2, 0], (3, 2)), F((3, 2))], lambda a, x, i, y: x.scatter(a[0], i, y), [1])
case("scatter", [F((4, 3)), XI([3, 0, 1, 1, 2, 0], (2, 3)), F((2, 3))], lambda a, x, i, y: x.scatter(a[0], i, y), [0])
for s, i in [((5,), (3,)), ((5,), ()), ((4, 3), (6,)), ((4, 3), (2, 5)), ((4, 3), (0,)), ((4, 2, 3), (3,)), ((101, 7), (13,))]:
    case("take", [F(s), I(i, 0, s[0])], lambda a, x, i: x[i], check=s[0] < 100)
case("take", [F((4, 3), -2, 2, "t"), XI([3, 3, 0, 3])], lambda a, x, i: x[i])

# ---- linear algebra and nn
DOTS = [((5,), (5,)), ((3, 5), (5,)), ((5,), (5, 4)), ((3, 5), (5, 4)), ((1, 1), (1, 1)), ((2, 3, 5), (5, 4)), ((2, 3, 5), (2, 5, 4)),
        ((2, 1, 3, 2), (3, 2, 4)), ((3, 5), (2, 5, 4)), ((5,), (2, 5, 3)), ((2, 3, 5), (5,)), ((0, 5), (5, 4)), ((3, 0), (0, 4)),
        ((3, 5), (5, 0)), ((2, 0, 5), (5, 3)), ((13, 17), (17, 11)), ((1, 17), (17, 1)), ((31, 67), (67, 35)), ((17, 1), (1, 13)),
        ((7, 130), (130, 3)), ((2, 9, 8), (2, 8, 19))]
for name in ("dot", "matmul"):
    for s, r in DOTS if name == "dot" else DOTS[:11]:
        small = math.prod(s) + math.prod(r) < 120
        case(name, [F(s), F(r)], lambda a, x, y: x @ y, check=small)
        if name == "dot" and len(s) > 1 and len(r) > 1 and 0 not in s + r:
            for v, w in [("t", "-"), ("-", "t"), ("t", "t"), ("f", "s"), ("e", "f")]:
                if small: case(name, [F(s, -2, 2, v), F(r, -2, 2, w)], lambda a, x, y: x @ y)
case("dot", [F((31, 67), -2, 2, "t"), F((67, 35), -2, 2, "t")], lambda a, x, y: x @ y, check=False)
for s, r in [((3, 5), (5, 4)), ((5,), (5, 4)), ((2, 3, 5), (5, 4)), ((0, 5), (5, 4)), ((3, 4), (4,))]:
    run = lambda a, x, w, b=None: (x @ w if w.dim() > 1 else x * w) + (0 if b is None else b)
    case("linear", [F(s), F(r)], run)
    case("linear", [F(s), F(r), F(r[-1:])], run)


def max_pool(x, k, s, d):  # the gradient is shared evenly among ties
    n = len(k)
    base = x.dim() - n
    for i in range(n):
        x = x.unfold(base + i, d[i] * (k[i] - 1) + 1, s[i])[..., ::d[i]]
    return x.amax(tuple(range(-n, 0)))


# conv: args = axes, groups, stride.., dilation.., number of paddings, padding..
def conv(a, x, w, b=None):
    n, groups = a[0], a[1]
    stride, dilation, pads = a[2:2 + n], a[2 + n:2 + 2 * n], a[3 + 2 * n:]
    if len(pads) == 1: pads = pads * n
    if len(pads) == n: pads = [p for v in pads[::-1] for p in (v, v)]
    f = [TF.conv1d, TF.conv2d, TF.conv3d][n - 1]
    return f(TF.pad(x, pads), w, b, stride=stride, dilation=dilation, groups=groups)


def convs(n, x, o, k, strides, dilations, paddings, groups, bias=False, check=None, views=("-", "-")):
    for s in strides:
        for d in dilations:
            for p in paddings:
                for g in groups:
                    w = (o, x[1] // g, *k)
                    inputs = [F(x, -2, 2, views[0]), F(w, -1, 1, views[1])] + ([F((o,))] if bias else [])
                    args = [n, g, *(s if len(s) == n else s * n), *(d if len(d) == n else d * n), len(p), *p]
                    if len(args) > 12: continue
                    c = math.prod(x) + math.prod(w) < 260 if check is None else check
                    case("conv2d", inputs, conv, args, check=c)


convs(1, (2, 4, 11), 6, (3,), [(1,), (2,), (3,)], [(1,), (2,)], [(0,), (2,), (1, 0), (-1, 2)], [1, 2])
convs(2, (1, 4, 6, 5), 4, (3, 2), [(1,), (2,), (2, 1)], [(1,), (2,), (1, 2)], [(0,), (1,), (1, 0), (1, 0, 2, 1), (-1, 0, 0, 1)], [1, 2, 4], check=False)
convs(2, (1, 4, 6, 5), 4, (3, 2), [(2, 1)], [(1, 2)], [(1, 0, 2, 1), (-1, 0, 0, 1)], [1, 2])
convs(2, (2, 2, 5, 5), 3, (3, 3), [(1,)], [(1,)], [(0,), (1,)], [1], bias=True)
convs(2, (2, 2, 5, 5), 3, (1, 1), [(1,), (2,)], [(1,)], [(0,)], [1])
convs(2, (2, 3, 5, 5), 2, (2, 3), [(1,)], [(1,)], [(0,)], [1], views=("t", "f"))
convs(2, (2, 3, 5, 5), 2, (2, 3), [(2,)], [(1,)], [(1,)], [1], views=("s", "t"))
convs(2, (0, 3, 5, 5), 2, (2, 3), [(1,)], [(1,)], [(0,)], [1])
convs(2, (2, 8, 13, 11), 16, (3, 3), [(1,)], [(1,)], [(0,), (1,)], [1], bias=True)
convs(2, (3, 1, 12, 12), 8, (5, 5), [(1,)], [(1,)], [(0,)], [1])
convs(2, (1, 8, 7, 7), 8, (3, 3), [(1,), (2,)], [(1,)], [(1,)], [8], check=False)
convs(3, (1, 4, 4, 3, 4), 2, (2, 2, 3), [(1,), (2,), (1, 2, 1)], [(1,)], [(0,), (1,)], [1, 2], check=False)
convs(3, (2, 2, 3, 3, 3), 2, (2, 2, 2), [(1,)], [(1,), (2,), (1, 1, 2)], [(0,)], [1, 2])


# args = axes, groups, stride, dilation, padding, output_padding (the same on all axes)
def conv_transpose(a, x, w, b=None):
    f = [TF.conv_transpose1d, TF.conv_transpose2d, TF.conv_transpose3d][a[0] - 1]
    return f(x, w, b, stride=a[2], padding=a[4], output_padding=a[5], groups=a[1], dilation=a[3])


for n, x, k in [(1, (2, 4, 5), (3,)), (2, (1, 4, 4, 3), (2, 3)), (3, (1, 2, 2, 3, 2), (2, 1, 2))]:
    for g in (1, 2):
        for s in (1, 2, 3):
            for d in (1, 2):
                for p in (0, 1):
                    for o in (0, 1):
                        if o >= max(s, d): continue
                        bias = [F((2 * g,))] if (s + d + p) % 2 else []
                        case("conv_transpose2d", [F(x), F((x[1], 2, *k), -1, 1), *bias], conv_transpose, [n, g, s, d, p, o],
                             check=s == 2 and d == 1)

# pools: args = axes, kernel.., stride.. (0: the kernel), dilation..
for n, x in [(1, (2, 3, 11)), (2, (1, 2, 9, 8)), (2, (2, 1, 4, 4)), (3, (1, 1, 5, 4, 4))]:
    for k in [(2,), (3,), (3, 2)]:
        for s in [(0,), (1,), (2,), (3, 1), (5,)]:
            if n != 2 and len(k) + len(s) > 2: continue
            kk, ss = [k if len(k) == n else k[:1] * n for _ in range(1)][0], s if len(s) == n else s[:1] * n
            step = tuple(b or a for a, b in zip(kk, ss))
            f = [TF.avg_pool1d, TF.avg_pool2d, TF.avg_pool3d][n - 1]
            case("avg_pool2d", [F(x)], lambda a, x: f(x, kk, step), [n, *kk, *ss], check=math.prod(x) < 100)
            for d in (1, 2):
                if d * (kk[0] - 1) + 1 > min(x[2:]): continue
                dd = (d,) * n
                for make in (F, R):
                    case("max_pool2d", [make(x, -2, 2)], lambda a, x: max_pool(x, kk, step, dd), [n, *kk, *ss, *dd],
                         check=make is F and math.prod(x) < 100)
case("max_pool2d", [F((2, 3, 6, 6), -2, 2, "t")], lambda a, x: max_pool(x, (2, 2), (2, 2), (1, 1)), [0], check=False)
case("avg_pool2d", [F((2, 3, 6, 6), -2, 2, "t")], lambda a, x: TF.avg_pool2d(x, 2), [0], check=False)
case("max_pool2d", [F((0, 3, 6, 6))], lambda a, x: max_pool(x, (2, 2), (2, 2), (1, 1)), [0])


def layernorm(a, x):
    axes = tuple(a) or (-1,)
    return (x - x.mean(axes, keepdim=True)) / (x.var(axes, correction=0, keepdim=True) + 1e-5).sqrt()


for s, v in [((7,), "-"), ((3, 5), "-"), ((5, 3), "t"), ((2, 3, 4), "s"), ((0, 3), "-")]:
    case("layernorm", [F(s, -2, 2, v)], layernorm)
for axes in [(0,), (1, 2), (-2,), (0, 1, 2)]: case("layernorm", [F((2, 3, 4))], layernorm, axes)


def batchnorm(a, x, m, i, w=None, b=None):
    at = lambda t: t.reshape(1, -1, *[1] * (x.dim() - 2))
    x = (x - at(m)) * at(i)
    return x if w is None else x * at(w) + at(b)


for s in [(4, 3), (2, 3, 4), (2, 3, 2, 2), (0, 3)]:
    c = [F((3,)), F((3,), 0.5, 2)]
    case("batchnorm", [F(s), *c], batchnorm)
    case("batchnorm", [F(s), *c, F((3,)), F((3,))], batchnorm)


def attention(a, q, k, v, mask=None):  # args: causal
    return TF.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=bool(a[0]))


for qs, ks, vs in [((3, 4), (5, 4), (5, 2)), ((2, 3, 4), (2, 5, 4), (2, 5, 4)), ((2, 2, 4, 3), (2, 2, 4, 3), (2, 2, 4, 3))]:
    mask = (qs[-2], ks[-2])
    for causal in (0, 1): case("attention", [F(qs), F(ks), F(vs)], attention, [causal])
    case("attention", [F(qs), F(ks), F(vs), F(mask)], attention, [0])
    ok = [float((i * 3) % 7 != 1) for i in range(math.prod(mask))]
    case("attention_bool", [F(qs), F(ks), F(vs), X(ok, mask)],
         lambda a, q, k, v, m: attention([0], q, k, v, m.detach() != 0), check=False)
for s in [(), (5,), (3, 4)]:
    case("binary_crossentropy", [F(s, 0.1, 0.9), F(s, 0.1, 0.9)], lambda a, x, y: TF.binary_cross_entropy(x, y))
    case("binary_crossentropy_logits", [F(s, -4, 4), F(s, 0.1, 0.9)], lambda a, x, y: TF.binary_cross_entropy_with_logits(x, y))
case("binary_crossentropy_logits", [X([1e3, -1e3, 50.0, -50.0]), X([1.0, 0.0, 0.0, 1.0])],
     lambda a, x, y: TF.binary_cross_entropy_with_logits(x, y), check=False, half=False)
for s in [(3, 4), (1, 7), (2, 3, 5), (5,), (32, 10)]:
    ce = lambda a, x, y: TF.cross_entropy(x.reshape(-1, s[-1]), y.reshape(-1), ignore_index=a[0] if a else -1)
    case("crossentropy", [F(s, -4, 4), I(s[:-1], 0, s[-1])], ce, check=s != (32, 10))
    if s[0] > 1: case("crossentropy", [F(s, -4, 4), I(s[:-1], 0, s[-1])], ce, [0], check=s != (32, 10))
case("crossentropy", [F((4, 3)), XI([-1, 2, -1, 0])], lambda a, x, y: TF.cross_entropy(x, y, ignore_index=-1))

# ---- what belongs together: a long chain, shared pieces, an input used twice
case("compose_mlp", [F((4, 5)), F((5, 6)), F((6,)), F((6, 3))],
     lambda a, x, w, b, v: ((x @ w + b).relu() @ v).log_softmax(-1))
case("compose_shared", [F((3, 4))], lambda a, x: (x.exp() + x).sum(0, keepdim=True) * x.exp() - x.mean())
case("compose_conv", [F((2, 1, 10, 10)), F((3, 1, 3, 3)), F((48, 4))],
     lambda a, x, w, v: (max_pool(TF.conv2d(x, w).relu(), (2, 2), (2, 2), (1, 1)).flatten(1) @ v).log_softmax(-1), check=False)
case("compose_norm", [F((6, 4)), F((4,))],
     lambda a, x, w: (x - x.mean(0)) / (x.var(0, correction=0) + 1e-5).sqrt() * w)


# ---- where implementations go wrong: gradients far out, powers, integers, indices
# A where() or a quotient inside a function easily makes 0 * inf of its gradient.
for name, run in [("sigmoid", torch.sigmoid), ("tanh", torch.tanh), ("softsign", TF.softsign), ("silu", TF.silu),
                  ("relu6", TF.relu6), ("hardswish", TF.hardswish), ("mish", TF.mish), ("quick_gelu", lambda x: x * (1.702 * x).sigmoid()),
                  ("gelu", lambda x: TF.gelu(x, approximate="tanh")), ("asinh", torch.asinh), ("relu", torch.relu), ("abs", torch.abs)]:
    for far in ([1000.0, 100.0, 30.0], [-1000.0, -100.0, -30.0]):
        case(name, [X(far)], lambda a, x: run(x), check=False, half=False)
for name, run in [("softplus", TF.softplus), ("elu", TF.elu), ("celu", TF.celu),
                  ("leakyrelu", lambda x: TF.leaky_relu(x, 1))]:
    for far in ([1000.0, 100.0, 30.0], [-1000.0, -100.0, -30.0]):
        case(name, [X(far)], lambda a, x: run(x), [4], check=False, half=False)
case("exp", [X([-1000.0, -100.0, 0.0])], lambda a, x: x.exp(), check=False, half=False)
case("sqrt", [X([0.0])], lambda a, x: x.sqrt(), check=False, half=False)
case("pow", [X([-2.0, -1.5, 0.0, 0.0, 0.0, 2.0]), XI([2, 3, 1, 2, 0, 0])], lambda a, x, y: x ** y, check=False, half=False)
case("pow", [X([0.0, 0.0, 2.0, 3.0]), X([1.0, 2.0, 0.0, -1.0])], lambda a, x, y: x ** y, check=False, half=False)
for k in (-4, -8): case("pow_number", [X([-2.0, -0.5, 0.5, 3.0])], lambda a, x: x ** q(a[0]), [k], half=False)
case("pow_number", [X([0.0, 1.0, 4.0])], lambda a, x: x ** q(a[0]), [6], half=False, check=False)
case("pow_number", [X([-2.0, -0.5])], lambda a, x: x ** q(a[0]), [10], grad=False, half=False)
case("number_pow", [X([-2.0, -1.0, 0.0, 1.0, 2.0, 3.0])], lambda a, x: q(a[0]) ** x, [-8], grad=False, half=False)
case("number_pow", [X([1.0, 2.0, 0.5])], lambda a, x: q(a[0]) ** x, [0], half=False, check=False)

WI = lambda s, v="-", lo=-4, hi=5: I(s, lo, hi, v)
for name, run in [("add", torch.add), ("sub", torch.sub), ("mul", torch.mul), ("maximum", torch.maximum), ("minimum", torch.minimum),
                  ("lt", torch.lt), ("ge", torch.ge), ("eq", torch.eq), ("ne", torch.ne)]:
    for s, r in PAIRS[:7]: case(name, [WI(s), WI(r)], lambda a, x, y: run(x, y), grad=False, half=False)
    case(name, [WI((3, 5), "t"), WI((3, 5), "f")], lambda a, x, y: run(x, y), grad=False, half=False)
for name in ("neg", "abs", "sign", "square", "relu"):
    for v in "-ts": case(name, [WI((3, 5), v)], lambda a, x: getattr(x, name)(), grad=False, half=False)
for name, run in [("sum", lambda x, d: x.sum(d)), ("max", lambda x, d: x.amax(d)), ("min", lambda x, d: x.amin(d))]:
    for axes in ([0], [1], [0, 1]):
        case(name, [WI((7, 5), "t")], lambda a, x: run(x, tuple(a[1:])), [0, *axes], grad=False, half=False)
        case(name, [B((7, 5), "f")], lambda a, x: run(x, tuple(a[1:])), [0, *axes], grad=False, half=False)
for make in (WI, B): case("cumsum", [make((3, 5))], lambda a, x: x.cumsum(a[0]), [1], grad=False, half=False)
case("where", [B((3, 5)), WI((3, 5)), WI((5,))], lambda a, c, x, y: torch.where(c, x, y), grad=False, half=False)
case("matmul", [WI((3, 5)), WI((5, 4))], lambda a, x, y: x @ y, grad=False, half=False)
case("gather", [WI((3, 4)), I((3, 2), 0, 4)], lambda a, x, i: x.gather(a[0], i), [1], grad=False, half=False)
case("pad", [WI((2, 3))], lambda a, x: TF.pad(x, a[3:] + a[1:3], value=int(q(a[0]))), [8, 1, 0, 0, 2], grad=False, half=False)
case("flip", [B((2, 3))], lambda a, x: x.flip(a), [1], grad=False, half=False)
case("cat", [WI((2, 3)), WI((1, 3))], lambda a, *x: torch.cat(x, a[0]), [0], grad=False, half=False)

for name, dtype in (("cast_half", torch.float16), ("cast_bfloat", torch.bfloat16)):
    case(name, [F((8,), -7, 7)], lambda a, x: x.to(dtype).to(torch.float64), half=False, check=False)
case("cast_int", [F((3, 5), -7, 7)], lambda a, x: x.to(torch.int32).to(torch.float64) * x, half=False, check=False)
for s in [(), (0, 3), (3, 5)]: case("dropout", [F(s)], lambda a, x: TF.dropout(x, 0.5, training=False))
for axes in ([], [0]):
    case("sum", [F((10007,), 0.1, 2)], lambda a, x: x.sum(tuple(a[1:])), [0, *axes], grad=False, half=False)
    case("mean", [F((10007,), 0.1, 2)], lambda a, x: x.mean(tuple(a[1:])), [0, *axes], grad=False, half=False)
case("sum", [F((1009, 7), 0.1, 2, "t")], lambda a, x: x.sum(tuple(a[1:])), [0, 0], grad=False, half=False)
case("cumsum", [F((1031,), 0.1, 2)], lambda a, x: x.cumsum(a[0]), [0], grad=False, half=False)
case("crossentropy", [F((3, 4)), XI([-1, -1, -1])], lambda a, x, y: TF.cross_entropy(x, y, ignore_index=-1), grad=False, half=False)
case("crossentropy", [X([1e3, -1e3, 0.0, -1e3, 1e3, 0.0], (2, 3)), XI([0, 0])], lambda a, x, y: TF.cross_entropy(x, y), check=False, half=False)
case("binary_crossentropy", [F((7,), 0.1, 0.9), X([0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 1.0])], lambda a, x, y: TF.binary_cross_entropy(x, y), check=False)
for m in [(1, 5), (3, 1), (2, 1, 5)]:
    case("attention", [F((2, 3, 4)), F((2, 5, 4)), F((2, 5, 2)), F(m)], attention, [0])
case("attention", [F((2, 3, 4), -2, 2, "t"), F((2, 5, 4), -2, 2, "f"), F((2, 5, 2), -2, 2, "s")], attention, [1])
# axes, groups, then stride, dilation, padding, output_padding, one number per axis
for a in [(2, 1, 2, 1, 1, 2, 0, 1, 1, 0), (2, 2, 1, 3, 2, 1, 1, 0, 0, 2), (1, 1, 3, 2, 1, 2)]:
    n = a[0]
    run = lambda a, x, w, b: [TF.conv_transpose1d, TF.conv_transpose2d][n - 1](
        x, w, b, stride=a[2:2 + n], dilation=a[2 + n:2 + 2 * n], padding=a[2 + 2 * n:2 + 3 * n],
        output_padding=a[2 + 3 * n:], groups=a[1])
    case("conv_transpose2d_axes", [F((1, 2, 3, 4)[:n + 2]), F((2, 2, 2, 3)[:n + 2], -1, 1), F((2 * a[1],))], run, a)

# x[...] by number; steps below 0 as flips.
INDEXED = [lambda x, i, j, m: x[1], lambda x, i, j, m: x[-1, 0], lambda x, i, j, m: x[1:4:2, None, ..., 2],
           lambda x, i, j, m: x[..., 1:3], lambda x, i, j, m: x[i], lambda x, i, j, m: x[:, j], lambda x, i, j, m: x[i, j],
           lambda x, i, j, m: x[i, :, j % 3], lambda x, i, j, m: x[:, j, j % 3], lambda x, i, j, m: x[1, :, j % 3],
           lambda x, i, j, m: x[m], lambda x, i, j, m: x.flip(0, 2), lambda x, i, j, m: x.flip(0)[0:3:2],
           lambda x, i, j, m: x[i[:, None], j], lambda x, i, j, m: x[i, m[0].nonzero().flatten()[:1]]]
BY = [XI([4, 0, -1, 0]), XI([1, 3, 0, 3]), B((5, 4))]
for k, f in enumerate(INDEXED):
    for v in "-t": case("index", [F((5, 4, 3), -2, 2, v), *BY], lambda a, x, i, j, m: f(x, i, j, m), [k], half=k < 6)


def assigned(a, x, i, j, m):  # the value: 0, 1, 2 ... of the place's shape
    x = x.detach().clone()
    place = [(1,), (slice(1, 4, 2), slice(None), 2), (torch.tensor([4, 0, 2]),), (m,), (Ellipsis, slice(0, 2))][a[0]]
    x[place] = torch.arange(x[place].numel(), dtype=x.dtype).reshape(x[place].shape)
    return x


for k in range(5): case("set_index", [F((5, 4, 3)), *BY], assigned, [k], grad=False, half=False)


# ---- casts: each edge value of each dtype to each dtype
from_torch = [torch.bool, torch.int8, torch.uint8, torch.int16, torch.uint16, torch.int32, torch.uint32, torch.int64,
              torch.uint64, torch.float16, torch.bfloat16, torch.float32, torch.float64]
INTS = {1: (-128, 127), 2: (0, 255), 3: (-32768, 32767), 4: (0, 65535), 5: (-2**31, 2**31 - 1), 6: (0, 2**32 - 1),
        7: (-2**63, 2**63 - 1), 8: (0, 2**64 - 1)}
FLOATS = [0.0, -0.0, 0.5, -0.5, 0.99, -0.99, 1.0, -1.0, 1.5, 2.5, -2.5, 126.7, 127.0, 127.5, 100.25]
HUGE = [math.inf, -math.inf, math.nan, 128.0, -129.0, 255.0, 256.0, 300.5, -300.5, 32767.0, 32768.0, 65504.0, 65520.0, 65535.0,
        65536.0, 70000.0, 1e6, -1e6, 2147483520.0, 2147483648.0, -2147483648.0, 4294967040.0, 4294967296.0, 1e10, -1e10,
        9223371487098961920.0, 9223372036854775808.0, -9223372036854775808.0, 18446742974197923840.0, 18446744073709551616.0, 1e20,
        -1e20, 3e38, 1e-8, 6e-8, 1e-5, 6.1e-5, 0.333333343, 1.00048828125, 1.0009765625, 1.001953125, 1.00390625, 1.005859375,
        1.01171875, 2049.0, 2051.0, 257.0, 259.0]


def cast_inputs(i):
    if i == 0: return [0, 1]
    if i <= 8:
        lo, hi = INTS[i]
        every = [0, 1, 2, 100, 127, 128, 129, 200, 255, 256, 300, 1000, 2049, 2051, 32767, 32768, 40000, 65504, 65519, 65520,
                 65535, 65536, 70000, 16777217, 2**31 - 1, 2**31, 3 * 10**9, 2**32 - 1, 2**32, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1,
                 2**62 + 2**38 + 1]
        every += [-v for v in every if v]
        return [v for v in every if lo <= v <= hi]
    return FLOATS + HUGE


def c_number(v):
    if math.isnan(v): return "NAN"
    if math.isinf(v): return "INFINITY" if v > 0 else "-INFINITY"
    return f"{v:.13g}" if v or math.copysign(1, v) > 0 else "-0.0"


def write(path):
    with open(path, "w") as f:
        p = lambda *t: print(*t, file=f)
        p("/* Made by tests/oracle/make_values.py with PyTorch %s; not to be edited. See oracle.h. */" % torch.__version__.split("+")[0])
        p('#include "oracle/oracle.h"\n')
        p("const oracle_case oracle_cases[] = {")
        shape = lambda s: "{%d, {%s}}" % (len(s), ", ".join(map(str, s)) or "0")
        for name, number, args, inputs, given, out, dtype, at, flags in cases:
            ins = ", ".join("{'%s', '%s', %s, %.12g, %.12g, %d}" % (x.kind, x.view, shape(x.shape), x.lo, x.hi, g)
                            for x, g in zip(inputs, given))
            p('{"%s", %d, %s, %d, {%s}, %s, \'%s\', "%s", %d},' % (name, number, shape(args), len(inputs), ins, shape(out), dtype, flags, at))
        p("};\nconst int oracle_case_count = %d;\n" % len(cases))
        p("const double oracle_values[] = {")
        line = ""
        for v in values:
            t = c_number(float(v)) + ","
            if len(line) + len(t) > 110: p(line); line = ""
            line += t
        p(line + "0};\n")
        write_casts(p)


def write_casts(p):
    """Rows {from, to, value, result}: integers in `i`, floats in `f`."""
    p("const oracle_cast oracle_casts[] = {")
    count = 0
    for i, a in enumerate(from_torch):
        given = [torch.tensor(v, dtype=torch.float64).to(a) if i > 8 else v for v in cast_inputs(i)]
        for v in dict.fromkeys(v.item() if i > 8 else v for v in given):
            t = torch.tensor([v], dtype=torch.float64).to(a) if i > 8 else torch.tensor([v], dtype=torch.uint64 if v >= 2**63 else torch.int64).to(a) if i else torch.tensor([bool(v)])
            cells = []
            for j, b in enumerate(from_torch):
                r = t.to(b)
                x = r.item()
                cells.append("{%s, %s}" % (("0", exact(x)) if j > 8 else (c_int(x), "0")))
            src = "{%s, %s}" % (("0", exact(t.item())) if i > 8 else (c_int(t.item()), "0"))
            p("{%d, %s, {%s}}," % (i + 1, src, ", ".join(cells)))
            count += 1
    p("};\nconst int oracle_cast_count = %d;" % count)


def c_int(v):
    v = int(v)
    if v >= 2**63: v -= 2**64
    return "INT64_MIN" if v == -2**63 else str(v)


def exact(v):
    if math.isnan(v): return "NAN"
    if math.isinf(v): return "INFINITY" if v > 0 else "-INFINITY"
    return repr(v)


if __name__ == "__main__":
    here = os.path.dirname(os.path.abspath(__file__))
    write(os.path.join(here, "values.c"))
    print(len(cases), "cases,", len(values), "values")
