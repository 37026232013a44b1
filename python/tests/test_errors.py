"""Exceptions have the types that PyTorch and teenygrad raise, and say what was wrong. Nothing crashes."""
import numpy as np
import pytest
import torch

import teenygrad
from teenygrad import Tensor, dtypes


def test_backward():
    x = Tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(RuntimeError, match="Less"):
        (x < 1).sum().backward()
    with pytest.raises(AssertionError, match="scalar"):
        (x * 2).backward()
    with pytest.raises(RuntimeError):
        (x * 2).backward()
    loss = x.sum()
    loss.backward()
    with pytest.raises(RuntimeError):
        loss.backward()
    with pytest.raises(RuntimeError):
        Tensor([1.0]).sum().backward()
    with pytest.raises(RuntimeError):
        Tensor([1, 2], dtype=dtypes.int32, requires_grad=True)


def test_messages_are_in_pythons_words():
    x = Tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(RuntimeError, match=r"Tensor\.no_grad = True"):
        x[0] = 3
    with pytest.raises(IndexError, match=r"one '\.\.\.', not 2"):
        x[..., ...]
    with pytest.raises(RuntimeError, match="requires_grad=True on one"):
        Tensor([1.0]).sum().backward()
    with pytest.raises(RuntimeError, match="set replacement, or draw 1"):
        Tensor([0.5, 0.5]).multinomial(2)


@pytest.mark.parametrize("f", [
    lambda x: x.sum(5), lambda x: x.softmax(-4), lambda x: x.argmax(3), lambda x: x.squeeze(7), lambda x: x.cumsum(2),
    lambda x: x.mean((0, 2)), lambda x: x.max(-3), lambda x: x.transpose(0, 2), lambda x: x.unsqueeze(4),
    lambda x: x.permute(0, 2), lambda x: x.flip(-3), lambda x: x.log_softmax(2)])
def test_axis_out_of_range(f):
    with pytest.raises(IndexError) as theirs:
        f(torch.zeros(2, 3))
    with pytest.raises(IndexError) as ours:
        f(Tensor.zeros(2, 3))
    assert str(ours.value) == str(theirs.value)
    assert "of (2, 3)" in ours.value.__notes__[0] or "of shape (2, 3)" in ours.value.__notes__[0]


@pytest.mark.parametrize("f", [
    lambda x: x + Tensor.zeros(4), lambda x: x.dot(Tensor.zeros(2, 2)), lambda x: x.reshape(7), lambda x: x.expand(5, 3),
    lambda x: x.cat(Tensor.zeros(2)), lambda x: x.conv2d(Tensor.zeros(1, 1, 3, 3)), lambda x: x.assign(Tensor.zeros(9)),
    lambda x: Tensor.stack([x, Tensor.zeros(3)]), lambda x: x.item(), float, int, lambda x: x.permute(0, 0),
    lambda x: x.shrink(((0, 9), (0, 1))), lambda x: Tensor(0.0) @ x, lambda x: x.bitcast(dtypes.int8)])
def test_shapes_that_do_not_fit(f):
    for kind in (RuntimeError, AssertionError, ValueError, teenygrad.Error):
        with pytest.raises(kind) as e:
            f(Tensor.zeros(2, 3))
        assert "tg_" not in str(e.value)


@pytest.mark.parametrize("data", [object(), "text", {}, 1j, [object()], ["a"], [1, None], np.array([object()]),
                                  np.array(["a"]), np.array([1j]), lambda: 0, {1, 2}, range(3)])
def test_bad_data(data):
    with pytest.raises((TypeError, RuntimeError)):
        Tensor(data)


def test_bad_lists_and_sizes():
    for ragged in ([[1, 2], [3]], [[1], 2], [1, [2]], [[[1]], [[1, 2]]]):
        with pytest.raises(ValueError):
            Tensor(ragged)
    deep = []
    deep.append(deep)
    with pytest.raises(ValueError):
        Tensor(deep)
    for f in (Tensor.zeros, Tensor.rand, Tensor.empty):
        with pytest.raises(ValueError):
            f(2, -3)
        with pytest.raises((ValueError, MemoryError)):
            f(2 ** 40, 2 ** 40)
        with pytest.raises(OverflowError):
            f(2 ** 70)
        with pytest.raises(TypeError):
            f(2.5)
        with pytest.raises(ValueError):
            f(*[1] * 17)
    with pytest.raises(MemoryError):
        Tensor.zeros(2 ** 30, 2 ** 20).contiguous().realize()
    with pytest.raises(OverflowError):
        Tensor([300], dtype=dtypes.uint8)
    with pytest.raises(OverflowError):
        Tensor(2 ** 64, dtype=dtypes.int64)
    assert Tensor([2 ** 63], dtype=dtypes.uint64).item() == 2 ** 63


def test_bad_arrays():
    with pytest.raises(TypeError):
        Tensor(np.zeros(2, dtype="M8[s]"))
    with pytest.raises(TypeError):
        Tensor(np.zeros(2, dtype=[("a", "f4")]))
    with pytest.raises(ValueError):
        Tensor(np.zeros([1] * 17))
    x = np.arange(6.0)
    x.flags.writeable = False
    assert Tensor(x).numpy().tolist() == x.tolist()


def test_wrong_types():
    x = Tensor([1.0])
    for f in (lambda: x + "a", lambda: "a" + x, lambda: x + None, lambda: x @ object(), lambda: x.sum("a"),
              lambda: x.reshape("a"), lambda: x.cast("float32"), lambda: x.cast(np.float32), lambda: x.conv2d(3j),
              lambda: x.sum(axis=0, nonsense=1), lambda: x.sum(0, axis=0), lambda: x.sum(1, 2, 3), lambda: x.reshape(),
              lambda: Tensor(), lambda: Tensor(1, nonsense=2), lambda: x.exp(1), lambda: x.dropout("a"),
              lambda: Tensor([1], device=3), lambda: x.where(1), lambda: x.matmul(None) if False else x.matmul("x"),
              lambda: Tensor.stack(3), lambda: Tensor.stack([3]), lambda: x.cat(3), lambda: x.gather([0], 0),
              lambda: x.pad(3), lambda: x.pad((1, 2)), lambda: x.clip("a", 1), lambda: x.name.foo if x.name else 1 + ""):
        with pytest.raises(TypeError):
            f()
    with pytest.raises(AssertionError):
        Tensor([1], dtype="float32")
    with pytest.raises(RuntimeError, match="can't create Tensor"):
        Tensor("text")
    with pytest.raises(RuntimeError):
        Tensor([1], device="NOWHERE")
    with pytest.raises(AttributeError):
        x.nonsense
    with pytest.raises(AttributeError):
        x.shape = (1,)


def test_assign():
    w = Tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(AssertionError, match="detach"):
        w.assign(w * 2)
    with pytest.raises(AssertionError):
        w += 1
    w.assign(w.detach() * 2)
    assert w.numpy().tolist() == [2, 4] and w.requires_grad
    v = Tensor([1.0, 2.0])
    same = v
    v += 1
    v *= [2, 3]
    v -= Tensor([1.0, 1.0])
    v /= 2
    v **= 2
    assert v is same and v.numpy().tolist() == [2.25, 16]


def test_index_found_while_computing():
    out = Tensor([1.0, 2.0])[Tensor([5], dtype=dtypes.int32)]
    with pytest.raises(IndexError):
        out.realize()
    with pytest.raises(IndexError):
        out.numpy()
    assert Tensor([1.0]).numpy()[0] == 1
