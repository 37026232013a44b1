"""The operations: a function of a Maker for each, which gives (kind, operands, text for teenygrad[, text for PyTorch[, limits]]).
Without a text for PyTorch both are the same. Where the two libraries promote dtypes differently (teenygrad has one order,
and a scalar tensor counts as any other) PyTorch's operands are cast first, so that all else is compared."""
import numpy as np
import torch
from graphs.make import ARITH, DTYPES, FLOATS, FUNC, INTS, JUMP, MAX, MOVE, SUM, Skip

OPS, WEIGHTS = {}, {}
NUMBERS = tuple(d for d in DTYPES if d != "bool")
WIDE = ("float32", "float64")
ANY = (-1e4, 1e4, "or not finite")
FINITE = (-1e4, 1e4)


def op(weight=1, name=None):
    def add(f):
        OPS[name or f.__name__], WEIGHTS[name or f.__name__] = f, weight
        return f
    return add


def common(a, b):
    """The dtype of a result of two, as tg_promote has it."""
    return "float32" if {a, b} == {"float16", "bfloat16"} else max(a, b, key=DTYPES.index)


def cast(g, i, dtype, n):
    """Operand n for PyTorch in that dtype."""
    return "{%d}" % n if g.steps[i].dtype == dtype else "{%d}.to({%s})" % (n, dtype)


def both(g, a, b):
    dtype = common(g.steps[a].dtype, g.steps[b].dtype)
    return dtype, cast(g, a, dtype, 0), cast(g, b, dtype, 1)


def broadcasting(g, i):
    """A shape that broadcasts with value i's."""
    shape = g.steps[i].shape
    cut = shape[g.rng.randint(0, len(shape)):] if g.chance(0.4) else shape
    return tuple(1 if g.chance(0.25) else n for n in cut)


def pair(g, dtypes=DTYPES, test=lambda s: True):
    a = g.pick(test, dtypes)
    b = a if g.chance(0.05) else g.partner(broadcasting(g, a), dtypes, test)
    return (a, b) if g.chance(0.5) else (b, a)


def is_same(s):
    return s.same


# ---- one operand

def unary(name, kind, dtypes, ours, theirs, limits=None, weight=1):
    def choose(g):
        i = g.pick(is_same if kind == JUMP else lambda s: True, dtypes)
        whole = g.steps[i].dtype not in FLOATS and name in TO_FLOAT
        return kind, [i], ours, theirs.replace("{0}", "{0}.to({float32})") if whole else theirs, limits
    op(weight, name)(choose)


TO_FLOAT = ("exp", "log", "exp2", "log2", "sin", "cos", "tan", "sigmoid", "tanh", "rsqrt", "sqrt_wide", "reciprocal")  # of integers
REAL = ("int32", "int64") + FLOATS
for _name, _weight in (("exp", 3), ("log", 3), ("exp2", 1), ("log2", 1), ("sin", 1), ("cos", 1), ("sigmoid", 2),
                       ("tanh", 2), ("rsqrt", 1)):
    unary(_name, FUNC, REAL, "{0}.%s()" % _name, "torch.%s({0})" % _name, ANY, _weight)
unary("tan", FUNC, FLOATS, "{0}.tan()", "torch.tan({0})", ANY)
for _name, _limits in (("sinh", (-80, 80, "or not finite")), ("cosh", (-80, 80, "or not finite")), ("asinh", ANY)):
    unary(_name, FUNC, FLOATS, "{0}.%s()" % _name, "torch.%s({0})" % _name, _limits)
unary("acosh", FUNC, FLOATS, "({0}.abs() + 1.5).acosh()", "torch.acosh({0}.abs() + 1.5)", ANY)
unary("atanh", FUNC, FLOATS, "{0}.clip(-0.75, 0.75).atanh()", "torch.atanh({0}.clip(-0.75, 0.75))", ANY)
# As F.gelu(x, approximate="tanh"), whose 1 + tanh loses digits on the left.
GELU = "{0} * torch.sigmoid(1.5957691216057308 * {0} * (1 + 0.044715 * {0} * {0}))"
for _name, _theirs in (("silu", "F.silu({0})"), ("swish", "F.silu({0})"), ("gelu", GELU),
                       ("quick_gelu", "{0} * torch.sigmoid(1.702 * {0})"), ("mish", "F.mish({0})"),
                       ("softplus", "F.softplus({0}, threshold=60)"), ("softsign", "F.softsign({0})"), ("elu", "F.elu({0})"),
                       ("celu", "F.celu({0})"), ("hardswish", "F.hardswish({0})")):
    unary(_name, FUNC, FLOATS, "{0}.%s()" % _name, _theirs, ANY)
