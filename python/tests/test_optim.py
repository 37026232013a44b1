"""Optimizers against PyTorch's over 100 steps, on teenygrad's TinyNet."""
import copy
import pickle

import numpy as np
import pytest
import torch

from teenygrad import Tensor
from teenygrad.nn import optim

X, W, M = (np.random.RandomState(3).randn(*s).astype(np.float32) for s in [(1, 3), (3, 3), (1, 3)])


def our_net():
    x, w = Tensor(X, requires_grad=True), Tensor(W, requires_grad=True)
    return [x, w], lambda: (x.dot(w).relu().log_softmax() * Tensor(M) + Tensor(M)).sum()


def torch_net():
    x, w = torch.tensor(X, requires_grad=True), torch.tensor(W, requires_grad=True)
    return [x, w], lambda: (torch.nn.functional.log_softmax((x @ w).relu(), 1) * torch.tensor(M)
                            + torch.tensor(M)).sum()


def train(net, make, steps):
    params, loss = net()
    optimizer = make(params)
    for _ in range(steps):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
    return [p.detach().numpy() for p in params]


CASES = {
    "sgd": (lambda p: optim.SGD(p, lr=0.001), lambda p: torch.optim.SGD(p, lr=0.001)),
    "sgd_all": (lambda p: optim.SGD(p, lr=0.01, momentum=0.9, weight_decay=0.1, nesterov=True),
                lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9, weight_decay=0.1, nesterov=True)),
    "momentum": (lambda p: optim.SGD(p, lr=0.01, momentum=0.9), lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9)),
    "adam": (lambda p: optim.Adam(p, lr=0.01), lambda p: torch.optim.Adam(p, lr=0.01)),
    "adam_betas": (lambda p: optim.Adam(p, lr=0.01, b1=0.8, b2=0.95, eps=1e-6),
                   lambda p: torch.optim.Adam(p, lr=0.01, betas=(0.8, 0.95), eps=1e-6)),
    "adamw": (lambda p: optim.AdamW(p, lr=0.01, wd=0.1), lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1)),
}


@pytest.mark.parametrize("name", CASES)
def test_against_torch(name):
    ours, theirs = CASES[name]
    for a, b in zip(train(our_net, ours, 100), train(torch_net, theirs, 100)):
        np.testing.assert_allclose(a, b, atol=2e-4, rtol=2e-3)


class PythonLAMB(optim.Optimizer):
    """You et al. written with tensors: what the C library must do."""
    def __init__(self, params, lr):
        super().__init__(params, lr)
        self.t = 0
        self.m = [Tensor.zeros(*p.shape) for p in self.params]
        self.v = [Tensor.zeros(*p.shape) for p in self.params]

    def step(self):
        self.t += 1
        for p, m, v in zip(self.params, self.m, self.v):
            g = p.grad.detach()
            m.assign((0.9 * m + 0.1 * g).realize())
            v.assign((0.999 * v + 0.001 * g * g).realize())
            up = m / (1 - 0.9 ** self.t) / ((v / (1 - 0.999 ** self.t)).sqrt() + 1e-6)
            trust = p.detach().square().sum().sqrt() / up.square().sum().sqrt()
            p.assign(p.detach() - self.lr * trust * up)
        self.realize(self.m + self.v)


def test_lamb_and_optimizers_in_python():
    for a, b in zip(train(our_net, lambda p: optim.LAMB(p, lr=0.01), 30),
                    train(our_net, lambda p: PythonLAMB(p, lr=0.01), 30)):
        np.testing.assert_allclose(a, b, atol=1e-4, rtol=1e-3)


