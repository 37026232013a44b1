#!/usr/bin/env python3
"""MNIST with a small convolutional network, as teenygrad's scripts are written.

It needs numpy and tqdm, and the data of the repository (data/mnist). 100 steps of 128 images; more than 93 % of the
10,000 test images must be read right.
"""
import gzip
import os

import numpy as np
from tqdm import trange

from teenygrad import Tensor
from teenygrad.helpers import getenv
from teenygrad.nn import optim

DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "data", "mnist")


def fetch_mnist():
    def parse(name, header):
        with gzip.open(os.path.join(DATA, name)) as f:
            return np.frombuffer(f.read(), dtype=np.uint8)[header:].copy()
    images = [parse(f"{part}-images-idx3-ubyte.gz", 16).reshape(-1, 28 * 28).astype(np.float32)
              for part in ("train", "t10k")]
    labels = [parse(f"{part}-labels-idx1-ubyte.gz", 8) for part in ("train", "t10k")]
    return images[0], labels[0], images[1], labels[1]


class TinyConvNet:
    def __init__(self):
        conv, inter_chan, out_chan = 3, 8, 16
        self.c1 = Tensor.scaled_uniform(inter_chan, 1, conv, conv)
        self.c2 = Tensor.scaled_uniform(out_chan, inter_chan, conv, conv)
        self.l1 = Tensor.scaled_uniform(out_chan * 5 * 5, 10)

    def __call__(self, x):
        x = x.reshape(shape=(-1, 1, 28, 28))
        x = x.conv2d(self.c1).relu().max_pool2d()
        x = x.conv2d(self.c2).relu().max_pool2d()
        x = x.reshape(shape=[x.shape[0], -1])
        return x.dot(self.l1).log_softmax()


def train(model, X_train, Y_train, optimizer, steps, BS=128):
    Tensor.training = True
    losses, accuracies = [], []
    for _ in (t := trange(steps, disable=getenv("CI", False))):
        samp = np.random.randint(0, X_train.shape[0], size=(BS))
        x = Tensor(X_train[samp], requires_grad=False)
        y = Tensor(Y_train[samp])
        out = model(x)
        loss = out.sparse_categorical_crossentropy(y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        cat = np.argmax(out.numpy(), axis=-1)
        accuracies.append((cat == y.numpy()).mean())
        losses.append(loss.detach().numpy())
        t.set_description("loss %.2f accuracy %.2f" % (losses[-1], accuracies[-1]))
    return losses, accuracies


def evaluate(model, X_test, Y_test, BS=128):
    Tensor.training = False
    predictions = np.zeros(len(Y_test), dtype=np.int64)
    for i in trange((len(Y_test) - 1) // BS + 1, disable=getenv("CI", False)):
        out = model(Tensor(X_test[i * BS:(i + 1) * BS]))
        predictions[i * BS:(i + 1) * BS] = np.argmax(out.numpy(), axis=-1)
    return (predictions == Y_test).mean()


if __name__ == "__main__":
    X_train, Y_train, X_test, Y_test = fetch_mnist()
    np.random.seed(1337)
    Tensor.manual_seed(1337)
    model = TinyConvNet()
    optimizer = optim.Adam([model.c1, model.c2, model.l1], lr=0.001)
    train(model, X_train, Y_train, optimizer, steps=100)
    accuracy = evaluate(model, X_test, Y_test)
    print("test set accuracy is %f" % accuracy)
    assert accuracy > 0.93
