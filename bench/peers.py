"""The works of bench/bench.c in another framework, behind the same protocol.

    peers.py FRAMEWORK THREADS serve        answers "run WORK N KIND SIZE ..." on standard
                                            input with N times in milliseconds
    peers.py FRAMEWORK THREADS once WORK KIND SIZE ...
                                            first and second time, memory

FRAMEWORK is torch (eager), compile (torch.compile), jax (jax.jit), tinygrad (TinyJit) or
numpy. Kinds and sizes are those of the table in bench.c. Each framework is written as its
own users would: the inputs are in memory before, nothing is converted while it is timed,
a training step gives its loss to the caller. What a framework has no entry for, or
cannot do, is answered with "error ...".
"""
import os
import resource
import sys
import time

START = time.perf_counter()
FRAMEWORK, THREADS = sys.argv[1], int(sys.argv[2])
for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUM_CPU_THREADS"):
    os.environ[name] = str(THREADS)
os.environ.update(JAX_PLATFORMS="cpu", DEV="CPU")
# XLA asks the operating system how many processors it may use.
if FRAMEWORK in ("jax", "tinygrad"):
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:THREADS])

CONVS = [(32, 1, 5), (32, 32, 5), (64, 32, 3), (64, 64, 3)]  # beautiful_mnist


