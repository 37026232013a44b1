"""The other Pythons of this machine: the extension compiles with their headers, and what the oldest
builds trains there. Looked for: python3.9 and later by name, and pyenv's folder."""
import glob
import os
import shutil
import subprocess
import sys

import pytest

PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ASK = "import sys, sysconfig; print(*sys.version_info[:2], sysconfig.get_path('include'))"
TRAIN = """
import numpy as np
from teenygrad import Function, Tensor, from_dlpack
from teenygrad.nn import optim

class Cube(Function):
    def forward(self, x):
        self.x = x
        return x * x * x

    def backward(self, grad):
        return grad * self.x * self.x * 3

w = Tensor([4.0, -2.0])
o = optim.Adam([w], lr=0.1)
for _ in range(300):
    loss = Cube.apply((w - 1).abs()).sum()
    o.zero_grad()
    loss.backward()
    o.step()
assert abs(w.numpy() - 1).max() < 0.2, w.numpy()
assert memoryview(w).shape == np.asarray(w).shape == from_dlpack(w).shape == (2,)
try:
    w.sum(7)
except IndexError:
    print("trained")
"""


def interpreters():
    """{(3, 9): (path, folder of headers)}"""
    found = {}
    names = [shutil.which(f"python3.{i}") for i in range(9, 20)]
    pyenv = os.environ.get("PYENV_ROOT") or os.path.expanduser("~/.pyenv")
    for path in filter(None, names + sorted(glob.glob(os.path.join(pyenv, "versions", "3.*", "bin", "python3")))):
        out = subprocess.run([path, "-c", ASK], capture_output=True, text=True)
        words = out.stdout.split()
        if out.returncode or len(words) != 3 or not os.path.exists(os.path.join(words[2], "Python.h")):
            continue
        version = int(words[0]), int(words[1])
        if (3, 9) <= version != sys.version_info[:2]:
            found.setdefault(version, (path, words[2]))
    return found


PYTHONS = interpreters()
OLDEST = [min(PYTHONS)] if PYTHONS else []


@pytest.mark.parametrize("version", sorted(PYTHONS))
def test_headers(version):
    for source in sorted(glob.glob(os.path.join(PACKAGE, "csrc", "*.c"))):
        subprocess.run(["cc", "-std=c11", "-fsyntax-only", "-Wall", "-Werror", "-DPy_LIMITED_API=0x03090000",
                        "-I", os.path.join(PACKAGE, "clib", "include"), "-I", os.path.join(PACKAGE, "clib", "src"),
                        "-I", PYTHONS[version][1], source], check=True)


@pytest.mark.parametrize("version", OLDEST)
def test_built_there(version, tmp_path):
    subprocess.run([PYTHONS[version][0], "-m", "venv", str(tmp_path)], check=True)
    python = str(tmp_path / "bin" / "python")
    subprocess.run([python, "-m", "pip", "install", "-q", "--disable-pip-version-check", PACKAGE], check=True)
    out = subprocess.run([python, "-c", TRAIN], capture_output=True, text=True, cwd=tmp_path)
    assert out.stdout == "trained\n", out.stderr


@pytest.mark.parametrize("version", sorted(PYTHONS))
def test_one_wheel_for_all(version):
    """The module that these tests run with, without numpy: it loads, and its type is there."""
    import teenygrad._teenygrad
    code = ("import importlib.machinery as m, importlib.util as u; "
            f"l = m.ExtensionFileLoader('teenygrad._teenygrad', {teenygrad._teenygrad.__file__!r}); "
            "x = u.module_from_spec(u.spec_from_loader('teenygrad._teenygrad', l)); l.exec_module(x); "
            "t = x.Tensor([[1.0, 2.0]]); print((t + t).sum().item(), memoryview(t).tolist())")
    out = subprocess.run([PYTHONS[version][0], "-c", code], capture_output=True, text=True)
    assert out.stdout == "6.0 [[1.0, 2.0]]\n", out.stderr