unary("elu_alpha", FUNC, FLOATS, "{0}.elu(0.5)", "F.elu({0}, 0.5)", ANY)
unary("celu_alpha", FUNC, FLOATS, "{0}.celu(2)", "F.celu({0}, 2)", ANY)
unary("softplus_beta", FUNC, FLOATS, "{0}.softplus(2)", "F.softplus({0}, 2, threshold=60)", ANY)
unary("sqrt", ARITH, FLOATS[:3], "{0}.sqrt()", "torch.sqrt({0})", None, 2)
unary("sqrt_wide", FUNC, FLOATS[3:] + ("int32", "int64"), "{0}.sqrt()", "torch.sqrt({0})")  # PyTorch's is one unit off at times
unary("reciprocal", ARITH, REAL, "{0}.reciprocal()", "torch.reciprocal({0})", None, 2)
unary("neg", ARITH, NUMBERS, "-{0}", "-{0}", None, 2)
unary("abs", ARITH, NUMBERS, "{0}.abs()", "{0}.abs()", None, 2)
unary("square", ARITH, NUMBERS, "{0}.square()", "{0} * {0}")
unary("relu", MAX, FLOATS + ("int32", "int64"), "{0}.relu()", "torch.relu({0})", None, 3)
unary("relu6", MAX, FLOATS, "{0}.relu6()", "torch.relu({0}).clip(max=6)")
unary("hardtanh", MAX, FLOATS, "{0}.hardtanh(-1, 2)", "{0}.clip(-1, 2)")
unary("leakyrelu", MAX, FLOATS, "{0}.leakyrelu(0.125)", "F.leaky_relu({0}, 0.125)")
unary("clip", MAX, FLOATS, "{0}.clip(-1, 1.5)", "{0}.clip(-1, 1.5)", None, 2)
unary("clip_below", MAX, FLOATS, "{0}.clip(-0.5, None)", "{0}.clip(-0.5, None)")
unary("sign", JUMP, NUMBERS, "{0}.sign()", "torch.sign({0})")
unary("trunc", JUMP, FLOATS, "{0}.trunc()", "torch.trunc({0})")
unary("ceil", JUMP, FLOATS, "{0}.ceil()", "torch.ceil({0})")
unary("floor", JUMP, FLOATS, "{0}.floor()", "torch.floor({0})")
unary("contiguous", MOVE, DTYPES, "{0}.contiguous()", "{0}.contiguous()")
unary("contiguous_backward", MOVE, FLOATS, "{0}.contiguous_backward()", "{0}.clone()")
unary("detach", MOVE, DTYPES, "{0}.detach()", "{0}.detach()")
unary("to", MOVE, DTYPES, "{0}.to('REF').to(Device.DEFAULT)", "{0}.clone()")
unary("float", MOVE, DTYPES, "{0}.float()", "{0}.to({float32})")
unary("squeeze", MOVE, DTYPES, "{0}.squeeze()", "{0}.squeeze()")
unary("flatten", MOVE, DTYPES, "{0}.flatten()", "{0}.flatten()", None, 2)
unary("half", MOVE, FLOATS, "{0}.half()", "{0}.to({float16})")


@op(6, "cast")
def _cast(g):
    i, to = g.pick(), g.dtype()
    if to in FLOATS or g.steps[i].dtype not in FLOATS:
        return MOVE, [i], "{0}.cast(dtypes.%s)" % to, "{0}.to({%s})" % to
    low, high = INTS.get(to, (0, 0))  # beyond, the languages leave the result open
    limits = (max(low, -2 ** 31), min(high, 2 ** 31 - 128)) if to != "bool" else None
    return JUMP, [i], "{0}.cast(dtypes.%s)" % to, "{0}.to({%s})" % to, limits


@op(1)
def bitcast(g):
    i = g.pick(is_same, ("float16", "bfloat16", "float32", "float64", "int16", "int32", "int64"))
    d = g.steps[i].dtype
    if d in FLOATS and bool(g.values[i].isnan().any()):  # which NaN it is nobody promises
        raise Skip
    if d in FLOATS and not g.steps[i].signed:
        raise Skip
    to = {"float16": "int16", "bfloat16": "int16", "float32": "int32", "float64": "int64"}.get(d)
    if not to:
        raise Skip  # the oracle in double precision has other bits
    double = "({0}.to(torch.%s).view(torch.%s))" % (d, to)
    return JUMP, [i], "{0}.bitcast(dtypes.%s)" % to, double


# ---- two operands

def arithmetic(name, sign, kind, weight, dtypes=NUMBERS):
    def choose(g):
        a, b = pair(g, dtypes)
        dtype, x, y = both(g, a, b)
        return kind, [a, b], f"{{0}} {sign} {{1}}", f"{x} {sign} {y}"
    op(weight, name)(choose)

    def number(g):
        i = g.pick(dtypes=dtypes)
        n = g.number(g.steps[i].dtype)
        if sign == "/" and n == 0:
            n = 4
        text = f"{{0}} {sign} {n!r}" if g.chance(0.7) else f"{n!r} {sign} {{0}}"
        return kind, [i], text
    op(weight, name + "_number")(number)


arithmetic("add", "+", ARITH, 6)
arithmetic("sub", "-", ARITH, 4)
arithmetic("mul", "*", ARITH, 6)


@op(4)
def div(g):
    a, b = pair(g, ("int8", "uint8", "int16", "int32") + FLOATS)
    dtype, x, y = both(g, a, b)
    if dtype not in FLOATS:
        x, y = "{0}.to({float32})", "{1}.to({float32})"
    return FUNC, [a, b], "{0} / {1}", f"{x} / {y}"


@op(2)
def div_number(g):
    i = g.pick(dtypes=("int8", "uint8", "int16", "int32") + FLOATS)
    return FUNC, [i], g.rng.choice(["{0} / 3", "{0} / 4.0", "2 / {0}", "-1.5 / {0}"])


@op(2)
def number_float(g):
    """An integer tensor and a fraction make a float tensor."""
    i = g.pick(dtypes=("int8", "uint8", "int16", "int32", "int64", "bool"))
    return ARITH, [i], g.rng.choice(["{0} + 0.5", "{0} * -1.5", "0.25 - {0}"])


@op(2)
def power(g):
    i = g.pick(dtypes=FLOATS + ("int32", "int64"))
    n = g.rng.choice([2, 3, 0, 1] + ([0.5, -1, -2, 2.5, 1.5] if g.steps[i].dtype in FLOATS else []))
    return (FUNC if g.steps[i].dtype in FLOATS else ARITH), [i], "{0} ** %r" % n, None, (0, 1e4) if n % 1 else ANY


@op(1)
def power_of_tensors(g):
    a, b = pair(g, FLOATS)
    dtype, x, y = both(g, a, b)
    return FUNC, [a, b], "({0}.abs() + 0.25) ** {1}", f"({{0}}.abs() + 0.25).to({{{dtype}}}) ** {y}", (-8, 8)


def extreme(name, weight=2):
    def choose(g):
        a, b = pair(g, NUMBERS)
        dtype, x, y = both(g, a, b)
        return MAX, [a, b], "{0}.%s({1})" % name, f"torch.{name}({x}, {y})"
    op(weight, name)(choose)