class Torch:
    def __init__(self, compiled):
        import torch
        import torch.nn.functional as F
        torch.set_num_threads(THREADS)
        torch.manual_seed(1)
        self.t, self.F, self.on = torch, F, torch.compile if compiled else lambda f: f

    def trainer(self, params, optimizer, loss):
        loss, update = self.on(loss), self.on(optimizer.step)

        def step(x, y):
            optimizer.zero_grad()
            out = loss(x, y)
            out.backward()
            update()
            return out.item()
        return step

    def labels(self, n, classes=10):
        return self.t.randint(0, classes, (n,))

    def weight(self, *shape):
        n = 1
        for s in shape:
            n *= s
        return ((self.t.rand(shape) * 2 - 1) / n ** 0.5).requires_grad_()

    def tiny(self, c1, c2, n):
        t, F = self.t, self.F
        p = [self.weight(c1, 1, 3, 3), self.weight(c2, c1, 3, 3), self.weight(c2 * 25, 10)]

        def loss(x, y):
            x = F.max_pool2d(F.relu(F.conv2d(x, p[0])), 2)
            x = F.max_pool2d(F.relu(F.conv2d(x, p[1])), 2)
            return F.cross_entropy(x.flatten(1) @ p[2], y)
        step, x, y = self.trainer(p, t.optim.Adam(p), loss), t.rand(n, 1, 28, 28), self.labels(n)
        return lambda: step(x, y)

    def beautiful(self, n):
        t, nn = self.t, self.t.nn
        layers = []
        for i, (o, c, k) in enumerate(CONVS):
            layers += [nn.Conv2d(c, o, k), nn.ReLU()]
            if i % 2:
                layers += [nn.BatchNorm2d(o, track_running_stats=False), nn.MaxPool2d(2)]
        net = nn.Sequential(*layers, nn.Flatten(), nn.Linear(576, 10))
        p = list(net.parameters())
        step = self.trainer(p, t.optim.Adam(p), lambda x, y: self.F.cross_entropy(net(x), y))
        x, y = t.rand(n, 1, 28, 28), self.labels(n)
        return lambda: step(x, y)

    def mlp(self, inputs, hidden, outputs, n, steps, adamw):
        t, nn = self.t, self.t.nn
        net = nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, outputs))
        p = list(net.parameters())
        optimizer = t.optim.AdamW(p) if adamw else t.optim.SGD(p, lr=0.01)
        step = self.trainer(p, optimizer, lambda x, y: self.F.cross_entropy(net(x), y))
        data = [(t.rand(n, inputs), self.labels(n, outputs)) for _ in range(steps)]
        return lambda: [step(x, y) for x, y in data]

    def matmul(self, n):
        a, b, f = self.t.randn(n, n), self.t.randn(n, n), self.on(lambda a, b: a @ b)
        return lambda: f(a, b)

    def sum(self, n):
        x, f = self.t.rand(n), self.on(lambda x: (x.exp() * 2 + 1).sum())
        return lambda: f(x).item()

    def both_ways(self, f, leaves, others=(), grad=None):
        f = self.on(f)
        grad = self.t.randn_like(f(*leaves, *others)) if grad is None else grad

        def run():
            for x in leaves:
                x.grad = None
            f(*leaves, *others).backward(grad)
        return run

    def leaf(self, *shape):
        return self.t.randn(shape).requires_grad_()

    def conv(self, o, c, k, h, n):
        x, w, f = self.t.randn(n, c, h, h), self.leaf(o, c, k, k), self.F.conv2d
        if c == 1:
            return self.both_ways(lambda w, x: f(x, w), [w], [x])
        return self.both_ways(f, [x.requires_grad_(), w])

    def softmax(self, n):
        return self.both_ways(lambda x: self.F.softmax(x, -1), [self.leaf((4 << 20) // n, n)])

    def layernorm(self, n):
        return self.both_ways(lambda x: self.F.layer_norm(x, [n]), [self.leaf((4 << 20) // n, n)])

    def entropy(self, n):
        rows = (4 << 20) // n
        return self.both_ways(self.F.cross_entropy, [self.leaf(rows, n)], [self.labels(rows, n)],
                              self.t.tensor(1.0))

    def attention(self, *shape):
        return self.both_ways(self.F.scaled_dot_product_attention,
                              [self.leaf(*shape) for _ in range(3)])


class Jax:
    """Convolutions in the layout NHWC, the one that XLA is fast in on a CPU."""

    def __init__(self):
        import jax
        import jax.numpy as jnp
        self.j, self.np, self.key = jax, jnp, jax.random.key(1)

    def rand(self, *shape):
        self.key, key = self.j.random.split(self.key)
        return self.j.random.normal(key, shape)

    def labels(self, n, classes=10):
        self.key, key = self.j.random.split(self.key)
        return self.j.random.randint(key, (n,), 0, classes)

    def weight(self, *shape):
        w = self.rand(*shape)
        return w / w.size ** 0.5

    def entropy_of(self, out, y):
        rows = self.j.nn.log_softmax(out)
        return -self.np.take_along_axis(rows, y[:, None], 1).mean()

    def trainer(self, params, loss, data, adam=True, lr=0.001, decay=0.0):
        j, np, tree = self.j, self.np, self.j.tree.map

        def step(state, x, y):
            p, m, v, t = state
            value, g = j.value_and_grad(loss)(p, x, y)
            if not adam:
                return (tree(lambda p, g: p - lr * g, p, g), m, v, t), value
            t = t + 1
            m = tree(lambda m, g: 0.9 * m + 0.1 * g, m, g)
            v = tree(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
            p = tree(lambda p, m, v: p - lr * (m / (1 - 0.9 ** t) / (np.sqrt(v / (1 - 0.999 ** t))
                                                                     + 1e-8) + decay * p), p, m, v)
            return (p, m, v, t), value
        step = j.jit(step, donate_argnums=0)
        zeros = [tree(np.zeros_like, params) for _ in range(2)] if adam else [(), ()]
        held = [(params, *zeros, np.zeros(()))]

        def run():
            for x, y in data:
                held[0], value = step(held[0], x, y)
                j.block_until_ready((held[0], value))
        return run

    def conv_of(self, x, w):
        return self.j.lax.conv_general_dilated(x, w, (1, 1), "VALID",
                                               dimension_numbers=("NHWC", "HWIO", "NHWC"))

    def pool(self, x):
        return self.j.lax.reduce_window(x, -self.np.inf, self.j.lax.max, (1, 2, 2, 1),
                                        (1, 2, 2, 1), "VALID")

    def tiny(self, c1, c2, n):
        relu = self.j.nn.relu
        p = [self.weight(3, 3, 1, c1), self.weight(3, 3, c1, c2), self.weight(c2 * 25, 10)]

        def loss(p, x, y):
            x = self.pool(relu(self.conv_of(x, p[0])))
            x = self.pool(relu(self.conv_of(x, p[1])))
            return self.entropy_of(x.reshape(n, -1) @ p[2], y)
        return self.trainer(p, loss, [(self.rand(n, 28, 28, 1), self.labels(n))])

    def beautiful(self, n):
        np, relu = self.np, self.j.nn.relu
        convs = [(self.weight(k, k, c, o), np.zeros(o)) for o, c, k in CONVS]
        norms = [(np.ones(c), np.zeros(c)) for c in (32, 64)]

        def loss(p, x, y):
            convs, norms, w, b = p
            for i, (k, bias) in enumerate(convs):
                x = relu(self.conv_of(x, k) + bias)
                if i % 2:
                    gain, shift = norms[i // 2]
                    mean, var = x.mean((0, 1, 2)), x.var((0, 1, 2))
                    x = self.pool((x - mean) * (gain / np.sqrt(var + 1e-5)) + shift)
            return self.entropy_of(x.reshape(n, -1) @ w + b, y)
        params = (convs, norms, self.weight(576, 10), np.zeros(10))
        return self.trainer(params, loss, [(self.rand(n, 28, 28, 1), self.labels(n))])

    def mlp(self, inputs, hidden, outputs, n, steps, adamw):
        np = self.np
        p = [self.weight(inputs, hidden), np.zeros(hidden), self.weight(hidden, outputs),
             np.zeros(outputs)]

        def loss(p, x, y):
            return self.entropy_of(self.j.nn.relu(x @ p[0] + p[1]) @ p[2] + p[3], y)
        data = [(self.rand(n, inputs), self.labels(n, outputs)) for _ in range(steps)]
        return self.trainer(p, loss, data, adam=bool(adamw), lr=0.001 if adamw else 0.01,
                            decay=0.01)

    def jitted(self, f, *args):
        f = self.j.jit(f)
        return lambda: self.j.block_until_ready(f(*args))

    def both_ways(self, f, args, count):
        def g(args, grad):
            y, back = self.j.vjp(lambda *leaves: f(*leaves, *args[count:]), *args[:count])
            return y, back(grad)
        return self.jitted(g, args, self.rand(*self.j.eval_shape(f, *args).shape))

    def matmul(self, n):
        return self.jitted(lambda a, b: a @ b, self.rand(n, n), self.rand(n, n))

    def sum(self, n):
        return self.jitted(lambda x: (self.np.exp(x) * 2 + 1).sum(), self.rand(n))

    def conv(self, o, c, k, h, n):
        x, w = self.rand(n, h, h, c), self.rand(k, k, c, o)
        if c == 1:
            return self.both_ways(lambda w, x: self.conv_of(x, w), [w, x], 1)
        return self.both_ways(self.conv_of, [x, w], 2)

    def softmax(self, n):
        return self.both_ways(self.j.nn.softmax, [self.rand((4 << 20) // n, n)], 1)

    def layernorm(self, n):
        def norm(x):
            off = x - x.mean(-1, keepdims=True)
            return off * self.j.lax.rsqrt((off * off).mean(-1, keepdims=True) + 1e-5)
        return self.both_ways(norm, [self.rand((4 << 20) // n, n)], 1)

    def entropy(self, n):
        rows = (4 << 20) // n
        return self.both_ways(self.entropy_of, [self.rand(rows, n), self.labels(rows, n)], 1)

    def attention(self, batch, heads, length, width):
        def attend(q, k, v):
            scores = self.np.einsum("bhle,bhse->bhls", q, k) / width ** 0.5
            return self.np.einsum("bhls,bhse->bhle", self.j.nn.softmax(scores), v)
        return self.both_ways(attend, [self.rand(batch, heads, length, width)] * 3, 3)


class Tinygrad:
    def __init__(self):
        import tinygrad
        from tinygrad import nn
        from tinygrad.helpers import Context
        self.T, self.nn, self.jit = tinygrad.Tensor, nn, tinygrad.TinyJit
        self.training = lambda: Context(TRAINING=1)
        self.wait = tinygrad.Device[tinygrad.Device.DEFAULT].synchronize
        self.T.manual_seed(1)

    def labels(self, n, classes=10):
        return self.T.randint(n, high=classes).realize()

    def rand(self, *shape):
        return self.T.randn(*shape).realize()

    def trainer(self, forward, optimizer, data):
        @self.jit
        def step(x, y):
            with self.training():
                optimizer.zero_grad()
                loss = forward(x).sparse_categorical_crossentropy(y).backward()
                return loss.realize(*optimizer.schedule_step())
        return lambda: [step(x, y).item() for x, y in data]

    def tiny(self, c1, c2, n):
        p = [self.T.scaled_uniform(*s) for s in ((c1, 1, 3, 3), (c2, c1, 3, 3), (c2 * 25, 10))]

        def forward(x):
            x = x.conv2d(p[0]).relu().max_pool2d().conv2d(p[1]).relu().max_pool2d()
            return x.flatten(1) @ p[2]
        return self.trainer(forward, self.nn.optim.Adam(p),
                            [(self.rand(n, 1, 28, 28), self.labels(n))])

    def beautiful(self, n):
        nn, layers = self.nn, []
        for i, (o, c, k) in enumerate(CONVS):
            layers += [nn.Conv2d(c, o, k), self.T.relu]
            if i % 2:
                layers += [nn.BatchNorm(o, track_running_stats=False), self.T.max_pool2d]
        layers += [lambda x: x.flatten(1), nn.Linear(576, 10)]
        return self.trainer(lambda x: x.sequential(layers),
                            nn.optim.Adam(nn.state.get_parameters(layers)),
                            [(self.rand(n, 1, 28, 28), self.labels(n))])

    def mlp(self, inputs, hidden, outputs, n, steps, adamw):
        nn = self.nn
        layers = [nn.Linear(inputs, hidden), self.T.relu, nn.Linear(hidden, outputs)]
        params = nn.state.get_parameters(layers)
        optimizer = nn.optim.AdamW(params) if adamw else nn.optim.SGD(params, lr=0.01)
        return self.trainer(lambda x: x.sequential(layers), optimizer,
                            [(self.rand(n, inputs), self.labels(n, outputs))
                             for _ in range(steps)])

    def jitted(self, f, *args):
        f = self.jit(f)

        def run():
            f(*args)
            self.wait()
        return run

    def both_ways(self, f, leaves, others=(), scalar=False):
        grad = None if scalar else self.rand(*f(*leaves, *others).shape)

        def run(*args):
            y = f(*args)
            grads = y.gradient(*args[:len(leaves)], gradient=grad)
            return self.T.realize(y, *grads)
        return self.jitted(run, *leaves, *others)

    def matmul(self, n):
        return self.jitted(lambda a, b: (a @ b).realize(), self.rand(n, n), self.rand(n, n))

    def sum(self, n):
        return self.jitted(lambda x: (x.exp() * 2 + 1).sum().realize(), self.rand(n))

    def conv(self, o, c, k, h, n):
        x, w = self.rand(n, c, h, h), self.rand(o, c, k, k)
        if c == 1:
            return self.both_ways(lambda w, x: x.conv2d(w), [w], [x])
        return self.both_ways(lambda x, w: x.conv2d(w), [x, w])

    def softmax(self, n):
        return self.both_ways(self.T.softmax, [self.rand((4 << 20) // n, n)])

    def layernorm(self, n):
        return self.both_ways(self.T.layernorm, [self.rand((4 << 20) // n, n)])

    def entropy(self, n):
        rows = (4 << 20) // n
        return self.both_ways(self.T.sparse_categorical_crossentropy, [self.rand(rows, n)],
                              [self.labels(rows, n)], scalar=True)

    def attention(self, *shape):
        return self.both_ways(self.T.scaled_dot_product_attention,
                              [self.rand(*shape) for _ in range(3)])


class Numpy:
    def __init__(self):
        import numpy
        self.np = numpy

    def matmul(self, n):
        a, b = (self.np.random.rand(n, n).astype("float32") for _ in range(2))
        return lambda: a @ b

    def sum(self, n):
        x = self.np.random.rand(n).astype("float32")
        return lambda: float((self.np.exp(x) * 2 + 1).sum())


def framework():
    if FRAMEWORK in ("torch", "compile"):
        return Torch(FRAMEWORK == "compile")
    return {"jax": Jax, "tinygrad": Tinygrad, "numpy": Numpy}[FRAMEWORK]()


def timed(f):
    start = time.perf_counter()
    f()
    return (time.perf_counter() - start) * 1e3


def serve():
    peer, name, run = framework(), None, None
    for line in sys.stdin:
        try:
            _, work, count, kind, *sizes = line.split()
            if work != name:
                name, run = None, None
                name, run = work, getattr(peer, kind)(*map(int, sizes))
            print("times", *(f"{timed(run):.6f}" for _ in range(int(count))), flush=True)
        except Exception as e:
            name = None
            print("error", type(e).__name__, str(e).split("\n")[0], flush=True)


def once(work, kind, *sizes):
    run = getattr(framework(), kind)(*map(int, sizes))
    first = timed(run)
    made = (time.perf_counter() - START) * 1e3
    second = timed(run)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(f"once {made:.3f} {first:.3f} {second:.3f} {memory:.1f} 0", flush=True)


if sys.argv[3] == "serve":
    serve()
else:
    once(*sys.argv[4:])
