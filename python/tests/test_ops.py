"""Every operation, forward and gradient, live against PyTorch; hypothesis draws the shapes."""
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from compare import arrays, close, compare
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, mutually_broadcastable_shapes

from teenygrad import Tensor, dtypes

shapes = array_shapes(min_dims=0, max_dims=4, min_side=1, max_side=5)
SQRT2PI = math.sqrt(2 / math.pi)

UNARY = {
    "neg": (Tensor.neg, torch.neg, -2, 2),
    "log": (Tensor.log, torch.log, 0.1, 3),
    "log2": (Tensor.log2, torch.log2, 0.1, 3),
    "exp": (Tensor.exp, torch.exp, -2, 2),
    "exp2": (Tensor.exp2, torch.exp2, -2, 2),
    "relu": (Tensor.relu, torch.relu, -2, 2),
    "sigmoid": (Tensor.sigmoid, torch.sigmoid, -4, 4),
    "sin": (Tensor.sin, torch.sin, -4, 4),
    "cos": (Tensor.cos, torch.cos, -4, 4),
    "tan": (Tensor.tan, torch.tan, -1, 1),
    "sqrt": (Tensor.sqrt, torch.sqrt, 0.1, 3),
    "rsqrt": (Tensor.rsqrt, torch.rsqrt, 0.1, 3),
    "trunc": (Tensor.trunc, torch.trunc, -3, 3),
    "ceil": (Tensor.ceil, torch.ceil, -3, 3),
    "floor": (Tensor.floor, torch.floor, -3, 3),
    "square": (Tensor.square, torch.square, -2, 2),
    "clip": (lambda x: x.clip(-0.5, 0.7), lambda x: x.clip(-0.5, 0.7), -2, 2),
    "abs": (abs, torch.abs, -2, 2),
    "sign": (Tensor.sign, torch.sign, -2, 2),
    "reciprocal": (Tensor.reciprocal, torch.reciprocal, 0.2, 2),
    "elu": (lambda x: x.elu(0.7), lambda x: F.elu(x, 0.7), -2, 2),
    "celu": (lambda x: x.celu(0.7), lambda x: F.celu(x, 0.7), -2, 2),
    "swish": (Tensor.swish, F.silu, -2, 2),
    "silu": (Tensor.silu, F.silu, -2, 2),
    "relu6": (Tensor.relu6, F.relu6, -2, 8),
    "hardswish": (Tensor.hardswish, F.hardswish, -5, 5),
    "tanh": (Tensor.tanh, torch.tanh, -2, 2),
    "sinh": (Tensor.sinh, torch.sinh, -2, 2),
    "cosh": (Tensor.cosh, torch.cosh, -2, 2),
    "atanh": (Tensor.atanh, torch.atanh, -0.9, 0.9),
    "asinh": (Tensor.asinh, torch.asinh, -2, 2),
    "acosh": (Tensor.acosh, torch.acosh, 1.2, 3),
    "hardtanh": (Tensor.hardtanh, F.hardtanh, -2, 2),
    "gelu": (Tensor.gelu, lambda x: F.gelu(x, approximate="tanh"), -2, 2),
    "quick_gelu": (Tensor.quick_gelu, lambda x: x * torch.sigmoid(1.702 * x), -2, 2),
    "leakyrelu": (lambda x: x.leakyrelu(0.1), lambda x: F.leaky_relu(x, 0.1), -2, 2),
    "mish": (Tensor.mish, F.mish, -2, 2),
    "softplus": (lambda x: x.softplus(2), lambda x: F.softplus(x, 2), -2, 2),
    "softsign": (Tensor.softsign, F.softsign, -2, 2),
    "contiguous": (Tensor.contiguous, lambda x: x + 0, -2, 2),
    "contiguous_backward": (Tensor.contiguous_backward, lambda x: x + 0, -2, 2),
}


@pytest.mark.parametrize("name", UNARY)
@given(shape=shapes)
def test_unary(name, shape):
    ours, theirs, low, high = UNARY[name]
    compare(ours, *arrays([shape], low, high), torch_f=theirs)


