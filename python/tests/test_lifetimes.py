"""Nothing stays that Python has dropped; threads, forks and Ctrl-C leave everything usable."""
import _thread
import gc
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import weakref

import numpy as np
import pytest
from compare import close

from teenygrad import Function, Tensor, _teenygrad
from teenygrad.nn import optim


def alive():
    gc.collect()
    c = _teenygrad.counters()
    return c["tensors"], c["nodes"], c["buffers"]


def test_tensors_die_at_once():
    before = alive()
    x = Tensor.rand(10, requires_grad=True)
    y = ((x + 1) * 2 - [1] * 10).sum()
    y.backward()
    x.grad.numpy()
    seen = weakref.ref(x)
    del x, y
    assert seen() is None and alive()[0] <= before[0] + 1


def test_gradients_keep_their_identity():
    x = Tensor([1.0, 2], requires_grad=True)
    assert x.grad is None
    (x * x).sum().backward()
    g = x.grad
    assert x.grad is g
    x.grad = None
    assert x.grad is None and g.numpy().tolist() == [2, 4]
    x.grad = g
    assert x.grad.numpy().tolist() == [2, 4]
    y = Tensor([1.0], requires_grad=True)
    y.sum().backward()
    grad = y.grad
    del y
    assert grad.numpy().tolist() == [1]


def test_no_growth_over_10000_steps():
    w = Tensor.rand(4, 4, requires_grad=True)
    o = optim.Adam([w])

    class Twice(Function):
        def forward(self, x):
            return x * 2

        def backward(self, grad):
            return grad * 2

    def step(i):
        x = Tensor(np.ones((2, 4), dtype=np.float32))
        loss = Twice.apply(x.dot(w)[:, [0, i % 2]]).relu().sum() + 0.5
        o.zero_grad()
        loss.backward()
        o.step()
        return loss.item()

    for i in range(300):
        step(i)
    before, bytes_before = alive(), _teenygrad.counters()["bytes"]
    for i in range(10000):
        step(i)
    assert all(a <= b + 2 for a, b in zip(alive(), before))
    assert _teenygrad.counters()["bytes"] < bytes_before + 200_000


def test_deep_graphs():
    x = t = Tensor([1.0], requires_grad=True)
    for _ in range(20000):
        t = t + 1
    del t
    gc.collect()
    t = x
    for _ in range(2000):
        t = t * 1.0001
    t.sum().backward()
    assert abs(x.grad.item() - 1.0001 ** 2000) < 1e-2


def test_threads_each_train():
    results = {}

    def work(k):
        Tensor.manual_seed(k)
        rng = np.random.RandomState(k)
        w = Tensor.uniform(8, 1)
        o = optim.SGD([w], lr=0.05)
        target = rng.randn(8, 1).astype(np.float32)
        for _ in range(100):
            x = rng.randn(32, 8).astype(np.float32)
            o.zero_grad()
            ((Tensor(x).dot(w) - Tensor(x @ target)) ** 2).mean().backward()
            o.step()
        results[k] = abs(w.numpy() - target).max()

    threads = [threading.Thread(target=work, args=(k,)) for k in range(6)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert len(results) == 6 and max(results.values()) < 0.05


def test_threads_share_a_lazy_tensor():
    for _ in range(20):
        x = Tensor.rand(64, 64)
        y = (x.dot(x) + 1).exp().log()
        out = []
        threads = [threading.Thread(target=lambda: out.append((y * 2).sum().item())) for _ in range(6)]
        [t.start() for t in threads]
        y.realize()
        [t.join() for t in threads]
        assert len(out) == 6 and max(out) - min(out) <= 1e-2 * abs(out[0])


def test_a_tensor_that_moves_while_others_read_it():
    """Crashed: to_ freed the handle that a realize in another thread was using."""
    tensors = [Tensor.rand(64, 64) for _ in range(4)]
    end = time.monotonic() + 1

    def move():
        while time.monotonic() < end:
            for t in tensors:
                t.to_("REF")
                t.to_("CPU")

    def read():
        while time.monotonic() < end:
            for t in tensors:
                assert memoryview(t).shape == t.__array_interface__["shape"] == (64, 64)
                assert float(t.sum()) > 0

    threads = [threading.Thread(target=f) for f in (move, read, read)]
    [t.start() for t in threads]
    [t.join() for t in threads]


def test_modes_begin_as_in_the_main_thread():
    seen = []
    Tensor.training = True
    thread = threading.Thread(target=lambda: (seen.append(Tensor.training), setattr(Tensor, "training", False)))
    thread.start()
    thread.join()
    assert seen == [True] and Tensor.training is True


def test_the_lock_is_free_while_kernels_run():
    x = Tensor.rand(1200, 1200).realize()
    ticks, stop = [], threading.Event()

    def tick():
        while not stop.is_set():
            ticks.append(time.perf_counter())
            time.sleep(0.001)

    thread = threading.Thread(target=tick)
    thread.start()
    y = x
    for _ in range(4):
        y = y.dot(x) * 1e-3
    start = time.perf_counter()
    y.realize()
    end = time.perf_counter()
    stop.set()
    thread.join()
    inside = [t for t in ticks if start < t < end]
    assert len(inside) >= 3 or end - start < 0.02


def interrupted(t):
    """Ctrl-C a moment after t.realize() has begun, which would take many times as long: it must not come to its end."""
    timer = threading.Timer(0.05, _thread.interrupt_main)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        t.realize()
    timer.join()
    assert not t.is_realized


def test_ctrl_c_between_kernels():
    x = Tensor.rand(300, 300).realize()
    t = x
    for _ in range(5000):
        t = t.dot(x) * 1e-2
    interrupted(t)
    assert Tensor([1.0, 2]).sum().item() == 3
    assert x.sum().item() > 0 and t.shape == (300, 300) and np.isfinite(x.dot(x).numpy()).all()


def test_ctrl_c_inside_a_kernel():
    x = Tensor.rand(60000).realize()
    interrupted((x.reshape(-1, 1) - x.reshape(1, -1)).sin().sum())
    assert (x * 0 + 1).sum().item() == 60000


def test_other_signals_interrupt_too():
    """A handler's own exception ends what computes, whoever asked for it."""
    class Late(Exception):
        pass

    def handler(signum, frame):
        raise Late

    x = Tensor.rand(60000).realize()
    before = signal.signal(signal.SIGALRM, handler)
    try:
        for ask in (float, memoryview, lambda t: Tensor.full((2,), t), lambda t: x[x > t]):
            t = (x.reshape(-1, 1) - x.reshape(1, -1)).sin().sum()
            signal.setitimer(signal.ITIMER_REAL, 0.02)
            with pytest.raises(Late):
                ask(t)
            assert not t.is_realized
    finally:
        signal.signal(signal.SIGALRM, before)
    assert Tensor([1.0, 2]).sum().item() == 3


def test_ctrl_c_leaves_parameters_alone():
    w = Tensor.rand(60000, requires_grad=True)
    o = optim.SGD([w], lr=0.1, momentum=0.9)
    (w.reshape(-1, 1) - w.detach().reshape(1, -1)).sin().sum().backward()
    before = w.numpy()
    timer = threading.Timer(0.05, _thread.interrupt_main)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        o.step()
    timer.join()
    assert (w.numpy() == before).all() and (o.b[0].numpy() == 0).all()
    w.grad = Tensor.ones(60000)
    o.step()
    np.testing.assert_allclose(w.numpy(), before - 0.1, atol=1e-6)


def run(code, **environment):
    return subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=120,
                          env={**os.environ, **environment})