extreme("maximum")
extreme("minimum")


def comparison(name, sign):
    def choose(g):
        if g.chance(0.4):
            i = g.pick(is_same, NUMBERS)
            return JUMP, [i], f"{{0}} {sign} {g.number(g.steps[i].dtype)!r}"
        a, b = pair(g, NUMBERS, is_same)
        dtype, x, y = both(g, a, b)
        return JUMP, [a, b], f"{{0}} {sign} {{1}}", f"{x} {sign} {y}"
    op(2, name)(choose)


for _name, _sign in (("lt", "<"), ("gt", ">"), ("le", "<="), ("ge", ">="), ("eq", "=="), ("ne", "!=")):
    comparison(_name, _sign)


@op(1)
def wraps(g):
    """Is x + 1 below x? For the largest integer it is."""
    i = g.pick(is_same, tuple(INTS))
    if g.chance(0.7):
        shape, (dtype, (low, high)) = g.shape(1, 2), g.rng.choice(list(INTS.items()))
        i = g.leaf(shape, dtype, data=[g.rng.choice([low, high, high - 1, 0]) for _ in range(int(np.prod(shape)))])
    return JUMP, [i], g.rng.choice(["({0} + 1) < {0}", "({0} - 1) > {0}", "({0} * 2) < {0}", "(-{0}) == {0}"])


# ---- conditions

def condition(g, shape):
    return g.partner(shape, ("bool",), is_same)


@op(5)
def where(g):
    a, b = pair(g)
    c = condition(g, g.rng.choice([g.steps[a].shape, g.steps[b].shape, broadcasting(g, a)]))
    dtype = common(g.steps[a].dtype, g.steps[b].dtype)
    return MOVE, [a, b, c], "{2}.where({0}, {1})", \
        f"torch.where({{2}}, {cast(g, a, dtype, 0)}, {cast(g, b, dtype, 1)})"


@op(3)
def where_number(g):
    a = g.pick(dtypes=NUMBERS)
    c = condition(g, broadcasting(g, a))
    n = repr(g.number(g.steps[a].dtype))
    mine, theirs = ("{1}.where({0}, %s)", "torch.where({1}, {0}, %s)") if g.chance(0.6) else \
        ("{1}.where(%s, {0})", "torch.where({1}, %s, {0})")
    full = "torch.full((), %s, dtype={%s})" % (n, g.steps[a].dtype)
    return MOVE, [a, c], mine % n, theirs % full


@op(2)
def where_any(g):
    """Any number but 0 counts as true, NaN too."""
    a, b = pair(g, FLOATS)
    c = g.partner(g.steps[a].shape, NUMBERS, is_same)
    dtype, x, y = both(g, a, b)
    return MOVE, [a, b, c], "{2}.where({0}, {1})", f"torch.where({{2}} != 0, {x}, {y})"


@op(3)
def where_product_sum(g):
    """A condition around a product that is summed: 0 times inf must not come into it."""
    a, b = pair(g, FLOATS)
    c = condition(g, g.steps[a].shape)
    dtype, x, y = both(g, a, b)
    shape = np.broadcast_shapes(g.steps[a].shape, g.steps[b].shape)
    axis = g.rng.choice([None, *range(len(shape))])
    return SUM, [a, b, c], f"{{2}}.where({{0}} * {{1}}, 0).sum({axis})", \
        f"torch.where({{2}}, {x} * {y}, 0).sum({axis})"


@op(2)
def entropy(g):
    i = g.pick(is_same, FLOATS, low=1)
    axis = g.axis(i)
    return FUNC, [i], f"({{0}} > 0).where({{0}} * {{0}}.log(), 0).sum({axis})", \
        f"torch.where({{0}} > 0, {{0}} * {{0}}.log(), 0).sum({axis})"


@op(2)
def contraction(g):
    """A sum of products, written with broadcasting; perhaps masked."""
    i = g.pick(dtypes=WIDE, low=2, high=2, most=64)
    n, k = g.steps[i].shape
    b = g.partner((k, g.rng.choice([1, 2, 3])), (g.steps[i].dtype,))
    if g.chance(0.5):
        return SUM, [i, b], "({0}.unsqueeze(2) * {1}.unsqueeze(0)).sum(1)"
    c = condition(g, (n, k))
    return SUM, [i, b, c], "{2}.unsqueeze(2).where({0}.unsqueeze(2) * {1}.unsqueeze(0), 0).sum(1)", \
        "torch.where({2}.unsqueeze(2), {0}.unsqueeze(2) * {1}.unsqueeze(0), 0).sum(1)"


# ---- movement

@op(5)
def reshape(g):
    i = g.pick()
    left, shape = int(np.prod(g.steps[i].shape)), []
    if left == 0:
        shape = g.rng.sample(g.steps[i].shape, len(g.steps[i].shape))
    while left > 1:
        n = g.rng.choice([d for d in range(2, left + 1) if left % d == 0])
        shape.append(n)
        left //= n
    shape += [1] * g.rng.choice([0, 0, 1])
    g.rng.shuffle(shape)
    if shape and 0 not in shape and g.chance(0.3):
        shape[g.rng.randrange(len(shape))] = -1
    return MOVE, [i], f"{{0}}.reshape({tuple(shape)})"


@op(4)
def expand(g):
    i = g.pick(high=4, most=200)
    shape = [g.rng.choice([2, 3]) if n == 1 else n for n in g.steps[i].shape]
    shape = [g.rng.choice([1, 2, 3])] * g.rng.choice([0, 1]) + shape
    if not shape:
        shape = [3]
    return MOVE, [i], f"{{0}}.expand({tuple(shape)})"


@op(4)
def permute(g):
    i = g.pick(low=2)
    order = list(range(len(g.steps[i].shape)))
    g.rng.shuffle(order)
    return MOVE, [i], f"{{0}}.permute({tuple(order)})"