BINARY = {
    "add": (lambda x, y: x + y, None), "sub": (lambda x, y: x - y, None), "mul": (lambda x, y: x * y, None),
    "div": (lambda x, y: x / (y + 3), None), "pow": (lambda x, y: (x + 2) ** y, None),
    "maximum": (Tensor.maximum, torch.maximum), "minimum": (Tensor.minimum, torch.minimum),
    "where": (lambda x, y: (x > 0).where(x, y), lambda x, y: torch.where(x > 0, x, y)),
    "reflected": (lambda x, y: (2 - x) * (1 / (y + 3)) + 2 ** x - 0.5 * y, None),
    "numbers": (lambda x, y: (x + 1) * 2 / 3 - y ** 2 + x ** 3 - 1, None),
}


@pytest.mark.parametrize("name", BINARY)
@given(both=mutually_broadcastable_shapes(num_shapes=2, max_dims=4, max_side=4))
def test_binary(name, both):
    ours, theirs = BINARY[name]
    compare(ours, *arrays(both.input_shapes), torch_f=theirs)


@pytest.mark.parametrize("name", ["lt", "gt", "ge", "le", "ne", "eq"])
@given(both=mutually_broadcastable_shapes(num_shapes=2, max_dims=3, max_side=4))
def test_comparison(name, both):
    x, y = (np.random.randint(-2, 3, size=s).astype(np.float32) for s in both.input_shapes)
    op = f"__{name}__"
    out = getattr(Tensor(x), op)(Tensor(y))
    assert out.dtype == dtypes.bool
    close(out.numpy(), getattr(torch.tensor(x), op)(torch.tensor(y)).numpy())
    close(getattr(Tensor(x), op)(1).numpy(), getattr(torch.tensor(x), op)(1).numpy())
    assert (getattr(Tensor(x), name)(Tensor(y)).numpy() == out.numpy()).all()


@st.composite
def shape_and_axes(draw, empty=True):
    shape = draw(array_shapes(min_dims=1, max_dims=4, max_side=4))
    axes = draw(st.lists(st.sampled_from(range(len(shape))), unique=True, min_size=0 if empty else 1))
    axes = [a if draw(st.booleans()) else a - len(shape) for a in axes]
    return shape, tuple(axes), draw(st.booleans())


REDUCE = {
    "sum": (Tensor.sum, torch.sum), "mean": (Tensor.mean, torch.mean),
    "max": (Tensor.max, torch.amax), "min": (Tensor.min, torch.amin)}


@pytest.mark.parametrize("name", REDUCE)
@given(case=shape_and_axes(empty=False))
def test_reduce(name, case):
    ours, theirs = REDUCE[name]
    shape, axes, keepdim = case
    compare(lambda x: ours(x, axes, keepdim=keepdim), *arrays([shape]),
            torch_f=lambda x: theirs(x, axes, keepdim=keepdim))
    compare(lambda x: ours(x), *arrays([shape]), torch_f=lambda x: theirs(x, tuple(range(len(shape)))))


@given(case=shape_and_axes(empty=False), correction=st.sampled_from([0, 1]))
def test_std(case, correction):
    shape, axes, keepdim = case
    shape = tuple(s + 2 for s in shape)
    compare(lambda x: x.std(axes, keepdim=keepdim, correction=correction), *arrays([shape]),
            torch_f=lambda x: x.std(axes, keepdim=keepdim, correction=correction))


@given(shape=array_shapes(min_dims=1, max_dims=4, max_side=5), data=st.data())
def test_along_one_axis(shape, data):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    x, = arrays([shape])
    compare(lambda x: x.softmax(axis), x)
    compare(lambda x: x.log_softmax(axis), x)
    compare(lambda x: x.cumsum(axis), x)
    for name in ("argmax", "argmin"):
        for keepdim in (False, True):
            ours = getattr(Tensor(x), name)(axis, keepdim=keepdim)
            assert (ours.numpy() == getattr(torch.tensor(x), name)(axis, keepdim=keepdim).numpy()).all()
        assert getattr(Tensor(x), name)().item() == getattr(torch.tensor(x), name)().item()
    compare(lambda x: x.layernorm(), x, torch_f=lambda x: F.layer_norm(x, x.shape[-1:]), atol=2e-4, rtol=2e-3)


