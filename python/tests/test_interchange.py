"""Memory that passes between libraries: numpy, the buffer protocol, DLPack, pickle, copy."""
import copy
import ctypes
import gc
import pickle
import sys

import numpy as np
import pytest
import torch
from compare import close

import teenygrad
from teenygrad import Tensor, dtypes


def address(x):
    return x.__array_interface__["data"][0]


def test_numpy_copies_and_may_be_written():
    t = Tensor([[1.0, 2], [3, 4]])
    x = t.numpy()
    x[0, 0] = 9
    assert t.numpy()[0, 0] == 1


def test_views_share_memory_and_are_read_only():
    t = Tensor([[1.0, 2], [3, 4]])
    a, b, m = np.asarray(t), np.array(t, copy=False), memoryview(t)
    assert address(a) == address(b) == address(t) and not a.flags.writeable and m.readonly
    assert m.shape == (2, 2) and m.format == "f" and m.tolist() == [[1, 2], [3, 4]] and m.strides == (8, 4)
    assert np.asarray(t, dtype=np.float64).dtype == np.float64
    assert address(t.__array__(np.float32, copy=False)) == address(t)
    own = t.__array__(copy=True)
    assert own.flags.writeable and address(own) != address(t)
    with pytest.raises(ValueError, match="copy"):
        t.__array__(np.float64, copy=False)
    t.assign(t + 1)
    assert a.tolist() == [[1, 2], [3, 4]] and np.asarray(t).tolist() == [[2, 3], [4, 5]]
    del t
    gc.collect()
    Tensor.rand(1000).realize()
    assert a.tolist() == [[1, 2], [3, 4]] == m.tolist()
    with pytest.raises((BufferError, ValueError, TypeError)):
        m[0, 0] = 1


class Buffer(ctypes.Structure):
    """CPython's Py_buffer."""
    _fields_ = [("buf", ctypes.c_void_p), ("obj", ctypes.py_object), ("len", ctypes.c_ssize_t),
                ("itemsize", ctypes.c_ssize_t), ("readonly", ctypes.c_int), ("ndim", ctypes.c_int),
                ("format", ctypes.c_char_p), ("shape", ctypes.c_void_p), ("strides", ctypes.c_void_p),
                ("suboffsets", ctypes.c_void_p), ("internal", ctypes.c_void_p)]


def test_every_kind_of_buffer():
    get, release = ctypes.pythonapi.PyObject_GetBuffer, ctypes.pythonapi.PyBuffer_Release
    get.argtypes, release.argtypes = [ctypes.py_object, ctypes.POINTER(Buffer), ctypes.c_int], [ctypes.POINTER(Buffer)]
    t = Tensor([[1.0, 2], [3, 4]])
    # SIMPLE, FORMAT, ND, STRIDES, C_CONTIGUOUS, ANY_CONTIGUOUS
    for flags, ndim in ((0, 1), (4, 1), (0x8, 2), (0x18, 2), (0x38, 2), (0x98, 2)):
        b = Buffer()
        assert get(t, b, flags) == 0 and (b.len, b.itemsize, b.readonly, b.ndim) == (16, 4, 1, ndim)
        assert bool(b.shape) == (ndim == 2) and bool(b.strides) == (flags & 0x10 != 0)
        release(b)
    for flags in (1, 0x58):  # WRITABLE, F_CONTIGUOUS
        with pytest.raises(BufferError):
            get(t, Buffer(), flags)
    b = Buffer()
    assert get(t[:1], b, 0x58) == 0  # one row lies in both orders
    release(b)
    assert bytes(t) == t.numpy().tobytes()


def test_arrays_of_any_layout():
    x = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    for view in (x, x.T, x[::-1], x[:, ::2], x[..., ::-1], np.asfortranarray(x), x[1:1], x[0, 0, 0], np.float32(3)):
        close(Tensor(view).numpy(), view)
    packed = np.zeros(3, dtype=[("a", "i1"), ("b", "f4")])
    packed["b"] = [1, 2, 3]
    close(Tensor(packed["b"]).numpy(), [1, 2, 3])