@op(2)
def transpose(g):
    i = g.pick(low=1)
    return MOVE, [i], f"{{0}}.transpose({g.axis(i)}, {g.axis(i)})"


@op(1)
def T(g):
    return MOVE, [g.pick(low=2, high=2)], "{0}.T"


@op(3)
def flip(g):
    i = g.pick(low=1)
    axes = g.rng.sample(range(len(g.steps[i].shape)), g.rng.randint(1, len(g.steps[i].shape)))
    return MOVE, [i], f"{{0}}.flip({tuple(axes)})"


@op(3)
def shrink(g):
    i = g.pick(low=1)
    bounds = [sorted((g.rng.randint(0, n), g.rng.randint(0, n))) for n in g.steps[i].shape]
    return MOVE, [i], f"{{0}}.shrink({tuple(map(tuple, bounds))})", \
        "{0}[%s]" % ", ".join(f"{a}:{b}" for a, b in bounds)


def pads_of(g, i, low):
    return [(g.rng.randint(low, 2), g.rng.randint(low, 2)) for _ in g.steps[i].shape]


def flat(pads):
    return tuple(n for pair in reversed(pads) for n in pair)


@op(4)
def pad(g):
    i = g.pick(low=1, dtypes=NUMBERS, most=200)
    pads = pads_of(g, i, 0)
    value = g.rng.choice(["", "", f", value={g.number(g.steps[i].dtype)!r}"])
    return MOVE, [i], f"{{0}}.pad({tuple(pads)}{value})", f"F.pad({{0}}, {flat(pads)}{value})"


@op(2)
def pad2d(g):
    i = g.pick(lambda s: all(n > 2 for n in s.shape[-2:]), low=2, dtypes=NUMBERS, most=200)
    pads = tuple(g.rng.randint(-1, 2) for _ in range(4))
    return MOVE, [i], f"{{0}}.pad2d({pads})", f"F.pad({{0}}, {pads})"


@op(2)
def slice_outside(g):
    i = g.pick(low=1, dtypes=NUMBERS, most=200)
    bounds = [(g.rng.randint(-2, 1), n + g.rng.randint(-1, 2)) for n in g.steps[i].shape]
    if any(b <= a for a, b in bounds):
        raise Skip
    pads = [(-a, b - n) for (a, b), n in zip(bounds, g.steps[i].shape)]
    return MOVE, [i], f"{{0}}.slice({tuple(bounds)})", f"F.pad({{0}}, {flat(pads)})"


@op(2)
def unsqueeze(g):
    i = g.pick(high=4)
    n = len(g.steps[i].shape)
    return MOVE, [i], f"{{0}}.unsqueeze({g.rng.randint(-n - 1, n)})"


@op(2)
def repeat(g):
    i = g.pick(most=200)
    times = [g.rng.choice([1, 2, 3]) for _ in g.steps[i].shape]
    if not times or g.chance(0.2):
        times = [2] + times
    return MOVE, [i], f"{{0}}.repeat({tuple(times)})"


@op(1)
def chunk(g):
    i = g.pick(low=1, some=True)
    axis, parts = g.axis(i), g.rng.randint(1, 3)
    return MOVE, [i], f"{{0}}.chunk({parts}, {axis})[{g.rng.choice([0, -1])}]"


@op(4)
def cat(g):
    i = g.pick(low=1, most=200)
    axis, shape = g.axis(i), list(g.steps[i].shape)
    if g.chance(0.5):
        shape[axis] = g.rng.choice([1, 2, 3])
    ins = [i, g.partner(tuple(shape), (g.steps[i].dtype,))]
    if g.chance(0.3):
        ins.append(i)
    g.rng.shuffle(ins)
    names = ["{%d}" % k for k in range(len(ins))]
    return MOVE, ins, f"{names[0]}.cat({', '.join(names[1:])}, dim={axis})", f"torch.cat([{', '.join(names)}], dim={axis})"


@op(2)
def stack(g):
    i = g.pick(high=4, most=200)
    j = g.partner(g.steps[i].shape, (g.steps[i].dtype,))
    n = len(g.steps[i].shape)
    axis = g.rng.randint(-n - 1, n)
    return MOVE, [i, j], f"Tensor.stack([{{0}}, {{1}}], dim={axis})", f"torch.stack([{{0}}, {{1}}], dim={axis})"


@op(1)
def triu(g):
    return MOVE, [g.pick(low=2, dtypes=NUMBERS)], f"{{0}}.triu({g.rng.randint(-2, 2)})"


@op(1)
def tril(g):
    return MOVE, [g.pick(low=2, dtypes=NUMBERS)], f"{{0}}.tril({g.rng.randint(-2, 2)})"


# ---- constants

def constant(name, ours, theirs, weight=1):
    def choose(g):
        shape, dtype = g.shape(), g.dtype(NUMBERS)
        values = {"SHAPE": repr(shape), "VALUE": repr(g.number(dtype)), "DTYPE": dtype}
        texts = [ours, theirs.replace("dtype=", "dtype={") if "dtype=" in theirs else theirs]
        texts[1] = texts[1].replace("DTYPE", "DTYPE}")
        for key, value in values.items():
            texts = [t.replace(key, value) for t in texts]
        return MOVE, [], *texts
    op(weight, name)(choose)


constant("full", "Tensor.full(SHAPE, VALUE, dtype=dtypes.DTYPE)", "torch.full(SHAPE, VALUE, dtype=DTYPE)", 3)
constant("zeros", "Tensor.zeros(SHAPE, dtype=dtypes.DTYPE)", "torch.zeros(SHAPE, dtype=DTYPE)")
constant("ones", "Tensor.ones(SHAPE, dtype=dtypes.DTYPE)", "torch.ones(SHAPE, dtype=DTYPE)")
constant("eye", "Tensor.eye(3, dtype=dtypes.DTYPE)", "torch.eye(3, dtype=DTYPE)")


