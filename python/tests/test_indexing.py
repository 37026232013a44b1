"""x[...] and x[...] = value against PyTorch, where numpy has the same rule against numpy; gradients against PyTorch.

The rules differ where numbers meet index arrays, and PyTorch has no negative steps. So the oracle for mixed keys takes two
steps: numpy does the numbers, slices and new axes, with each array's axes left whole, then PyTorch looks up the arrays.
"""
import itertools

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


def is_array(k):
    return isinstance(k, (list, np.ndarray)) or isinstance(k, bool)


def two_steps(shape, key):
    """What numpy shall do, and what then is left to PyTorch: both keys with an entry for every axis."""
    key = list(key) if isinstance(key, tuple) else [key]
    key = [np.array(k) if isinstance(k, list) else k for k in key]
    axes = [k.ndim if is_array(k) and np.array(k).dtype == bool and not isinstance(k, bool) else
            0 if k is None or k is Ellipsis or isinstance(k, bool) else 1 for k in key]
    at = next((i for i, k in enumerate(key) if k is Ellipsis), len(key))
    rest = [slice(None)] * (len(shape) - sum(axes))
    key[at:at + 1] = rest
    axes[at:at + 1] = [1] * len(rest)
    basic, arrays_left = [], []
    for k, n in zip(key, axes):
        number = isinstance(k, (int, np.integer)) and not isinstance(k, bool) or isinstance(k, np.ndarray) and k.ndim == 0
        if isinstance(k, bool):
            basic.append(None)
            arrays_left.append(torch.zeros(int(k), dtype=torch.int64))
        elif number:
            basic.append(int(k))
        elif isinstance(k, np.ndarray):
            basic += [slice(None)] * n
            arrays_left += [torch.from_numpy(k)] if k.dtype != bool else list(torch.from_numpy(k).nonzero(as_tuple=True))
        else:
            basic.append(k)
            arrays_left.append(slice(None))
    return tuple(basic), tuple(arrays_left)


def read(x, key):
    basic, left = two_steps(x.shape, key)
    return torch.from_numpy(np.ascontiguousarray(x[basic])).reshape(x[basic].shape)[left].numpy()


def written(x, key, value):
    """x[key] = value, by the places that the key names."""
    y = x.copy()
    place = read(np.arange(x.size).reshape(x.shape), key)
    y.reshape(-1)[place.reshape(-1)] = np.broadcast_to(value, place.shape).reshape(-1)
    return y


def has_negative_step(key):
    return any(isinstance(k, slice) and k.step is not None and k.step < 0 for k in key)


def for_torch(key):
    return tuple(torch.tensor(k) if isinstance(k, (np.ndarray, list)) else k for k in key)


@given(case=mixed())
def test_mixed(case):
    shape, key = case
    x, = arrays([shape])
    close(Tensor(x)[tensors_in(key)].numpy(), read(x, key))
    if not has_negative_step(key):
        close(Tensor(x)[tensors_in(key)].numpy(), torch.from_numpy(x)[for_torch(key)].numpy())
    t = Tensor(x)
    t[tensors_in(key)] = -3
    close(t.numpy(), written(x, key, -3))


# One entry of a key for an axis of size 4, or two for a mask of two axes.
KINDS = [1, -2, slice(None), slice(1, 9, 2), slice(None, None, -3), [2, 0, -1], np.array([[3], [-4]]), np.array(2),
         np.array([True, False, True, True]), [False, True, False, False], np.eye(4) > 0, None, Ellipsis, True]


def keys_of(length):
    for key in itertools.product(KINDS, repeat=length):
        axes = sum(2 if np.ndim(k) == 2 and np.array(k).dtype == bool else
                   0 if k is None or k is Ellipsis or k is True else 1 for k in key)
        if axes <= 4 and sum(k is Ellipsis for k in key) <= 1:
            yield key


def check_key(key, x, writes):
    try:
        want = read(x, key)
    except IndexError:  # the arrays do not broadcast
        with pytest.raises(IndexError):
            Tensor(x)[key].realize()
        return
    if not has_negative_step(key):
        np.testing.assert_array_equal(want, torch.from_numpy(x)[for_torch(key)].numpy())
    got = Tensor(x)[key].numpy()
    assert got.shape == want.shape, (key, got.shape, want.shape)
    np.testing.assert_array_equal(got, want, err_msg=str(key))
    np.testing.assert_array_equal(Tensor(x)[tensors_in(key)].numpy(), want, err_msg=str(key))
    if not writes:
        return
    t, value = Tensor(x), np.arange(want.size, dtype=np.float32).reshape(want.shape)
    t[key] = Tensor(value) if want.size else 1
    place = read(np.arange(x.size).reshape(x.shape), key)
    if len(set(place.reshape(-1).tolist())) == place.size:  # of equal places either may win in PyTorch
        np.testing.assert_array_equal(t.numpy(), written(x, key, value), err_msg=str(key))
    leaf = Tensor(x, requires_grad=True)
    if want.size:
        (leaf[key] * Tensor(value + 1)).sum().backward()
        slope = np.zeros(x.size, dtype=np.float32)
        np.add.at(slope, place.reshape(-1), value.reshape(-1) + 1)
        np.testing.assert_array_equal(leaf.grad.numpy().reshape(-1), slope, err_msg=str(key))


@pytest.mark.parametrize("length", [1, 2, 3])
def test_all_kinds(length):
    """Every kind of index beside every other, in an array of four axes."""
    x = np.arange(256, dtype=np.float32).reshape(4, 4, 4, 4)
    for n, key in enumerate(keys_of(length)):
        check_key(key, x, writes=length < 3 or n % 5 == 0)


def test_lists_go_to_the_tensor():
    x = Tensor(np.arange(6.0).reshape(2, 3), device="REF")
    close(x[[1, 0]].numpy(), np.arange(6.0).reshape(2, 3)[[1, 0]])
    assert x[:, True].shape == (2, 1, 3)
    x[np.array([0])] = 5
    close(x.numpy(), [[5, 5, 5], [3, 4, 5]])


def test_the_axes_of_an_index():
    x = np.arange(2 * 5 * 6 * 5 * 3 * 4, dtype=np.float32).reshape(2, 5, 6, 5, 3, 4)
    at = np.array([4, 0, 2])
    want = torch.from_numpy(x)[1, :, 3:11:2, torch.from_numpy(at), 0:2]
    t = Tensor(x)
    assert t[1, :, 3:11:2, Tensor(at), 0:2].shape == (5, 2, 3, 2, 4)
    close(t[1, :, 3:11:2, Tensor(at), 0:2].numpy(), want.numpy())
    t[1, :, 3:11:2, Tensor(at), 0:2] = Tensor(-want.numpy())
    close(t[1, :, 3:11:2, at.tolist(), 0:2].numpy(), -want.numpy())
    assert t[at, 1, at % 3].shape == (3, 5, 3, 4) and t[at % 2, :, at].shape == (3, 5, 5, 3, 4)


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
