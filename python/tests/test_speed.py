"""One small operation costs no more than PyTorch's: the shortest of many rounds, taken in turn."""
import timeit

import torch

from teenygrad import Tensor


def test_add_of_four_elements():
    a, b = Tensor([1.0, 2, 3, 4]).realize(), Tensor([1.0, 2, 3, 4]).realize()
    x, y = torch.ones(4), torch.ones(4)
    ours, theirs = [], []
    for _ in range(30):
        ours.append(timeit.timeit("a + b", globals={"a": a, "b": b}, number=2000))
        theirs.append(timeit.timeit("x + y", globals={"x": x, "y": y}, number=2000))
    assert min(ours) <= min(theirs) * 1.1
