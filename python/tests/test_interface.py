"""The names of teenygrad, the stubs, the documentation, the repr."""
import inspect
import os
import re
import subprocess
import sys

import numpy as np
import pytest
import torch

import teenygrad
from teenygrad import Tensor, _teenygrad, dtypes
from teenygrad.helpers import all_int, argfix, argsort, dedup, flatten, getenv, make_pair, prod, round_up

PACKAGE = os.path.dirname(teenygrad.__file__)
METHODS = """__add__ __radd__ __iadd__ __sub__ __rsub__ __isub__ __mul__ __rmul__ __imul__ __truediv__ __rtruediv__
__itruediv__ __pow__ __rpow__ __ipow__ __matmul__ __rmatmul__ __imatmul__ __neg__ __lt__ __gt__ __le__ __ge__ __eq__
__ne__ __getitem__ __setitem__ __hash__ __repr__ T shape dtype device ndim grad requires_grad lazydata training no_grad
default_type train manual_seed realize assign detach numpy item to to_ cpu cpu_ corealize empty rand full zeros ones
arange eye full_like zeros_like ones_like randn randint normal uniform scaled_uniform glorot_uniform kaiming_uniform
kaiming_normal multinomial backward reshape expand permute flip shrink pad slice gather cat stack repeat chunk squeeze
unsqueeze pad2d transpose flatten sum max min mean std softmax log_softmax argmax argmin avg_pool2d max_pool2d
conv_transpose2d conv2d wino dot cumsum contiguous contiguous_backward log log2 exp exp2 relu sigmoid sin sqrt rsqrt cos
tan triu tril trunc ceil floor square clip abs sign reciprocal elu celu swish silu relu6 hardswish tanh sinh cosh atanh
asinh acosh hardtanh gelu quick_gelu leakyrelu mish softplus softsign add sub mul div pow matmul maximum minimum where
linear sequential layernorm batchnorm dropout scaled_dot_product_attention binary_crossentropy
binary_crossentropy_logits sparse_categorical_crossentropy cast bitcast float half numel element_size nbytes
is_floating_point deepwalk""".split()


@pytest.mark.parametrize("name", METHODS)
def test_names(name):
    assert hasattr(Tensor, name) or name in ("training", "no_grad", "default_type")
    getattr(Tensor, name)


def test_modules():
    import teenygrad.mlops
    import teenygrad.nn.optim as optim
    import teenygrad.tensor
    from teenygrad.helpers import CI, DEBUG, DTYPES_DICT, IMAGE, OSX, DType, ImageDType, PtrDType
    from teenygrad.ops import BinaryOps, Device, LoadOps, ReduceOps, TernaryOps, UnaryOps
    assert teenygrad.tensor.Tensor is Tensor and teenygrad.tensor.mlops is teenygrad.mlops
    assert Device.DEFAULT == "CPU" and Device.canonicalize(None) == "CPU" and Device.canonicalize("cpu:0") == "CPU"
    assert all([optim.Optimizer, optim.SGD, optim.Adam, optim.AdamW, optim.LAMB, UnaryOps.EXP2, BinaryOps.ADD,
                TernaryOps.WHERE, ReduceOps.SUM, LoadOps.CONST, DType, DTYPES_DICT])
    assert ImageDType is None and PtrDType is None  # what teenygrad has, and its tests skip by
    assert DEBUG == 0 and IMAGE == 0 and OSX in (True, False) and CI in (True, False)
    for name in ("Contiguous ContiguousBackward Cast Zero Neg Sin Relu Log Exp Sqrt Sigmoid Less Add Sub Mul Div Where "
                 "Sum Max Expand Reshape Permute Pad Shrink Flip").split():
        assert issubclass(getattr(teenygrad.mlops, name), teenygrad.Function)


def test_helpers():
    assert dedup([1, 2, 1]) == [1, 2] and argfix(1, 2) == (1, 2) == argfix([1, 2]) and make_pair(3) == (3, 3)
    assert make_pair((1, 2)) == (1, 2) and flatten([[1], [2, 3]]) == [1, 2, 3] and argsort((3, 1, 2)) == (1, 2, 0)
    assert all_int((1, 2)) and not all_int((1, 2.0)) and round_up(5, 4) == 8 and prod((2, 3)) == 6
    assert getenv("TEENYGRAD_NO_SUCH_VARIABLE", 3) == 3


def test_shapes_as_arguments():
    x = Tensor.zeros(2, 3)
    for y in (x.reshape(3, 2), x.reshape((3, 2)), x.reshape([3, 2]), x.reshape(shape=(3, 2)), x.reshape(-1, 2),
              x.reshape(np.int64(3), 2)):
        assert y.shape == (3, 2)
    assert Tensor.zeros((2, 3)).shape == Tensor.zeros([2, 3]).shape == (2, 3) and Tensor.zeros(()).shape == ()
    assert x.permute(1, 0).shape == x.permute((1, 0)).shape == x.permute(order=(1, 0)).shape == x.T.shape == (3, 2)
    assert x.slice([(0, 1), None]).shape == (1, 3) and x.shrink((None, (1, 2))).shape == (2, 1)


def test_parameters_have_names():
    x = Tensor([[1.0, 2], [3, 4]])
    assert x.cast(dtype=dtypes.int32).bitcast(dtype=dtypes.float32).dtype is dtypes.float32
    assert x.to(device="CPU").shape == (2, 2) and x.to_(device="CPU") is None
    assert x.assign(x=x + 1) is x and x.sequential(ll=[Tensor.relu]).shape == (2, 2)
    assert Tensor.corealize(lst=[x]) is None and x.repeat(repeats=(2, 1)).shape == (4, 2)
    assert x.clip(min_=0, max_=1).where(input_=1.0, other=0.0).shape == (2, 2) and x.flip(axis=0).shape == (2, 2)
    assert Tensor.stack(tensors=[x, x], dim=1).shape == (2, 2, 2) and len(x.chunk(num=2, dim=1)) == 2