@op(2)
def arange(g):
    dtype, step = g.dtype(("int8", "int16", "int32", "int64") + FLOATS), g.rng.choice([1, 2, -1, 3])
    start, count = g.rng.randint(-3, 3), g.rng.randint(1, 6)
    args = f"{start}, {start + step * count}, {step}"
    return MOVE, [], f"Tensor.arange({args}, dtype=dtypes.{dtype})", f"torch.arange({args}, dtype={{{dtype}}})"


@op(1)
def full_like(g):
    i = g.pick(dtypes=NUMBERS)
    n = g.number(g.steps[i].dtype)
    return MOVE, [i], f"{{0}}.full_like({n!r})", f"torch.full_like({{0}}, {n!r}).detach()"


@op(1)
def zeros_like(g):
    return MOVE, [g.pick()], "{0}.zeros_like()", "torch.zeros_like({0})"


@op(1)
def ones_like(g):
    return MOVE, [g.pick()], "{0}.ones_like()", "torch.ones_like({0})"


# ---- indexing

def key_of(g, i, base):
    """An index for value i as text, and the index tensors in it, which are operands from number `base` on."""
    shape, parts, ins = g.steps[i].shape, [], []
    common_shape = tuple(g.rng.choice([1, 2, 3]) for _ in range(g.rng.choice([0, 1, 1, 1, 2])))
    at, ellipsis = 0, g.chance(0.3)
    while at < len(shape):
        n, kind = shape[at], g.rng.choice(["int", "slice", "slice", "step", "tensor", "list", "new", "mask", "all", "rest"])
        if kind == "new":
            parts.append("None")
            if len(parts) > 7:
                break
            continue
        if kind == "rest" and ellipsis:
            parts.append("...")
            at += g.rng.randint(0, len(shape) - at)
            ellipsis = False
            continue
        if kind == "int" and n:
            parts.append(str(g.rng.randint(-n, n - 1)))
        elif kind == "slice":
            a, b = g.rng.randint(-n - 1, n + 1), g.rng.randint(-n - 1, n + 1)
            parts.append(g.rng.choice([f"{a}:", f":{b}", f"{a}:{b}"]))
        elif kind == "step":
            parts.append(g.rng.choice(["::2", "1::2", "::3", ":-1:2"]))
        elif kind == "tensor" and n:
            shape_of = tuple(1 if g.chance(0.2) else k for k in common_shape)
            k = g.index(shape_of, n)
            if g.chance(0.3):
                g.steps[k].data = np.asarray(g.steps[k].data - n, dtype=g.steps[k].dtype)
                g.values[k].sub_(n)
            parts.append("{%d}" % (base + len(ins)))
            ins.append(k)
        elif kind == "list" and n and common_shape:
            parts.append(repr([g.rng.randint(-n, n - 1) for _ in range(common_shape[-1])]))
        elif kind == "mask" and n and common_shape and g.chance(0.4):
            mask = [False] * n
            for k in g.rng.sample(range(n), min(n, common_shape[-1])):
                mask[k] = True
            parts.append(repr(mask))
        else:
            parts.append(":")
        at += 1
        if g.chance(0.15):
            break
    return "[%s]" % ", ".join(parts or ["..."]), ins


@op(8)
def index(g):
    i = g.pick(low=1)
    key, ins = key_of(g, i, 1)
    return MOVE, [i, *ins], "{0}" + key


@op(2)
def index_backwards(g):
    """Negative steps, which PyTorch has not."""
    i = g.pick(low=1)
    at = g.rng.randrange(len(g.steps[i].shape))
    n = g.steps[i].shape[at]
    step, a = g.rng.choice([-1, -2, -3]), g.rng.choice(["", str(g.rng.randint(-n - 1, n + 1))])
    rows = list(range(n))[slice(int(a) if a else None, None, step)]
    return MOVE, [i], "{0}[%s%s::%d]" % (":, " * at, a, step), \
        f"{{0}}.index_select({at}, torch.tensor({rows}, dtype=torch.int64))"


@op(2)
def index_mask(g):
    i = g.pick(is_same, NUMBERS, low=1)
    return MOVE, [i, g.partner(g.steps[i].shape[:g.rng.randint(1, len(g.steps[i].shape))], ("bool",), is_same)], "{0}[{1}]"


@op(1)
def index_compared(g):
    i = g.pick(is_same, NUMBERS, low=1)
    return JUMP, [i], "{0}[{0} > 0]"


@op(2)
def index_computed(g):
    """An index that is itself computed."""
    i = g.pick(low=1, some=True)
    n = g.steps[i].shape[0]
    k = g.index((3,), n)
    return MOVE, [i, k], "{0}[({1} + 1).maximum(1) - 1]", "{0}[({1} + 1).clip(1) - 1]"


@op(3)
def take(g):
    i = g.pick(low=1, some=True)
    k = g.index(g.shape(0, 2), g.steps[i].shape[0])
    return MOVE, [i, k], "{0}.take({1})", "{0}[{1}]"


def along(g, unique=False):
    i = g.pick(low=1, some=True)
    axis = g.axis(i) % len(g.steps[i].shape)
    shape = tuple(g.rng.randint(1, n) if k != axis or unique else g.rng.randint(1, 4)
                  for k, n in enumerate(g.steps[i].shape))
    k = g.index(shape, g.steps[i].shape[axis], axis if unique else None)
    return i, axis if g.chance(0.5) else axis - len(shape), k


@op(4)
def gather(g):
    i, axis, k = along(g)
    return MOVE, [i, k], f"{{0}}.gather({{1}}, {axis})", f"{{0}}.gather({axis}, {{1}}.long())"


@op(3)
def gather_pad(g):
    """What lies in the padding is not looked up."""
    i, axis, k = along(g)
    if g.steps[i].dtype == "bool":
        raise Skip
    pads = [(g.rng.randint(0, 2), g.rng.randint(0, 2)) for _ in g.steps[i].shape]
    return MOVE, [i, k], f"{{0}}.gather({{1}}, {axis}).pad({tuple(pads)})", \
        f"F.pad({{0}}.gather({axis}, {{1}}.long()), {flat(pads)})"


