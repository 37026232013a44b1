#!/usr/bin/env python3
"""A tour of teenygrad in cells, as a notebook has them (editors run a cell at each "# %%"). It needs numpy alone."""
# %% Tensors are lazy: this records a graph and computes nothing
import numpy as np

from teenygrad import Function, Tensor, dtypes
from teenygrad.nn import optim

a = Tensor([[1, 2, 3], [4, 5, 6]])
b = (a * 2 + 1).sum(axis=1)
print("computed yet?", b.lazydata.realized is not None)
print("now:", b.numpy(), b)

# %% Shapes and dtypes follow numpy and PyTorch
print((a + Tensor.ones(3)).shape, a.T.shape, a.reshape(3, -1).shape, (a > 2).dtype, a.cast(dtypes.int8).dtype)
print(a[:, ::-1].numpy().tolist(), a[1, [0, 2]].numpy(), a[a > 4].numpy())

# %% Gradients
x = Tensor([0.5, -1.0, 2.0], requires_grad=True)
(x.tanh() * x).sum().backward()
print("gradient:", x.grad.numpy())


# %% A Function of your own, checked against differences
class Softsign(Function):
    def forward(self, x):
        self.below = 1 + abs(x)
        return x / self.below

    def backward(self, grad):
        return grad / (self.below * self.below)


x = Tensor([0.5, -1.0, 2.0], requires_grad=True)
Softsign.apply(x).sum().backward()
eps = 1e-3
slope = (Softsign.apply(x.detach() + eps) - Softsign.apply(x.detach() - eps)) / (2 * eps)
print("by the Function:", x.grad.numpy(), "by differences:", slope.numpy())

# %% A network that learns exclusive or
Tensor.manual_seed(1)
points = Tensor([[0, 0], [0, 1], [1, 0], [1, 1]])
labels = Tensor([0, 1, 1, 0], dtype=dtypes.int32)


class Net:
    def __init__(self):
        self.first, self.second = Tensor.glorot_uniform(2, 16), Tensor.glorot_uniform(16, 2)
        self.bias = Tensor.zeros(16)

    def __call__(self, x):
        return x.linear(self.first, self.bias).relu().dot(self.second)


net = Net()
optimizer = optim.Adam([net.first, net.bias, net.second], lr=0.02)
with Tensor.train():
    for step in range(301):
        loss = net(points).sparse_categorical_crossentropy(labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 100 == 0:
            print("step %3d  loss %.4f" % (step, loss.item()))
print("answers:", np.argmax(net(points).numpy(), axis=-1))
assert np.argmax(net(points).numpy(), axis=-1).tolist() == [0, 1, 1, 0]

# %% Memory is shared where that is safe
view = np.asarray(net.bias)
print("a view without a copy, read-only:", view.shape, view.flags.writeable)
