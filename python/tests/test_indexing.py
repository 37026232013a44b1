"""x[...] and x[...] = value against numpy; gradients against PyTorch."""
import numpy as np
import pytest
import torch
from compare import arrays, close, compare
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, basic_indices, integer_array_indices

from teenygrad import Tensor, dtypes


def tensors_in(key):
    """The key with index arrays as Tensors."""
    if isinstance(key, tuple):
        return tuple(tensors_in(k) for k in key)
    return Tensor(key) if isinstance(key, np.ndarray) else key


@given(data=st.data(), shape=array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=5))
def test_basic(data, shape):
    x, = arrays([shape])
    key = data.draw(basic_indices(shape, allow_newaxis=True, max_dims=6))
    close(Tensor(x)[key].numpy(), x[key])
    y = x.copy()
    y[key] = 7
    t = Tensor(x)
    t[key] = 7
    close(t.numpy(), y)


@given(data=st.data(), shape=array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=5))
def test_arrays(data, shape):
    x, = arrays([shape])
    key = data.draw(integer_array_indices(shape))
    close(Tensor(x)[key].numpy(), x[key])
    close(Tensor(x)[tensors_in(key)].numpy(), x[key])
    compare(lambda x: x[tensors_in(key)], x, torch_f=lambda x: x[tuple(torch.tensor(k) for k in key)])
    value = np.random.rand(*x[key].shape).astype(np.float32)
    y, t = x.copy(), Tensor(x)
    y[key] = value
    t[key] = Tensor(value)
    close(t.numpy(), y)


@st.composite
def mixed(draw):
    """Slices, numbers, new axes, an ellipsis and arrays that broadcast against each other, side by side or not."""
    shape = draw(array_shapes(min_dims=2, max_dims=4, min_side=1, max_side=4))
    common = draw(array_shapes(min_dims=1, max_dims=2, max_side=3))
    key, named = [], draw(st.integers(1, len(shape)))
    for size in shape[:named]:
        kind = draw(st.sampled_from(["slice", "int", "array", "new", "list"]))
        if kind == "slice":
            key.append(draw(st.slices(size)))
        elif kind == "int":
            key.append(draw(st.integers(-size, size - 1)))
        elif kind == "list":
            key.append([draw(st.integers(-size, size - 1)) for _ in range(common[-1])])
        elif kind == "new":
            key += [None, slice(None)]
        else:
            key.append(np.array(draw(st.lists(st.integers(-size, size - 1), min_size=int(np.prod(common)),
                                              max_size=int(np.prod(common))))).reshape(common))
    if draw(st.booleans()):
        key.insert(draw(st.integers(0, len(key))) if named == len(shape) else len(key), Ellipsis)
    return shape, tuple(key)


@given(case=mixed())
def test_mixed(case):
    shape, key = case
    x, = arrays([shape])
    close(Tensor(x)[tensors_in(key)].numpy(), x[key])
    y, t = x.copy(), Tensor(x)
    y[key] = -3
    t[tensors_in(key)] = -3
    close(t.numpy(), y)


@given(shape=array_shapes(min_dims=1, max_dims=3, max_side=4), over=st.integers(1, 3))
def test_masks(shape, over):
    x, = arrays([shape])
    mask = x > 0 if over >= len(shape) else np.random.rand(*shape[:over]) > 0.5
    close(Tensor(x)[Tensor(mask)].numpy(), x[mask])
    close(Tensor(x)[mask].numpy(), x[mask])
    y, t = x.copy(), Tensor(x)
    y[mask] = 5
    t[Tensor(mask)] = 5
    close(t.numpy(), y)


def test_lists_numbers_and_rows():
    x, = arrays([(4, 5)])
    t = Tensor(x)
    close(t[[0, 2]].numpy(), x[[0, 2]])
    close(t[[True, False, True, True]].numpy(), x[[True, False, True, True]])
    close(t[[[0, 1], [2, 3]]].numpy(), x[[[0, 1], [2, 3]]])
    close(t[(0, 1), (1, 2)].numpy(), x[(0, 1), (1, 2)])
    close(t[np.int64(1), np.int32(2)].numpy(), x[1, 2])
    close(t[Tensor([1, 3])].numpy(), x[[1, 3]])          # a float tensor, as teenygrad has it
    close(t[Tensor(2, dtype=dtypes.int32)].numpy(), x[2])
    close(np.stack([row.numpy() for row in t]), x)
    close(t[()].numpy(), x)
    close(t[[]].numpy(), x[[]])
    close(t[range(1, 3), range(2)].numpy(), x[range(1, 3), range(2)])
    t[0] = x[1]
    t[:, 1] = [9, 8, 7, 6]
    y = x.copy()
    y[0] = x[1]
    y[:, 1] = [9, 8, 7, 6]
    close(t.numpy(), y)
    t[-1] += 1
    y[-1] += 1
    close(t.numpy(), y)


@pytest.mark.parametrize("key", [4, -5, (0, 5), (0, 0, 0), [7], "a", 1.5, (Ellipsis, Ellipsis), np.array([0.5]),
                                 np.array([True, False]), {}, 2 ** 70])
def test_bad_keys(key):
    t = Tensor.zeros(4, 5)
    with pytest.raises(IndexError):
        t[key].realize()
    with pytest.raises(IndexError):
        t[key] = 1
        t.realize()
    assert Tensor.zeros(4, 5)[0, 0].item() == 0


def test_other_bad_uses():
    t = Tensor.zeros(4, 5)
    with pytest.raises(ValueError):
        t[::0]
    with pytest.raises(TypeError):
        t["x":]
    with pytest.raises(TypeError):
        del t[0]
    with pytest.raises(RuntimeError):
        t[0] = [1, 2, 3]
    with pytest.raises(TypeError):
        t[0] = "text"
    with pytest.raises(TypeError):
        t[0] = None
