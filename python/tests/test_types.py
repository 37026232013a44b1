"""The type stubs: a program that mypy must accept, but for the lines marked as wrong; and mypy's own comparison of the
stubs with what is there."""
import subprocess
import sys
import textwrap

PROGRAM = """
    from typing import List, Optional, Tuple
    import numpy as np
    from teenygrad import Function, Tensor, dtypes, from_dlpack
    from teenygrad.helpers import DType, argfix, getenv, prod
    from teenygrad.lazy import LazyBuffer
    from teenygrad.nn import optim
    from teenygrad.nn.optim import SGD, Adam, Optimizer
    from teenygrad.ops import BinaryOps, Device
    from teenygrad.tensor import mlops

    class Net:
        def __init__(self) -> None:
            self.c1: Tensor = Tensor.scaled_uniform(8, 1, 3, 3)
            self.l1: Tensor = Tensor.kaiming_uniform(8 * 13 * 13, 10, a=0.1)

        def __call__(self, x: Tensor) -> Tensor:
            x = x.reshape(shape=(-1, 1, 28, 28)).conv2d(self.c1).relu().max_pool2d()
            return x.reshape(x.shape[0], -1).dot(self.l1).log_softmax()

    class Square(Function):
        def forward(self, x: LazyBuffer) -> LazyBuffer:
            self.x = x
            return x.e(BinaryOps.MUL, x)

        def backward(self, grad: LazyBuffer) -> LazyBuffer:
            return 2 * grad * self.x

    net = Net()
    opt: Optimizer = optim.Adam([net.c1, net.l1], lr=0.001)
    with Tensor.train():
        out = net(Tensor(np.zeros((4, 784), dtype=np.float32), requires_grad=False))
        loss = out.sparse_categorical_crossentropy(Tensor([1, 2, 3, 4]))
        opt.zero_grad()
        loss.backward()
        opt.step()
    a: np.ndarray[Tuple[int, ...], np.dtype[np.float32]] = loss.detach().numpy()
    t: Tensor = -(1 + out * 2 - 3 / out) ** 2 @ out.T
    compared: List[Tensor] = [t < 3, t >= t, t == 3, t != t]
    t += 1
    t[0, ..., None] = 3
    part: Tensor = t[0, 1:3, None, ...]
    grad: Optional[Tensor] = t.grad
    number: float = float(t.sum())
    shape: Tuple[int, ...] = t.shape
    kind: DType = t.cast(dtype=dtypes.int32).dtype
    moved = t.flip(axis=0).permute(order=(1, 0)).expand(shape=(4, 4)).repeat(repeats=(2, 1)).transpose(0, 1)
    many = Tensor.stack([t, t], dim=1).mean(axis=(0, 1), keepdim=True).softplus(beta=0.5).clip(0.5, 1.5)
    cubes: Tensor = mlops.Exp.apply(Square.apply(t))
    for row in t:
        row.lazydata.realized
    sgd = SGD([t], lr=0.1, momentum=0.9, nesterov=True)
    sgd.lr = 0.5
    wrong: int = t.shape  # type: ignore[assignment]
    t.nonsense()  # type: ignore[attr-defined]
    Tensor.zeros(2, dtype="x")  # type: ignore[arg-type]
    t.sum(axis="x")  # type: ignore[arg-type]
    t.reshape(size=3)  # type: ignore[call-overload]
    Adam([1])  # type: ignore[list-item]
"""
# What stubs cannot or need not say.
DIFFERENT = r"""
    teenygrad\.tensor\.Tensor
    teenygrad\.tensor\.Tensor\.__iter__
    teenygrad\.tensor\.Tensor\.__r?pow__
    teenygrad\.lazy\.LazyBuffer\.__(abs|neg)__
"""


def run(*command):
    return subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True)


def test_a_program_is_typed(tmp_path):
    (tmp_path / "program.py").write_text(textwrap.dedent(PROGRAM))
    out = run("mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), str(tmp_path / "program.py"))
    assert out.returncode == 0, out.stdout + out.stderr


def test_stubs_say_what_is_there(tmp_path):
    (tmp_path / "different").write_text(textwrap.dedent(DIFFERENT))
    out = run("mypy.stubtest", "teenygrad.tensor", "teenygrad.lazy", "teenygrad.nn.optim", "teenygrad._teenygrad",
              "--ignore-missing-stub", "--allowlist", str(tmp_path / "different"))
    assert out.returncode == 0, out.stdout + out.stderr
