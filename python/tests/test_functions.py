"""Functions written in Python, and teenygrad's own."""
import gc
import weakref

import numpy as np
import pytest
import torch
from compare import close, compare

import teenygrad
from teenygrad import Function, Tensor, dtypes, mlops
from teenygrad.lazy import LazyBuffer
from teenygrad.ops import BinaryOps, LoadOps, ReduceOps, TernaryOps, UnaryOps

X = np.random.RandomState(0).rand(3, 4).astype(np.float32) + 0.5
Y = np.random.RandomState(1).rand(3, 4).astype(np.float32) + 0.5


class Cube(Function):
    def forward(self, x, scale=1):
        self.x, self.scale = x, scale
        return x * x * x * scale

    def backward(self, grad):
        return grad * self.x * self.x * (3 * self.scale)


class Tanh(Function):
    """In teenygrad's words for LazyBuffers."""
    def forward(self, x):
        e = x.e(BinaryOps.MUL, x.const(2 / np.log(2))).e(UnaryOps.EXP2)
        self.ret = e.e(BinaryOps.SUB, e.const(1)).e(BinaryOps.DIV, e.e(BinaryOps.ADD, e.const(1)))
        return self.ret

    def backward(self, grad):
        return self.ret.const(1).e(BinaryOps.SUB, self.ret.e(BinaryOps.MUL, self.ret)).e(BinaryOps.MUL, grad)


def test_functions_of_users():
    compare(lambda x: Cube.apply(x, scale=2), X, torch_f=lambda x: 2 * x ** 3)
    compare(lambda x: Tanh.apply(Cube.apply(x)), X, torch_f=lambda x: (x ** 3).tanh())


@pytest.mark.parametrize("name,ours,theirs", [
    ("Contiguous", lambda f, x: f(x), lambda x: x), ("ContiguousBackward", lambda f, x: f(x), lambda x: x),
    ("Neg", lambda f, x: f(x), torch.neg), ("Sin", lambda f, x: f(x), torch.sin),
    ("Relu", lambda f, x: f(x - 1), lambda x: torch.relu(x - 1)), ("Log", lambda f, x: f(x), torch.log),
    ("Exp", lambda f, x: f(x), torch.exp), ("Sqrt", lambda f, x: f(x), torch.sqrt),
    ("Sigmoid", lambda f, x: f(x), torch.sigmoid), ("Zero", lambda f, x: f(x), lambda x: x * 0),
    ("Sum", lambda f, x: f(x, new_shape=(3, 1)), lambda x: x.sum(1, keepdim=True)),
    ("Max", lambda f, x: f(x, new_shape=(1, 4)), lambda x: x.amax(0, keepdim=True)),
    ("Expand", lambda f, x: f(x.reshape(3, 1, 4), shape=(3, 5, 4)), lambda x: x.reshape(3, 1, 4).expand(3, 5, 4)),
    ("Reshape", lambda f, x: f(x, shape=(2, 6)), lambda x: x.reshape(2, 6)),
    ("Permute", lambda f, x: f(x, order=(1, 0)), torch.t),
    ("Pad", lambda f, x: f(x, arg=((1, 0), (0, 2))), lambda x: torch.nn.functional.pad(x, (0, 2, 1, 0))),
    ("Shrink", lambda f, x: f(x, arg=((1, 3), (0, 2))), lambda x: x[1:3, 0:2]),
    ("Flip", lambda f, x: f(x, axis=(1,)), lambda x: x.flip(1)),
    ("Cast", lambda f, x: f(x, dtype=dtypes.float64).float(), lambda x: x.double().float())])
def test_mlops(name, ours, theirs):
    compare(lambda x: ours(getattr(mlops, name).apply, x), X, torch_f=theirs)


def test_mlops_share_a_maximum():
    ties = np.array([[1, 2, 2, 0], [3, 3, 3, 3]], dtype=np.float32)
    compare(lambda x: mlops.Max.apply(x, new_shape=(2, 1)), ties, torch_f=lambda x: x.amax(1, keepdim=True))
    compare(mlops.Relu.apply, ties - 2, torch_f=torch.relu)


def test_mlops_of_two_and_three():
    for name, f in (("Add", torch.add), ("Sub", torch.sub), ("Mul", torch.mul), ("Div", torch.div)):
        compare(lambda x, y: getattr(mlops, name).apply(x, y), X, Y, torch_f=f)
    assert (mlops.Less.apply(Tensor(X), Tensor(Y)).numpy() == (X < Y)).all()
    compare(lambda x, y: mlops.Where.apply(Tensor(X < Y), x, y), X, Y,
            torch_f=lambda x, y: torch.where(torch.tensor(X < Y), x, y))