def test_what_is_written_later_does_not_show():
    x = np.ones(5000, dtype=np.float32)
    t = Tensor(x)
    y = t + 1
    x[:] = 7
    assert t.numpy().max() == 1 and y.numpy().max() == 2


def test_read_only_memory_is_borrowed():
    x = np.ones(5000, dtype=np.float32)
    x.flags.writeable = False
    t = Tensor(x)
    assert address(t) == x.__array_interface__["data"][0]
    w = np.ones(5000, dtype=np.float32)
    assert address(Tensor.from_numpy(w)) == address(w) and address(Tensor(w)) != address(w)
    before = sys.getrefcount(x)
    del t
    assert sys.getrefcount(x) == before - 1


def test_bytes_and_buffers():
    assert Tensor(bytearray(b"\x01\x02")).numpy().tolist() == [1, 2]
    assert Tensor(memoryview(b"\x01\x02"), dtype=dtypes.float32).numpy().tolist() == [1.0, 2.0]
    import array
    assert Tensor(array.array("d", [1.5, 2])).dtype is dtypes.float64


@pytest.mark.parametrize("name", ["bool", "int8", "uint8", "int16", "int32", "int64", "float16", "float32", "float64",
                                  "uint16", "uint32", "uint64"])
def test_dlpack(name):
    x = np.array([[0, 1, 2], [3, 4, 1]]).astype(name)
    t = Tensor(x)
    assert t.__dlpack_device__() == (1, 0)
    out = torch.utils.dlpack.from_dlpack(t.__dlpack__())
    assert (out.numpy() == x).all() and out.data_ptr() == address(t)
    assert (torch.from_dlpack(t).numpy() == x).all()
    assert (np.from_dlpack(t) == x).all()
    source = torch.tensor(x)
    back = teenygrad.from_dlpack(source)
    assert (back.numpy() == x).all() and address(back) == source.data_ptr() and back.dtype is t.dtype
    assert (teenygrad.from_dlpack(source.t()).numpy() == x.T).all()
    assert (teenygrad.from_dlpack(t).numpy() == x).all()
    if name != "bool":
        assert (teenygrad.from_dlpack(x).numpy() == x).all()


@pytest.mark.parametrize("shape", [(2, 3), (), (0, 3)])
def test_dlpack_copies_when_asked(shape):
    t = Tensor.ones(*shape)
    x = np.from_dlpack(t, copy=True)
    assert x.flags.writeable and x.shape == shape
    x[...] = 7
    assert (t.numpy() == 1).all()
    assert not np.from_dlpack(t, copy=False).flags.writeable
    with pytest.raises(BufferError):
        t.__dlpack__(dl_device=(2, 0))


def test_dlpack_lives_as_long_as_needed():
    def borrowed():
        return teenygrad.from_dlpack(torch.arange(1000.0))
    t = borrowed()
    gc.collect()
    close(t.numpy(), np.arange(1000))
    out = torch.from_dlpack(t)
    del t
    gc.collect()
    assert out.sum().item() == 499500
    bf = teenygrad.from_dlpack(torch.ones(3, dtype=torch.bfloat16))
    assert bf.dtype is dtypes.bfloat16 and torch.from_dlpack(bf).dtype == torch.bfloat16
    capsule = Tensor([1.0]).__dlpack__()
    teenygrad.from_dlpack(capsule)
    for bad in (capsule, 3, "x", torch.ones(2, dtype=torch.complex64)):
        with pytest.raises((TypeError, ValueError, BufferError)):
            teenygrad.from_dlpack(bad)
    lender = np.arange(1000.0).reshape(10, 100)
    for lent in (lender, lender.T):  # borrowed, and copied
        before = sys.getrefcount(lender)
        t = teenygrad.from_dlpack(lent)
        assert (sys.getrefcount(lender) > before) == (lent is lender)
        del t
        assert sys.getrefcount(lender) == before
    before = teenygrad._teenygrad.counters()["tensors"]
    for _ in range(100):
        Tensor([1.0]).__dlpack__()
        torch.from_dlpack(Tensor([1.0]))
    gc.collect()
    assert teenygrad._teenygrad.counters()["tensors"] <= before + 2