@op(2)
def scatter(g):
    i, axis, k = along(g, unique=True)
    j = g.partner(g.steps[k].shape, (g.steps[i].dtype,))
    return MOVE, [i, k, j], f"{{0}}.scatter({axis}, {{1}}, {{2}})", f"{{0}}.scatter({axis}, {{1}}.long(), {{2}})"


@op(2)
def scatter_add(g):
    i, axis, k = along(g)
    if g.steps[i].dtype == "bool":
        raise Skip
    shape = g.steps[k].shape
    j = g.leaf(shape, g.steps[i].dtype)
    return SUM, [i, k, j], f"{{0}}.scatter_add({axis}, {{1}}, {{2}})", f"{{0}}.scatter_add({axis}, {{1}}.long(), {{2}})"


def named_shape(g, i, key, ins):
    """The shape of what the index names, whose tensors are operands from number 2 on; each place at most once."""
    whole = torch.arange(int(np.prod(g.steps[i].shape))).reshape(g.steps[i].shape)
    try:
        named = eval("whole" + key.format(None, None, *(f"ins[{n}]" for n in range(len(ins)))),
                     {"whole": whole, "ins": [g.values[k] for k in ins]})
    except (IndexError, RuntimeError, TypeError) as e:
        raise Skip from e
    if len(set(named.reshape(-1).tolist())) != named.numel():
        raise Skip  # of equal places either may win in PyTorch
    return tuple(named.shape)


@op(4)
def set_index(g):
    """x[key] = value, and what was computed from x before keeps the old value."""
    i = g.pick(low=1)
    key, ins = key_of(g, i, 2)
    shape = named_shape(g, i, key, ins)
    value = g.partner(tuple(1 if g.chance(0.2) else n for n in shape), (g.steps[i].dtype,))
    after = "; {out} = Tensor.stack([{out}, w])" if g.chance(0.5) else ""
    ours = "{out} = {0}.detach()[...]; w = {out}[...]; {out}%s = {1}.detach()%s" % (key, after)
    theirs = "{out} = {0}.detach().clone(); w = {out}.clone(); {out}%s = {1}.detach()%s" % (key, after.replace("Tensor", "torch"))
    return MOVE, [i, value, *ins], ours, theirs


@op(2)
def set_index_number(g):
    i = g.pick(low=1, dtypes=NUMBERS)
    key, ins = key_of(g, i, 1)
    n = g.number(g.steps[i].dtype)
    return MOVE, [i, *ins], "{out} = {0}.detach()[...]; {out}%s = %r" % (key, n), \
        "{out} = {0}.detach().clone(); {out}%s = %r" % (key, n)


@op(2)
def masked_fill(g):
    i = g.pick(low=1, dtypes=NUMBERS)
    c = condition(g, g.steps[i].shape)
    n = g.number(g.steps[i].dtype)
    return MOVE, [i, c], "{out} = {0}.detach()[...]; {out}[{1}] = %r" % n, "{0}.detach().masked_fill({1}, %r)" % n


@op(2)
def assign(g):
    """assign, and what was computed from the tensor before keeps the old value."""
    i = g.pick(dtypes=NUMBERS)
    j = g.partner(g.steps[i].shape, (g.steps[i].dtype,))
    return ARITH, [i, j], "{out} = {0}.detach()[...]; w = {out} * 2; {out}.assign({1}.detach()); {out} = {out}.detach() + w", \
        "{1}.detach() + {0}.detach() * 2"


@op(1)
def in_place(g):
    a = g.pick(dtypes=NUMBERS)
    b = g.partner(g.steps[a].shape, (g.steps[a].dtype,))
    sign = g.rng.choice("+-*")
    return ARITH, [a, b], "{out} = {0}.detach()[...]; {out} %s= {1}.detach()" % sign, "{0}.detach() %s {1}.detach()" % sign


# ---- reductions

def reduction(name, kind, dtypes, ours, theirs, some=False, weight=2):
    def choose(g):
        i = g.pick(is_same if kind == JUMP else lambda s: True, dtypes, some=some)
        axis, keep = g.axes(i), g.chance(0.4)
        shape = g.steps[i].shape
        all_axes = tuple(range(len(shape))) if axis is None else axis
        values = {"AXIS": repr(axis), "ALL": repr(all_axes), "KEEP": repr(keep)}
        texts = [ours, theirs]
        for key, value in values.items():
            texts = [t.replace(key, value) for t in texts]
        return kind, [i], *texts
    op(weight, name)(choose)


reduction("sum", SUM, DTYPES, "{0}.sum(axis=AXIS, keepdim=KEEP)", "{0}.sum(dim=ALL, keepdim=KEEP)", weight=7)
reduction("mean", FUNC, FLOATS, "{0}.mean(axis=AXIS, keepdim=KEEP)", "{0}.mean(dim=ALL, keepdim=KEEP)", weight=4)
reduction("max", MAX, NUMBERS, "{0}.max(axis=AXIS, keepdim=KEEP)", "{0}.amax(dim=ALL, keepdim=KEEP)", True, 3)
reduction("min", MAX, NUMBERS, "{0}.min(axis=AXIS, keepdim=KEEP)", "{0}.amin(dim=ALL, keepdim=KEEP)", True)
reduction("std", FUNC, FLOATS, "{0}.std(axis=AXIS, keepdim=KEEP)", "{0}.std(dim=ALL, keepdim=KEEP)", True)
reduction("std_population", FUNC, FLOATS, "{0}.std(axis=AXIS, keepdim=KEEP, correction=0)",
          "{0}.std(dim=ALL, keepdim=KEEP, correction=0)", True, 1)