@given(shape=array_shapes(min_dims=2, max_dims=4, max_side=5), k=st.integers(-4, 4))
def test_triangles(shape, k):
    compare(lambda x: x.triu(k), *arrays([shape]))
    compare(lambda x: x.tril(k), *arrays([shape]))


@given(shape=array_shapes(min_dims=1, max_dims=4, max_side=4), data=st.data())
def test_movement(shape, data):
    x, = arrays([shape])
    n = len(shape)
    order = data.draw(st.permutations(range(n)))
    axes = data.draw(st.lists(st.sampled_from(range(n)), unique=True, min_size=1))
    pads = [(data.draw(st.integers(0, 2)), data.draw(st.integers(0, 2))) for _ in range(n)]
    torch_pads = [p for pair in reversed(pads) for p in pair]
    repeats = [data.draw(st.integers(1, 3)) for _ in range(n)]
    a, b = data.draw(st.integers(-n, n - 1)), data.draw(st.integers(-n, n - 1))
    compare(lambda x: x.permute(order), x)
    compare(lambda x: x.permute(*order), x)
    compare(lambda x: x.flip(axes), x)
    compare(lambda x: x.transpose(a, b), x)
    compare(lambda x: x.reshape(-1), x)
    compare(lambda x: x.reshape(shape[::-1]), x)
    compare(lambda x: x.flatten(a % n), x)
    compare(lambda x: x.unsqueeze(a), x)
    compare(lambda x: x.reshape(*shape, 1).expand(*shape, 3), x)
    compare(lambda x: x.repeat(repeats), x)
    compare(lambda x: x.pad(pads, value=0.5), x, torch_f=lambda x: F.pad(x, torch_pads, value=0.5))
    compare(lambda x: x.pad2d(torch_pads, value=2), x, torch_f=lambda x: F.pad(x, torch_pads, value=2))
    compare(lambda x: x.shrink(tuple((0, max(1, s - 1)) for s in shape)), x,
            torch_f=lambda x: x[tuple(slice(0, max(1, s - 1)) for s in shape)])
    compare(lambda x: x.squeeze(a), x)
    compare(lambda x: x.squeeze(), x)


@given(shape=array_shapes(min_dims=1, max_dims=3, max_side=5), data=st.data())
def test_joins(shape, data):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    count = data.draw(st.integers(1, 4))
    x, y, z = arrays([shape] * 3)
    compare(lambda x, y, z: x.cat(y, z, dim=axis), x, y, z, torch_f=lambda *a: torch.cat(a, dim=axis))
    compare(lambda x, y, z: Tensor.stack([x, y, z], dim=axis), x, y, z, torch_f=lambda *a: torch.stack(a, dim=axis))
    ours, theirs = Tensor(x).chunk(count, axis), torch.tensor(x).chunk(count, axis)
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs):
        close(a.numpy(), b.numpy())


@given(m=st.integers(1, 6), k=st.integers(1, 6), n=st.integers(1, 6),
       batch=mutually_broadcastable_shapes(num_shapes=2, max_dims=2, max_side=3))
def test_matmul(m, k, n, batch):
    a, b = batch.input_shapes
    compare(lambda x, y: x @ y, *arrays([(*a, m, k), (*b, k, n)]))
    compare(lambda x, y: x.dot(y), *arrays([(k,), (k,)]), torch_f=torch.dot)
    compare(lambda x, y: x.matmul(y), *arrays([(m, k), (k,)]))
    compare(lambda x, y: x.matmul(y), *arrays([(k,), (k, n)]))
    compare(lambda x, w, c: x.linear(w, c), *arrays([(m, k), (k, n), (n,)]), torch_f=lambda x, w, c: x @ w + c)


