"""Every method with random arguments: it may raise, it must not crash. TG_FUZZ_SECONDS says for how long (60)."""
import os
import subprocess
import sys
import textwrap

FUZZ = """
import os, random, sys, time, faulthandler
faulthandler.enable()
import numpy as np
from teenygrad import Tensor, dtypes, from_dlpack, mlops, nn, lazy
random.seed(int(sys.argv[1]))
t = lambda *s, **k: Tensor(np.asarray(np.random.rand(*s), dtype=np.float32), **k)
values = [
    lambda: None, lambda: True, lambda: 0, lambda: 1, lambda: -1, lambda: 3, lambda: 2 ** 31, lambda: -2 ** 63,
    lambda: 2 ** 64, lambda: 0.5, lambda: -1.5, lambda: float("nan"), lambda: float("inf"), lambda: 1e300, lambda: "x",
    lambda: b"ab", lambda: "CPU", lambda: (), lambda: (2, 3), lambda: [3, -1], lambda: (0, 1), lambda: (1, 0),
    lambda: ((0, 1), (1, 2)), lambda: [(0, 2), None], lambda: [[1, 2], [3]], lambda: {}, lambda: object(),
    lambda: slice(None), lambda: slice(0, 9, -2), lambda: slice(3, None, 0), lambda: Ellipsis, lambda: (None, 0, ...),
    lambda: np.arange(3), lambda: np.array([1.5]), lambda: np.array([object()]), lambda: np.ones((2, 3), dtype=">f4"),
    lambda: np.zeros((0, 2)), lambda: np.array([True, False]), lambda: dtypes.float32, lambda: dtypes.bfloat16,
    lambda: dtypes.int8, lambda: dtypes.bool, lambda: np.float32, lambda: lambda x: x, lambda: [lambda x: x + 1],
    lambda: t(2, 3), lambda: t(3), lambda: t(), lambda: t(2, 3, requires_grad=True), lambda: t(1, 2, 5, 5),
    lambda: t(2, 2, 3, 3), lambda: Tensor([0, 1], dtype=dtypes.int64), lambda: Tensor([7], dtype=dtypes.int32),
    lambda: t(0, 3), lambda: Tensor([True, False], dtype=dtypes.bool), lambda: [t(2), t(2)], lambda: [t(2), 3],
    lambda: t(2, 3).lazydata, lambda: range(3), lambda: 1j, lambda: Tensor]
names = [n for n in dir(Tensor) if n not in ("__class__", "__init_subclass__", "__subclasshook__", "__getattribute__",
                                             "__setattr__", "__delattr__", "__dir__")]
keywords = ["axis", "keepdim", "dim", "dtype", "device", "requires_grad", "shape", "stride", "padding", "groups",
            "bias", "value", "reverse", "correction", "dilation", "low", "high", "k"]
pick = lambda: random.choice(values)()
def small(x): return not isinstance(x, Tensor) or x.numel() < 1e6
end, calls = time.time() + float(sys.argv[2]), 0
kept = [t(2, 3)]
while time.time() < end:
    calls += 1
    try:
        x = random.choice(kept + [pick()])
        if not isinstance(x, Tensor): x = t(2, 3)
        name = random.choice(names)
        args = [pick() for _ in range(random.choice([0, 0, 1, 1, 1, 2, 2, 3, 4]))]
        named = {random.choice(keywords): pick() for _ in range(random.choice([0, 0, 0, 1, 2]))}
        what = random.random()
        if what < 0.05: out = x[pick()]
        elif what < 0.1: x[pick()] = pick(); out = x
        elif what < 0.15: out = Tensor(*args, **named)
        elif what < 0.18: out = from_dlpack(pick())
        elif what < 0.22: out = getattr(mlops, random.choice(["Exp", "Sum", "Where", "Pad", "Cast"])).apply(*args, **named)
        elif what < 0.25: nn.optim.Adam(*args).step(); continue
        elif what < 0.28: setattr(x, random.choice(["grad", "requires_grad", "name", "lazydata"]), pick()); continue
        else:
            f = getattr(x, name)
            out = f(*args, **named) if callable(f) else f
        if isinstance(out, Tensor) and small(out):
            if random.random() < 0.5: out.numpy()
            if random.random() < 0.2: out.sum().backward()
            if random.random() < 0.2: repr(out)
            kept = (kept + [out])[-8:]
    except (Exception, KeyboardInterrupt) as e:
        if isinstance(e, (SystemError, KeyboardInterrupt)):
            print(name, args, named, what, x.shape, file=sys.stderr)
            raise
print("calls", calls)
"""


def test_random_calls():
    seconds = float(os.environ.get("TG_FUZZ_SECONDS", "60"))
    for seed in range(2):
        out = subprocess.run([sys.executable, "-c", textwrap.dedent(FUZZ), str(seed), str(seconds / 2)],
                             capture_output=True, text=True, timeout=seconds * 4 + 120)
        assert out.returncode == 0 and "calls" in out.stdout, out.stdout[-500:] + out.stderr[-4000:]