def test_what_a_function_sees():
    seen = {}

    class Look(Function):
        def forward(self, x, y):
            seen["types"] = type(x), self.needs_input_grad, self.requires_grad, self.device
            return x + y

        def backward(self, grad):
            return grad, None

    x, y = Tensor([1.0], requires_grad=True), Tensor([2.0])
    out = Look.apply(x, y)
    assert seen["types"] == (LazyBuffer, [True, None], True, "CPU") and out.requires_grad
    out.sum().backward()
    assert x.grad.numpy() == [1] and y.grad is None
    assert Look.apply(y, y).requires_grad is None


def test_exceptions_pass_through():
    class Bad(Function):
        def forward(self, x):
            return x

        def backward(self, grad):
            raise KeyError("mine")

    x = Tensor([1.0], requires_grad=True)
    with pytest.raises(KeyError, match="mine"):
        Bad.apply(x).sum().backward()

    class NoBackward(Function):
        def forward(self, x):
            return x * 2

    with pytest.raises(RuntimeError, match="not implemented"):
        NoBackward.apply(x).sum().backward()
    with pytest.raises(NotImplementedError):
        Function.apply(x)

    class Wrong(Function):
        def forward(self, x):
            return 3

        def backward(self, grad):
            return grad

    with pytest.raises(TypeError):
        Wrong.apply(x)

    class WrongShape(Cube):
        def backward(self, grad):
            return grad.reshape(1, 1, 1)

    with pytest.raises(RuntimeError, match="shape"):
        WrongShape.apply(x).sum().backward()
    with pytest.raises((TypeError, AttributeError)):
        Cube.apply(3)
    Cube.apply(x).sum().backward()
    assert x.grad.item() == 3


def test_records_are_freed():
    x = Tensor(X, requires_grad=True)
    alive = []

    class Watched(Cube):
        def forward(self, x):
            alive.append(weakref.ref(self))
            return super().forward(x)

    out = Watched.apply(x)
    del out
    assert alive[-1]() is None
    loss = Watched.apply(x).sum()
    assert alive[-1]() is not None
    loss.backward()
    assert alive[-1]() is None


def test_cycles_are_collected():
    gc.collect()
    before = teenygrad._teenygrad.counters()["tensors"]
    contexts = []

    class Cycle(Function):
        def forward(self, x):
            contexts.append(weakref.ref(self))
            Cycle.last = self
            return x * 2

        def backward(self, grad):
            return grad * 2

    for depth in range(5):
        for _ in range(20):
            x = Tensor([1.0], requires_grad=True)
            out = Cycle.apply(x)
            for _ in range(depth):
                out = out.exp() + 1
            Cycle.last.out = out  # the result keeps the Function, and the Function the result
    Cycle.last = None
    del x, out
    gc.collect()
    assert all(c() is None for c in contexts)
    assert teenygrad._teenygrad.counters()["tensors"] <= before + 2


def test_lazy_buffers():
    x = LazyBuffer.fromCPU(X)
    assert x.shape == (3, 4) and x.dtype is dtypes.float32 and x.device == "CPU" and x.realized is not None
    y = x.e(UnaryOps.NEG)
    assert y.realized is None and y.realize().realized.size == 12 and "LB" in repr(y)
    close(x.r(ReduceOps.SUM, (3, 1)).toCPU(), X.sum(1, keepdims=True))
    close(x.stride((-1, 2)).toCPU(), X[::-1, ::2])
    close(x.e(BinaryOps.CMPLT, x.const(1)).e(TernaryOps.WHERE, x, y).toCPU(), np.where(X < 1, X, -X))
    close(LazyBuffer.loadop(LoadOps.CONST, (2,), dtypes.float32, arg=3).toCPU(), [3, 3])
    close((1 + x * 2 - x / 3).toCPU(), 1 + X * 2 - X / 3)
    close(LazyBuffer(X)._np, X)
    t = Tensor(X)
    close(t.lazydata.toCPU(), X)
    assert (t + 1).lazydata.realized is None and Tensor(t.lazydata).shape == (3, 4)
    t.lazydata = y
    close(t.numpy(), -X)
