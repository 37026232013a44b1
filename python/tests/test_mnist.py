"""teenygrad's MNIST script: more than 93 % in 100 steps."""
import os
import subprocess
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))


@pytest.mark.skipif(not os.path.exists(os.path.join(HERE, "..", "..", "data", "mnist")), reason="no data here")
def test_mnist():
    out = subprocess.run([sys.executable, os.path.join(HERE, "..", "examples", "mnist.py")], capture_output=True,
                         text=True, env={**os.environ, "CI": "1"}, timeout=300)
    assert out.returncode == 0, out.stderr
    assert float(out.stdout.split()[-1]) > 0.93