def one_axis(name, kind, dtypes, ours, theirs, some=False, weight=2, limits=None):
    def choose(g):
        i = g.pick(is_same if kind == JUMP else lambda s: True, dtypes, low=1, some=some)
        axis = g.axis(i)
        n = g.steps[i].shape[axis]
        return kind, [i], ours.replace("AXIS", str(axis)), theirs.replace("AXIS", str(axis)).replace("SIZE", str(n)), limits
    op(weight, name)(choose)


one_axis("softmax", FUNC, FLOATS, "{0}.softmax(AXIS)", "{0}.softmax(AXIS)")
one_axis("log_softmax", FUNC, FLOATS, "{0}.log_softmax(AXIS)", "{0}.log_softmax(AXIS)")
one_axis("cumsum", SUM, DTYPES, "{0}.cumsum(AXIS)", "{0}.cumsum(AXIS)", weight=3)
one_axis("argmax", JUMP, NUMBERS, "{0}.argmax(AXIS)", "{0}.argmax(AXIS)", True)
one_axis("argmin", JUMP, NUMBERS, "{0}.argmin(AXIS)", "{0}.argmin(AXIS)", True)
one_axis("layernorm", FUNC, FLOATS, "{0}.layernorm(AXIS)",
         "F.layer_norm({0}.movedim(AXIS, -1), (SIZE,)).movedim(-1, AXIS)", True)


@op(1)
def argmax_flat(g):
    return JUMP, [g.pick(is_same, NUMBERS, some=True)], "{0}.argmax()"


@op(2)
def many(g):
    """Means and sums over more elements than float16 can count: an expanded tensor."""
    i = g.pick(dtypes=FLOATS[:3], most=8, high=1)
    n = max(1, int(np.prod(g.steps[i].shape)))
    if n == 0 or 0 in g.steps[i].shape:
        raise Skip
    rows = g.rng.choice([66000, 70000]) // n
    how = g.rng.choice(["mean()", "mean(0)"])
    wide = f".reshape(1, {n}).expand({rows}, {n}).{how}"
    return FUNC, [i], "{0}" + wide, "{0}.to(torch.float64)" + wide + ".to({%s})" % g.steps[i].dtype


@op(2)
def many_constants(g):
    """Sums of constants: bool and int8 count up to int64, float16 up to infinity but not on the way."""
    dtype = g.dtype(NUMBERS[:-1])
    n = g.rng.choice([300, 70000])
    value = g.rng.choice([1e-4, 0.5, 2 ** -10] if dtype in FLOATS else [1, 2, 3])
    how = g.rng.choice(["sum()", "cumsum(0)[-3:]", "mean()"] if dtype in FLOATS else ["sum()", "cumsum(0)[-3:]"])
    theirs = f"torch.full(({n},), {value}, dtype={{{dtype}}})" + (".to(torch.float64)" if dtype in FLOATS else "")
    return FUNC, [], f"Tensor.full(({n},), {value}, dtype=dtypes.{dtype}).{how}", \
        f"{theirs}.{how}" + (f".to({{{dtype}}})" if dtype in FLOATS else "")


# ---- products and layers

@op(5)
def matmul(g):
    i = g.pick(dtypes=FLOATS + ("int32", "int64"), low=1, high=4, most=200)
    shape = g.steps[i].shape
    k = shape[-1]
    other = (k,) if len(shape) == 1 and g.chance(0.4) else (k, g.rng.choice([1, 2, 3, 4]))
    if len(shape) > 2 and g.chance(0.5):
        other = tuple(1 if g.chance(0.3) else n for n in shape[:-2]) + other
    j = g.partner(other, (g.steps[i].dtype,))
    if g.chance(0.2) and len(other) >= 2 and len(shape) >= 2:
        return SUM, [i, j], g.rng.choice(["{0}.dot({1})", "{0}.matmul({1})"]), "{0} @ {1}"
    return SUM, [i, j], "{0} @ {1}"


@op(2)
def linear(g):
    i = g.pick(dtypes=FLOATS, low=2, high=3, most=200)
    d = g.steps[i].dtype
    n = g.rng.choice([1, 2, 3])
    w, b = g.partner((g.steps[i].shape[-1], n), (d,)), g.partner((n,), (d,))
    return SUM, [i, w, b], "{0}.linear({1}, {2})", "{0} @ {1} + {2}"


def image(g, dims, dtypes=FLOATS):
    """A value [N, C, H...] that is large enough for small kernels."""
    fits = [i for i, s in enumerate(g.steps) if len(s.shape) == dims + 2 and s.dtype in dtypes
            and 0 not in s.shape and all(2 <= n <= 8 for n in s.shape[2:]) and np.prod(s.shape) < 500]
    if fits and g.chance(0.7):
        return g.rng.choice(fits)
    shape = (g.rng.randint(1, 2), g.rng.choice([1, 2, 4]), *(g.rng.randint(3, 6) for _ in range(dims)))
    return g.leaf(shape, g.dtype(dtypes))


def window(g, i, dims):
    return dict(k=[g.rng.randint(1, 3) for _ in range(dims)], stride=g.rng.randint(1, 2), dilation=g.rng.choice([1, 1, 2]),
                padding=g.rng.choice([0, 1, 2]))