def test_torch_and_others_as_data():
    close(Tensor(torch.ones(2, 3)).numpy(), np.ones((2, 3)))
    close((Tensor([1.0, 2]) + torch.ones(2)).numpy(), [2, 3])
    close(Tensor([np.ones(2), np.zeros(2)]).numpy(), [[1, 1], [0, 0]])
    close(Tensor([Tensor(1.0), Tensor(2.0)]).numpy(), [1, 2])


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickle(protocol):
    for t in (Tensor([[1.0, 2]], requires_grad=True), Tensor(np.arange(3)), Tensor(3.0), Tensor([]),
              Tensor([1.5], dtype=dtypes.bfloat16, requires_grad=False)):
        t.name = "weight"
        u = pickle.loads(pickle.dumps(t, protocol))
        assert u.dtype is t.dtype and u.shape == t.shape and u.requires_grad is t.requires_grad and u.name == "weight"
        close(u.float().numpy(), t.float().numpy())
    assert pickle.loads(pickle.dumps(dtypes.int8, protocol)) == dtypes.int8


def test_copies():
    t = Tensor([1.0, 2], requires_grad=True)
    (t * t).sum().backward()
    for u in (copy.copy(t), copy.deepcopy(t), copy.deepcopy({"w": t})["w"]):
        assert u is not t and u.requires_grad and u.grad.numpy().tolist() == [2, 4]
        u.assign(u.detach() + 1)
        assert t.numpy().tolist() == [1, 2]
    with pytest.raises(teenygrad.Error):
        Tensor._rebuild(b"123", "float32", (1,), "CPU", 0, None)


class Weight(Tensor):
    """A subclass with an attribute of its own."""


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda t: pickle.loads(pickle.dumps(t))])
def test_subclasses_stay_what_they_are(again):
    w = Weight([1.0, 2], requires_grad=True)
    w.tags = ["a"]
    u = again(w)
    assert type(u) is Weight and u.tags == ["a"] and u.requires_grad and u.numpy().tolist() == [1, 2]
    assert (u.tags is w.tags) == (again is copy.copy)
    with pytest.raises(TypeError):
        Tensor._rebuild(b"", "float32", (0,), "CPU", 0, None, int)


def test_lazy_buffers():
    for again in (copy.copy, copy.deepcopy, lambda t: pickle.loads(pickle.dumps(t))):
        assert again(Tensor([1.0, 2]).lazydata).toCPU().tolist() == [1, 2]


NUMBERS = ["?", "b", "B", "h", "H", "i", "I", "q", "Q", "e", "f", "d"]


@pytest.mark.parametrize("code", NUMBERS)
@pytest.mark.parametrize("order", "<>")
def test_byte_orders(code, order, tmp_path):
    """Arrays of either byte order are converted, whatever way they come in."""
    x = np.array([[0, 1, 2], [3, 250 % 127, 5]]).astype(code)
    other = x.astype(x.dtype.newbyteorder(order))
    for array, want in [(other, x), (other[:, ::2], x[:, ::2]), (other.T, x.T), (other[0, 1:2].reshape(()), x[0, 1]),
                        (other[:0], x[:0]), (memoryview(np.ascontiguousarray(other)), x)]:
        t = Tensor(array)
        np.testing.assert_array_equal(t.numpy(), want)
        assert t.numpy().dtype == x.dtype and t.shape == np.shape(want)
    np.testing.assert_array_equal(Tensor.from_numpy(other).numpy(), x)
    np.testing.assert_array_equal(Tensor(other, dtype=dtypes.float64).numpy(), x.astype(np.float64))
    np.testing.assert_array_equal(Tensor(list(other)).numpy(), Tensor(list(x)).numpy())
    t = Tensor(np.zeros_like(x))
    t[0] = other[1]
    t.assign(other) if code == "?" else t.assign(Tensor(other))
    np.testing.assert_array_equal(t.numpy(), x)
    np.save(tmp_path / "x.npy", other)
    np.testing.assert_array_equal(Tensor(np.load(tmp_path / "x.npy")).numpy(), x)