@given(data=st.data())
def test_conv(data):
    dims = data.draw(st.integers(1, 3))
    groups, stride, dilation = (data.draw(st.integers(1, 2)) for _ in range(3))
    padding, bias = data.draw(st.integers(0, 2)), data.draw(st.booleans())
    cin, cout, k = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 3)), data.draw(st.integers(1, 3))
    size = tuple(data.draw(st.integers(5, 7)) for _ in range(dims))
    x, w, b = arrays([(2, cin * groups, *size), (cout * groups, cin, *[k] * dims), (cout * groups,)])
    named = dict(stride=stride, dilation=dilation, padding=padding, groups=groups)
    conv = [F.conv1d, F.conv2d, F.conv3d][dims - 1]
    if bias:
        compare(lambda x, w, b: x.conv2d(w, b, **named), x, w, b, torch_f=lambda x, w, b: conv(x, w, b, **named))
    else:
        compare(lambda x, w: x.conv2d(w, **named), x, w, torch_f=lambda x, w: conv(x, w, **named))
    extra = data.draw(st.integers(0, stride - 1))
    wt, = arrays([(cin * groups, cout, *[k] * dims)])
    transposed = [F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d][dims - 1]
    if all((s - 1) * stride - 2 * padding + dilation * (k - 1) + extra + 1 > 0 for s in size):
        compare(lambda x, w: x.conv_transpose2d(w, output_padding=extra, **named), x, wt,
                torch_f=lambda x, w: transposed(x, w, output_padding=extra, **named))


@given(k=st.tuples(st.integers(1, 3), st.integers(1, 3)), stride=st.integers(1, 3), dilation=st.integers(1, 2))
def test_pools(k, stride, dilation):
    x, = arrays([(2, 3, 7, 8)])
    compare(lambda x: x.avg_pool2d(k, stride), x, torch_f=lambda x: F.avg_pool2d(x, k, stride))
    compare(lambda x: x.avg_pool2d(k), x, torch_f=lambda x: F.avg_pool2d(x, k))
    compare(lambda x: x.max_pool2d(k, stride, dilation), x,
            torch_f=lambda x: F.max_pool2d(x, k, stride, dilation=dilation))
    compare(lambda x: x.max_pool2d(), x, torch_f=lambda x: F.max_pool2d(x, 2))


def test_negative_and_uneven_padding():
    x, w = arrays([(1, 2, 8, 8), (3, 2, 3, 3)])
    for padding in ([1, 2, 0, 3], [-1, 1, 2, -2]):
        compare(lambda x, w: x.conv2d(w, padding=padding), x, w, torch_f=lambda x, w: F.conv2d(F.pad(x, padding), w))


@given(causal=st.booleans(), masked=st.booleans())
def test_attention(causal, masked):
    q, k, v = arrays([(2, 3, 4, 5), (2, 3, 6, 5), (2, 3, 6, 5)])
    mask = np.random.uniform(-1, 1, (4, 6)).astype(np.float32)
    if causal:
        compare(lambda q, k, v: q.scaled_dot_product_attention(k, v, is_causal=True), q, k, v,
                torch_f=lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True))
    elif masked:
        compare(lambda q, k, v: q.scaled_dot_product_attention(k, v, attn_mask=Tensor(mask)), q, k, v,
                torch_f=lambda q, k, v: F.scaled_dot_product_attention(q, k, v, attn_mask=torch.tensor(mask)))
        keep = mask > -0.5
        compare(lambda q, k, v: q.scaled_dot_product_attention(k, v, attn_mask=Tensor(keep)), q, k, v,
                torch_f=lambda q, k, v: F.scaled_dot_product_attention(q, k, v, attn_mask=torch.tensor(keep)))
    else:
        compare(lambda q, k, v: q.scaled_dot_product_attention(k, v), q, k, v,
                torch_f=F.scaled_dot_product_attention)