@op(4)
def conv2d(g):
    dims = g.rng.choice([1, 2, 2, 2, 3])
    i = image(g, dims)
    s, w = g.steps[i], window(g, i, dims)
    groups = g.rng.choice([n for n in (1, 1, 2, 4) if s.shape[1] % n == 0])
    out = groups * g.rng.randint(1, 2)
    weight = g.leaf((out, s.shape[1] // groups, *w["k"]), s.dtype)
    ins = [i, weight] + ([g.partner((out,), (s.dtype,))] if g.chance(0.4) else [])
    args = f", stride={w['stride']}, dilation={w['dilation']}, padding={w['padding']}, groups={groups})"
    names = ", ".join("{%d}" % n for n in range(1, len(ins)))
    return FUNC, ins, "{0}.conv2d(" + names + args, f"F.conv{dims}d({{0}}, " + names + args


@op(2)
def conv_transpose2d(g):
    dims = g.rng.choice([1, 2])
    i = image(g, dims)
    s, w = g.steps[i], window(g, i, dims)
    groups = g.rng.choice([n for n in (1, 2) if s.shape[1] % n == 0])
    weight = g.leaf((s.shape[1], g.rng.randint(1, 2), *w["k"]), s.dtype)
    padding = min(w["padding"], 1)
    if any((n - 1) * w["stride"] - 2 * padding + w["dilation"] * (k - 1) < 0 for n, k in zip(s.shape[2:], w["k"])):
        raise Skip  # no element is left
    args = f", stride={w['stride']}, dilation={w['dilation']}, padding={padding}, groups={groups}, " \
           f"output_padding={g.rng.randint(0, w['stride'] - 1)})"
    return FUNC, [i, weight], "{0}.conv_transpose2d({1}" + args, f"F.conv_transpose{dims}d({{0}}, {{1}}" + args


@op(2)
def conv_pad_gather(g):
    """A convolution with padding over what was gathered."""
    x = g.leaf((1, 2, 5), g.dtype(WIDE))
    k, w = g.index((1, 2, 4), 5), g.leaf((2, 2, 3), g.steps[x].dtype)
    return FUNC, [x, k, w], "{0}.gather({1}, 2).conv2d({2}, padding=1)", "F.conv1d({0}.gather(2, {1}.long()), {2}, padding=1)"


@op(2)
def avg_pool2d(g):
    i = image(g, 2)
    k, stride = (g.rng.randint(1, 3), g.rng.randint(1, 3)), g.rng.choice([None, 1, 2])
    return FUNC, [i], f"{{0}}.avg_pool2d({k}, {stride})", f"F.avg_pool2d({{0}}, {k}, {stride})"


@op(2)
def max_pool2d(g):
    """PyTorch's by windows: its own gives the gradient to one of equal elements, ours to all of them in parts."""
    i = image(g, 2)
    k, stride, d = (g.rng.randint(1, 3), g.rng.randint(1, 3)), g.rng.randint(1, 2), g.rng.choice([1, 1, 2])
    windows = "".join(f".unfold({a}, {(n - 1) * d + 1}, {stride})" for a, n in zip((2, 3), k))
    return MAX, [i], f"{{0}}.max_pool2d({k}, {stride}, {d})", f"{{0}}{windows}[..., ::{d}, ::{d}].amax((-2, -1))"


@op(1)
def batchnorm(g):
    i = image(g, 2)
    s = g.steps[i]
    c, d = s.shape[1], (s.dtype,)
    ins = [i, *(g.partner((c,), d) for _ in range(3)), g.leaf((c,), s.dtype, style="positive")]
    view = [".reshape(1, %d, 1, 1)" % c] * 4
    return FUNC, ins, "{0}.batchnorm({1}, {2}, {3}, {4})", \
        "({0} - {3}%s) * {1}%s * {4}%s + {2}%s" % tuple(view)


@op(2)
def attention(g):
    i = g.pick(dtypes=FLOATS, low=2, high=4, some=True, most=200)
    s = g.steps[i]
    key, d = s.shape[:-2] + (g.rng.randint(1, 4), s.shape[-1]), (s.dtype,)
    k, v = g.partner(key, d), g.partner(key[:-1] + (g.rng.randint(1, 3),), d)
    how = g.rng.choice(["plain", "causal", "mask", "added"])
    if how == "plain" or how == "causal":
        arg = ", is_causal=True" if how == "causal" else ""
        return FUNC, [i, k, v], "{0}.scaled_dot_product_attention({1}, {2}%s)" % arg, \
            "F.scaled_dot_product_attention({0}, {1}, {2}%s)" % arg, FINITE  # PyTorch's fast way loses NaN
    m = condition(g, (s.shape[-2], key[-2])) if how == "mask" else g.partner((s.shape[-2], key[-2]), d)
    if how == "mask" and not bool(g.values[m].any(-1).all()):
        raise Skip  # a row without a key: PyTorch gives 0 or nan, by the version
    return FUNC, [i, k, v, m], "{0}.scaled_dot_product_attention({1}, {2}, attn_mask={3})", \
        "F.scaled_dot_product_attention({0}, {1}, {2}, attn_mask={3})", FINITE


@op(1)
def binary_crossentropy(g):
    i = g.pick(dtypes=FLOATS, some=True)
    s = g.steps[i]
    y = g.leaf(s.shape, s.dtype, style="positive")
    if g.chance(0.5):
        return FUNC, [i, y], "{0}.binary_crossentropy_logits({1})", "F.binary_cross_entropy_with_logits({0}, {1})", (-30, 30)
    return FUNC, [i, y], "({0}.sigmoid() * 0.5 + 0.25).binary_crossentropy({1})", \
        "(lambda p: -({1} * p.log() + (1 - {1}) * (1 - p).log()).mean())({0}.sigmoid() * 0.5 + 0.25)", (-30, 30)


@op(1)
def sparse_crossentropy(g):
    i = g.pick(dtypes=FLOATS, low=1, some=True)
    s = g.steps[i]
    classes = s.shape[-1]
    y = g.index(s.shape[:-1], classes)
    ignore = g.rng.choice([-1, 0])
    if bool((g.values[y] == ignore).all()):
        raise Skip
    return FUNC, [i, y], f"{{0}}.sparse_categorical_crossentropy({{1}}, ignore_index={ignore})", \
        f"F.cross_entropy({{0}}.reshape(-1, {classes}), {{1}}.long().reshape(-1), ignore_index={ignore})"


@op(1)
def sequential(g):
    return MAX, [g.pick(dtypes=FLOATS)], "{0}.sequential([lambda x: x.relu(), lambda x: -x])", "-torch.relu({0})"