def test_real_ctrl_c():
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent("""
        from teenygrad import Tensor
        x = Tensor.rand(2000, 2000).realize()
        print("ready", flush=True)
        try:
            while True: x.dot(x).realize()
        except KeyboardInterrupt:
            print(Tensor([1.0, 2]).sum().item())
        """)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60)[0] == "3.0\n" and process.returncode == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_fork():
    out = run("""
        import os, threading
        from teenygrad import Tensor
        x = Tensor.rand(400, 400).realize()
        x.dot(x).realize()                      # the threads of the pool exist
        stop = False
        def work():
            while not stop: x.dot(x).realize()
        thread = threading.Thread(target=work)
        thread.start()
        for _ in range(10):
            child = os.fork()
            if child == 0:
                assert abs(x.dot(x).sum().item() / (x.dot(x)).numpy().sum() - 1) < 1e-3
                os._exit(7)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        stop = True
        thread.join()
        print(x.dot(x).shape)
        """)
    assert out.stdout == "(400, 400)\n", out.stderr


@pytest.mark.parametrize("end", ["pass", "raise SystemExit(0)", "os.kill(os.getpid(), signal.SIGINT)", "fork()"])
def test_nothing_is_left_without_a_cache_folder(tmp_path, end):
    """The private folder of generated code goes with the process that made it, however that ends."""
    unset = {name: "" for name in ("TG_CACHE_DIR", "XDG_CACHE_HOME", "TG_CC")}
    out = run(f"""
        import os, signal, sys
        from teenygrad import Tensor
        def fork():
            child = os.fork()
            if child == 0:
                x.exp().sum().item()
                sys.exit(0)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
            assert len(os.listdir({str(tmp_path)!r})) == 1
            x.sin().sum().item()
        x = Tensor.ones(1000, 3).realize()
        print(x.sum().item(), len(os.listdir({str(tmp_path)!r})), flush=True)
        {end}
        """, HOME="/proc/nowhere", TMPDIR=str(tmp_path), TG_JIT="sync", **unset)
    assert out.stdout == "3000.0 1\n", out.stderr
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_fork_while_kernels_are_compiled(tmp_path):
    """The compiler that a fork stops is run again: the first hangs, and says that it has been there."""
    compiler = tmp_path / "compiler"
    compiler.write_text(f"#!/bin/sh\n[ -e {tmp_path}/here ] || {{ touch {tmp_path}/here; exec sleep 1000; }}\n"
                        'exec cc "$@"\n')
    compiler.chmod(0o755)
    out = run(f"""
        import os, time
        from teenygrad import Tensor
        x = Tensor.ones(50, 50).realize()
        units = lambda: [name for name in os.listdir({str(tmp_path / "units")!r}) if len(name) == 67]
        while not os.path.exists({str(tmp_path / "here")!r}): (x * 2 + 1).sum().item()
        child = os.fork()
        if child == 0: os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7 and not units()
        for _ in range(6000):
            if units(): break
            assert (x * 2 + 1).sum().item() == 7500
            time.sleep(0.01)
        print(len(units()) > 0)
        """, TG_CC=str(compiler), TG_CACHE_DIR=str(tmp_path / "units"), TG_JIT="async")
    assert out.stdout == "True\n", out.stderr


def test_exit_is_clean():
    out = run("""
        import threading, numpy as np
        from teenygrad import Tensor
        x = Tensor(np.ones(10000, dtype=np.float32))
        view = np.asarray(x)
        y = Tensor.rand(500, 500)
        threading.Thread(target=lambda: [y.dot(y).realize() for _ in range(50)], daemon=True).start()
        """)
    assert out.returncode == 0 and out.stderr == "", out.stderr