@given(shape=array_shapes(min_dims=1, max_dims=3, max_side=5), classes=st.integers(2, 6))
def test_losses(shape, classes):
    y = np.random.randint(0, classes, shape)
    y.flat[0] = 0
    x, = arrays([(*shape, classes)])
    compare(lambda x: x.sparse_categorical_crossentropy(Tensor(y)), x,
            torch_f=lambda x: F.cross_entropy(x.reshape(-1, classes), torch.tensor(y).reshape(-1)))
    ignored = y.copy()
    ignored.flat[-1] = -1 if ignored.size > 1 else ignored.flat[-1]
    compare(lambda x: x.sparse_categorical_crossentropy(Tensor(ignored)), x, torch_f=lambda x: F.cross_entropy(
        x.reshape(-1, classes), torch.tensor(ignored).reshape(-1), ignore_index=-1))
    p = np.random.uniform(0.05, 0.95, shape).astype(np.float32)
    t = np.random.uniform(0, 1, shape).astype(np.float32)
    compare(lambda p: p.binary_crossentropy(Tensor(t)), p,
            torch_f=lambda p: F.binary_cross_entropy(p, torch.tensor(t)))
    compare(lambda p: p.binary_crossentropy_logits(Tensor(t)), p,
            torch_f=lambda p: F.binary_cross_entropy_with_logits(p, torch.tensor(t)))


def test_batchnorm_and_dropout():
    x, w, b, mean = arrays([(4, 3, 5, 5), (3,), (3,), (3,)])
    var = np.random.uniform(0.5, 2, 3).astype(np.float32)
    compare(lambda x, w, b: x.batchnorm(w, b, Tensor(mean), (Tensor(var) + 1e-5).rsqrt()), x, w, b,
            torch_f=lambda x, w, b: F.batch_norm(x, torch.tensor(mean), torch.tensor(var), w, b), atol=1e-4)
    wide = 1 / np.sqrt(var.reshape(1, 3, 1, 1) + 1e-5)
    for invstd in (wide, np.broadcast_to(wide, x.shape)):  # teenygrad's BatchNorm2d gives the latter in evaluation
        out = Tensor(x).batchnorm(Tensor(w.reshape(1, 3, 1, 1)), Tensor(b), Tensor(mean), Tensor(invstd))
        close(out.numpy(), F.batch_norm(*map(torch.tensor, (x, mean, var, w, b))), atol=1e-4)
    t = Tensor.ones(10000)
    assert t.dropout(0.3) is t
    with Tensor.train():
        out = t.dropout(0.3).numpy()
    assert abs((out == 0).mean() - 0.3) < 0.03
    close(out[out > 0], np.full((out > 0).sum(), 1 / 0.7, np.float32))


@given(shape=array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=4), data=st.data())
def test_gather_and_scatter(shape, data):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    x, src = arrays([shape] * 2)
    index = np.random.randint(0, shape[axis], shape)
    compare(lambda x: x.gather(Tensor(index), axis), x, torch_f=lambda x: x.gather(axis, torch.tensor(index)))
    compare(lambda x, s: x.scatter_add(axis, Tensor(index), s), x, src,
            torch_f=lambda x, s: x.scatter_add(axis, torch.tensor(index), s))
    rows = np.random.randint(0, shape[0], (2, 3))
    compare(lambda x: x.take(Tensor(rows)), x, torch_f=lambda x: x[torch.tensor(rows)])


