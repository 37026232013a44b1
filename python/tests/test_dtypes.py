"""All dtypes: construction, promotion, casts, numpy and back."""
import numpy as np
import pytest
import torch
from compare import close

from teenygrad import Tensor, dtypes
from teenygrad.helpers import DTYPES_DICT, DType

NUMPY = {name: getattr(dtypes, name) for name in
         ["bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float16", "float32",
          "float64"]}


@pytest.mark.parametrize("name", NUMPY)
def test_numpy_both_ways(name):
    x = np.array([[0, 1, 2], [3, 100, 1]]).astype(name)
    t = Tensor(x)
    assert t.dtype is NUMPY[name] and t.numpy().dtype == x.dtype and t.dtype.np == x.dtype.type
    assert (t.numpy() == x).all() and (np.asarray(t) == x).all()
    assert t.element_size() == x.itemsize and t.nbytes() == x.nbytes
    assert t.is_floating_point() == (x.dtype.kind == "f")
    assert t[1, 2].item() == x[1, 2].item() and type(t[1, 2].item()) is type(x[1, 2].item())
    assert dtypes.from_np(x.dtype) is t.dtype
    assert Tensor([0, 1, 2], dtype=t.dtype).numpy().tolist() == np.array([0, 1, 2]).astype(name).tolist()
    assert Tensor(1, dtype=t.dtype).dtype is t.dtype


@pytest.mark.parametrize("a", NUMPY)
@pytest.mark.parametrize("b", NUMPY)
def test_cast_and_promotion(a, b):
    x = np.array([0, 1, 2, 77]).astype(a)
    close(Tensor(x).cast(NUMPY[b]).numpy().astype(np.float64), x.astype(b).astype(np.float64))
    out = Tensor(x) + Tensor(x.astype(b))
    order = list(NUMPY)
    assert out.dtype is NUMPY[order[max(order.index(a), order.index(b))]]


def test_bfloat16():
    x = Tensor([1.0, 2.5, 1 / 3], dtype=dtypes.bfloat16)
    assert x.dtype is dtypes.bfloat16 and x.element_size() == 2
    close(x.float().numpy(), torch.tensor([1, 2.5, 1 / 3]).bfloat16().float().numpy())
    close(x.bitcast(dtypes.uint16).numpy(), torch.tensor([1, 2.5, 1 / 3]).bfloat16().view(torch.uint16).numpy())
    with pytest.raises(TypeError):
        x.numpy()
    with pytest.raises(BufferError):
        memoryview(x)


def test_defaults():
    assert Tensor([1, 2]).dtype is dtypes.float32 and Tensor(3).dtype is dtypes.float32
    assert Tensor(np.arange(3)).dtype is dtypes.int64 and Tensor(np.ones(2)).dtype is dtypes.float64
    assert Tensor(b"abc").dtype is dtypes.uint8 and Tensor(b"abc").numpy().tolist() == [97, 98, 99]
    assert Tensor(np.float64(2)).dtype is dtypes.float32 and Tensor(np.float16(2)).dtype is dtypes.float16
    Tensor.default_type = dtypes.float64
    assert Tensor([1, 2]).dtype is dtypes.float64 and Tensor.zeros(2).dtype is dtypes.float64
    with pytest.raises(RuntimeError):
        Tensor.default_type = dtypes.int32
    with pytest.raises(TypeError):
        Tensor.default_type = "float32"


def test_numbers_beside_tensors():
    i, f, b = Tensor([1, 2], dtype=dtypes.int32), Tensor([1.0, 2]), Tensor([True, False], dtype=dtypes.bool)
    assert (i + 1).dtype is dtypes.int32 and (i + 0.5).dtype is dtypes.float32 and (f + 1).dtype is dtypes.float32
    assert (i / 2).dtype is dtypes.float32 and (b + 1).dtype is dtypes.int64 and i.sum().dtype is dtypes.int64
    assert (f * np.ones(2)).dtype is dtypes.float32 and (np.float64(2) * f).dtype is dtypes.float32
    assert (np.ones(2) - f).numpy().tolist() == [0, -1] and (f + [1, 2]).numpy().tolist() == [2, 4]


def test_dtype_objects():
    assert repr(dtypes.float32) == "dtypes.float" and DTYPES_DICT["float32"] is dtypes.float32
    assert isinstance(dtypes.int8, DType) and dtypes.int8 < dtypes.float32 and dtypes.int8.itemsize == 1
    assert dtypes.is_int(dtypes.uint8) and dtypes.is_unsigned(dtypes.uint8) and not dtypes.is_float(dtypes.int64)
    assert Tensor([1.0]).half().dtype is dtypes.float16 and Tensor([1.0]).half().float().dtype is dtypes.float32