def test_deepwalk():
    x = Tensor([1.0, 2], requires_grad=True)
    y = x * 3
    loss = (y + y.exp()).sum()
    walk = loss.deepwalk()
    assert [t.shape for t in walk[:3]] == [(2,)] * 3 and walk[-1].shape == () and x.deepwalk() == []
    loss.backward()
    assert loss.deepwalk() == []


def test_results_have_gradients_too():
    x, y = Tensor([1.0, 2], requires_grad=True), torch.tensor([1.0, 2], requires_grad=True)
    a, b = x * x, y * y
    b.retain_grad()
    loss = a.exp().sum()
    loss.backward()
    b.exp().sum().backward()
    np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-5)
    np.testing.assert_allclose(x.grad.numpy(), y.grad.numpy(), rtol=1e-5)
    assert loss.grad.item() == 1


def test_attributes():
    x = Tensor([1.0], requires_grad=True)
    assert Tensor([1.0]).requires_grad is None and Tensor([1.0], requires_grad=False).requires_grad is False
    assert (x + 1).requires_grad is True and x.detach().requires_grad is False
    Tensor.no_grad = True
    assert (x + 1).requires_grad is not True
    Tensor.no_grad = False
    assert Tensor.training is False
    with Tensor.train():
        assert Tensor.training is True and x.training is True and x.no_grad is False
        with Tensor.train(False):
            assert Tensor.training is False
    assert Tensor.training is False

    @Tensor.train()
    def inside():
        return Tensor.training
    assert inside() and not Tensor.training
    with pytest.raises(AttributeError):
        x.training = True
    assert x.default_type is dtypes.float32
    x.name = "weight"
    assert x.name == "weight" and "weight" in repr(x) and hash(x) == hash(x) and x in {x: 1}
    assert Tensor([1.0]).to("REF").device == "REF" and Tensor([1.0], device="ref").numpy()[0] == 1
    y = Tensor([2.0])
    y.to_("REF")
    z = Tensor([3.0], requires_grad=True)
    (z * z).sum().backward()
    z.to_("REF")
    assert z.device == z.grad.device == "REF" and z.grad.item() == 6 and z.requires_grad and z.item() == 3
    with pytest.raises(RuntimeError, match="x.to"):
        (z * 2).to_("CPU")
    assert y.device == "REF" and y.cpu().device == "CPU" and (y + y).item() == 4
    assert float(Tensor(2.5)) == 2.5 and int(Tensor(2.5)) == 2 and bool(Tensor(0.0)) and [1, 2][Tensor(np.int64(1))] == 2


def test_subclasses():
    class Named(Tensor):
        def double(self):
            return self + self
    x = Named([1.0, 2])
    x.tag = 1
    assert x.double().numpy().tolist() == [2, 4] and isinstance(x, Tensor) and x.tag == 1
    with pytest.raises(TypeError):
        Named()


def test_repr():
    assert repr(Tensor([[1, 2], [3, 4.5]])) == "<Tensor (2, 2) float32 on CPU: [[1, 2], [3, 4.5]]>"
    assert "requires_grad" in repr(Tensor([1.0], requires_grad=True)) and "..." in repr(Tensor.zeros(100))
    bad = Tensor([1.0])[Tensor([3], dtype=dtypes.int32)]
    assert "out of range" in repr(bad)


def public(cls):
    return {n for n in dir(cls) if not n.startswith("_")}


def test_every_method_is_documented():
    for name in public(Tensor) - {"train", "wino", "cpu", "cpu_", "ref", "ref_"}:
        value = inspect.getattr_static(Tensor, name)
        assert inspect.getdoc(value), name
        if inspect.ismethoddescriptor(value) or isinstance(value, staticmethod):
            inspect.signature(getattr(Tensor, name))
    assert "stride" in str(inspect.signature(Tensor.conv2d)) and "Convolution" in Tensor.conv2d.__doc__
    assert "tg_" not in "".join(inspect.getdoc(getattr(Tensor, n)) or "" for n in public(Tensor))


def test_stubs_name_everything():
    assert os.path.exists(os.path.join(PACKAGE, "py.typed"))
    with open(os.path.join(PACKAGE, "tensor.pyi"), encoding="utf-8") as f:
        text = f.read()
    compile(text, "tensor.pyi", "exec")
    stubbed = set(re.findall(r"^    (?:def )?([A-Za-z_]\w*)(?:\(|:)", text, re.M))
    assert public(Tensor) - stubbed == set(), "missing in tensor.pyi"
    assert {n for n in stubbed if not n.startswith("_")} - public(Tensor) - {"forward", "apply", "backward"} \
        <= {"training", "no_grad", "default_type", "device", "needs_input_grad", "requires_grad", "val"}


def test_every_method_answers_help():
    out = subprocess.run([sys.executable, "-c", "import teenygrad; help(teenygrad.Tensor.relu); help(teenygrad)"],
                         capture_output=True, text=True)
    assert "max(x, 0)" in out.stdout and out.returncode == 0


def test_counters():
    c = _teenygrad.counters()
    Tensor.rand(3).realize()
    assert _teenygrad.counters()["kernels_run"] > c["kernels_run"]