def test_creation():
    close(Tensor.zeros(2, 3).numpy(), np.zeros((2, 3)))
    close(Tensor.ones((2, 3), dtype=dtypes.int32).numpy(), np.ones((2, 3)))
    close(Tensor.full((2,), 7).numpy(), np.full(2, 7))
    close(Tensor.arange(5).numpy(), np.arange(5))
    close(Tensor.arange(1, 10, 3).numpy(), np.arange(1, 10, 3))
    close(Tensor.arange(10, 1, -2.5).numpy(), np.arange(10, 1, -2.5))
    close(Tensor.eye(3).numpy(), np.eye(3))
    assert Tensor.empty(3, 2).shape == (3, 2) and Tensor.zeros().shape == ()
    t = Tensor([1, 2], dtype=dtypes.int16)
    assert t.full_like(3).numpy().tolist() == [3, 3] and t.ones_like().dtype == dtypes.int16
    assert t.zeros_like(dtype=dtypes.float32).dtype == dtypes.float32
    x = Tensor.uniform(2000, low=2, high=3).numpy()
    assert x.min() >= 2 and x.max() < 3 and abs(x.mean() - 2.5) < 0.05
    x = Tensor.normal(5000, mean=1, std=2).numpy()
    assert abs(x.mean() - 1) < 0.2 and abs(x.std() - 2) < 0.2
    x = Tensor.randn(5000).numpy()
    assert abs(x.mean()) < 0.1 and abs(x.std() - 1) < 0.1
    assert abs(Tensor.scaled_uniform(10, 10).numpy()).max() <= 0.1
    assert abs(Tensor.glorot_uniform(10, 10).numpy()).max() <= (6 / 20) ** 0.5
    assert abs(Tensor.kaiming_uniform(10, 10, a=0).numpy()).max() <= (6 / 10) ** 0.5
    assert abs(Tensor.kaiming_normal(100, 100).numpy().std() - (2 / 1.0001 / 100) ** 0.5) < 0.02
    x = Tensor.randint(1000, low=3, high=6)
    assert x.dtype == dtypes.int64 and set(x.numpy().tolist()) == {3, 4, 5}
    assert set(Tensor([0.0, 1, 0, 1]).multinomial(200, replacement=True).numpy().tolist()) == {1, 3}
    Tensor.manual_seed(5)
    a = Tensor.rand(4).numpy()
    Tensor.manual_seed(5)
    assert (a == Tensor.rand(4).numpy()).all() and (a != Tensor.rand(4).numpy()).any()


def test_defaults():
    """What an argument is when it is left out."""
    x, = arrays([(3, 4)])
    image, = arrays([(1, 2, 7, 7)])
    for ours, theirs in (
            (lambda x: x.softmax(), lambda x: x.softmax(-1)), (lambda x: x.log_softmax(), lambda x: x.log_softmax(-1)),
            (lambda x: x.cumsum(), lambda x: x.cumsum(0)), (lambda x: x.std(), lambda x: x.std()),
            (lambda x: x.layernorm(), lambda x: F.layer_norm(x, (4,))), (lambda x: x.flatten(), torch.flatten),
            (lambda x: x.transpose(), torch.t), (lambda x: x.squeeze(), torch.squeeze), (lambda x: x.triu(), torch.triu),
            (lambda x: x.tril(), torch.tril), (lambda x: x.elu(), F.elu), (lambda x: x.celu(), F.celu),
            (lambda x: x.leakyrelu(), F.leaky_relu), (lambda x: x.softplus(), F.softplus),
            (lambda x: x.hardtanh(), F.hardtanh), (lambda x: x.max(), lambda x: x.amax()),
            (lambda x: x.min(), lambda x: x.amin()), (lambda x: x.cat(x), lambda x: torch.cat([x, x])),
            (lambda x: Tensor.stack([x, x]), lambda x: torch.stack([x, x])),
            (lambda x: x.pad(((1, 0), (0, 2))), lambda x: F.pad(x, (0, 2, 1, 0)))):
        compare(ours, x, torch_f=theirs)
    close(Tensor(x).argmax().numpy(), x.argmax())
    close(Tensor(x).argmin().numpy(), x.argmin())
    for ours, theirs in ((lambda x: x.max_pool2d(), lambda x: F.max_pool2d(x, 2)),
                         (lambda x: x.avg_pool2d(), lambda x: F.avg_pool2d(x, 2)),
                         (lambda x: x.max_pool2d(3), lambda x: F.max_pool2d(x, 3))):
        compare(ours, image, torch_f=theirs)


def test_zero_sizes():
    x = Tensor.zeros(0, 3)
    assert x.sum().item() == 0 and x.sum(0).shape == (3,) and (x + 1).shape == (0, 3)
    assert Tensor([]).shape == (0,) and Tensor(None).shape == (0,) and (x @ Tensor.ones(3, 2)).shape == (0, 2)
    assert x.numpy().shape == (0, 3) and Tensor.ones(2, 0).dot(Tensor.ones(0, 3)).numpy().tolist() == [[0] * 3] * 2