def test_state_and_rate():
    params, loss = our_net()
    o = optim.Adam(params + params, lr=0.5)
    assert len(o.params) == 2 and o.lr.shape == (1,) and o.lr.numpy()[0] == 0.5 and o.device == "CPU"
    loss().backward()
    o.step()
    assert o.t.item() == 1 and o.m[0].shape == (1, 3) and o.v[1].shape == (3, 3)
    before = params[0].numpy()
    o.lr.assign([0.0])
    o.step()
    assert (params[0].numpy() == before).all()
    o.lr = Tensor([0.1])
    o.step()
    assert (params[0].numpy() != before).any()
    o.lr = 0.0
    before = params[0].numpy()
    o.step()
    assert (params[0].numpy() == before).all()
    assert optim.SGD(our_net()[0], momentum=0.9).b[0].shape == (1, 3) and optim.SGD(our_net()[0]).b == []


def test_which_parameters():
    unset, fixed = Tensor([1.0]), Tensor([1.0], requires_grad=False)
    o = optim.SGD([unset, fixed, unset])
    assert unset.requires_grad is True and o.params == [unset] and o.buffers == [fixed]
    with pytest.raises(AssertionError):
        o.step()
    with pytest.raises(AssertionError):
        optim.SGD([fixed])
    with pytest.raises((TypeError, AttributeError)):
        optim.SGD([1, 2])
    with pytest.raises(NotImplementedError):
        optim.Optimizer([unset], 0.1).step()
    unset.sum().backward()
    for bad in ([], [0.1, 0.2]):
        o.lr = Tensor(bad)
        with pytest.raises(ValueError, match="one element"):
            o.step()
    with pytest.raises(RuntimeError):
        optim.SGD([unset], nesterov=True)


def test_step_computes_what_is_held():
    w = Tensor([1.0, 2.0], requires_grad=True)
    o = optim.SGD([w], lr=0.1)
    out = w * 2
    loss = out.sum()
    loss.backward()
    o.step()
    assert out.is_realized and loss.is_realized and loss.item() == 6 and out.numpy().tolist() == [2, 4]


@pytest.mark.parametrize("make", [
    lambda p: optim.Adam(p, lr=0.1), lambda p: optim.LAMB(p, lr=0.1), lambda p: optim.SGD(p, lr=0.1),
    lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True)])
@pytest.mark.parametrize("again", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_go_on_alike(make, again):
    def steps(w, o):
        for _ in range(3):
            o.zero_grad()
            ((w - 3) ** 2).sum().backward()
            o.step()
        return w.numpy().tolist()

    w = Tensor([1.0, 2.0, 5.0])
    o = make([w])
    steps(w, o)
    o.lr.assign([0.05])
    w_again, o_again = again((w, o))
    assert o_again.params[0] is w_again and w_again is not w
    assert steps(w, o) == steps(w_again, o_again)


@pytest.mark.parametrize("ours,theirs,changes", [
    (lambda p: optim.SGD(p, lr=0.1, momentum=0.9), lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
     [("wd", "weight_decay", 0.1), ("momentum", "momentum", 0.5), ("nesterov", "nesterov", True)]),
    (lambda p: optim.AdamW(p, lr=0.1), lambda p: torch.optim.AdamW(p, lr=0.1),
     [("wd", "weight_decay", 0.2), ("eps", "eps", 0.1)])])
def test_numbers_that_change(ours, theirs, changes):
    w, v = Tensor([1.0, 2.0, 5.0]), torch.tensor([1.0, 2.0, 5.0], requires_grad=True)
    o, p = ours([w]), theirs([v])
    for name, their_name, value in [(None, None, None), *changes]:
        if name:
            setattr(o, name, value)
            p.param_groups[0][their_name] = value
        for x, opt in ((w, o), (v, p)):
            for _ in range(3):
                opt.zero_grad()
                ((x - 3) ** 2).sum().backward()
                opt.step()
    np.testing.assert_allclose(w.numpy(), v.detach().numpy(), atol=1e-4, rtol=1e-4)


def test_a_number_that_cannot_be():
    o = optim.SGD([Tensor([1.0])], momentum=0.9)
    with pytest.raises(ValueError):
        o.momentum = -1.0
    assert o.momentum == 0.9
    for x in o.params:
        x.sum().backward()
    o.step()
    assert o.b[0].numpy().tolist() == [1]
