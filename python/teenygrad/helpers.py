"""What teenygrad's scripts import from here: dtypes, the environment, small functions."""
import functools
import os
import platform
from dataclasses import dataclass
from math import prod as prod  # for those who import it from here
from typing import Any, Optional

import numpy as np

from teenygrad import _teenygrad

OSX = platform.system() == "Darwin"


def dedup(x):
    """The elements of x, each once, in order."""
    return list(dict.fromkeys(x))


def argfix(*x):
    """The arguments as a tuple; one tuple or list stands for its elements."""
    return tuple(x[0]) if x and x[0].__class__ in (tuple, list) else x


def make_pair(x, cnt=2):
    """(x, x); what is no int stays as it is."""
    return (x,) * cnt if isinstance(x, int) else x


def flatten(lists):
    """The elements of the lists in one list."""
    return [item for sublist in lists for item in sublist]


def argsort(x):
    """The positions of the elements of x in increasing order."""
    return type(x)(sorted(range(len(x)), key=x.__getitem__))


def all_int(t):
    """Whether all elements are ints."""
    return all(isinstance(s, int) for s in t)


def round_up(num, amt):
    """The smallest multiple of amt that is at least num."""
    return (num + amt - 1) // amt * amt


@functools.lru_cache(maxsize=None)
def getenv(key, default=0):
    """An environment variable as the type of its default, read once."""
    return type(default)(os.getenv(key, default))


DEBUG = getenv("DEBUG")
CI = os.getenv("CI", "") != ""
IMAGE = 0


@dataclass(frozen=True, order=True)
class DType:
    """An element type; `priority` decides which one a result of two has."""
    priority: int
    itemsize: int
    name: str
    np: Optional[Any]
    sz: int = 1

    def __repr__(self):
        return f"dtypes.{self.name}"


PtrDType, ImageDType = None, None  # as in teenygrad, whose tests skip what needs them


class dtypes:
    """The element types; dtypes.float32 and so on."""
    @staticmethod
    def is_int(x):
        return x in (dtypes.int8, dtypes.int16, dtypes.int32, dtypes.int64, dtypes.uint8, dtypes.uint16,
                     dtypes.uint32, dtypes.uint64)

    @staticmethod
    def is_float(x):
        return x in (dtypes.float16, dtypes.bfloat16, dtypes.float32, dtypes.float64)

    @staticmethod
    def is_unsigned(x):
        return x in (dtypes.uint8, dtypes.uint16, dtypes.uint32, dtypes.uint64)

    @staticmethod
    def from_np(x):
        return DTYPES_DICT[np.dtype(x).name]

    bool = DType(0, 1, "bool", np.bool_)
    int8 = DType(1, 1, "char", np.int8)
    uint8 = DType(2, 1, "unsigned char", np.uint8)
    int16 = DType(3, 2, "short", np.int16)
    uint16 = DType(4, 2, "unsigned short", np.uint16)
    int32 = DType(5, 4, "int", np.int32)
    uint32 = DType(6, 4, "unsigned int", np.uint32)
    int64 = DType(7, 8, "long", np.int64)
    uint64 = DType(8, 8, "unsigned long", np.uint64)
    float16 = half = DType(9, 2, "half", np.float16)
    bfloat16 = DType(9, 2, "__bf16", None)  # numpy has none
    float32 = float = DType(10, 4, "float", np.float32)
    float64 = double = DType(11, 8, "double", np.float64)


DTYPES_DICT = {k: v for k, v in dtypes.__dict__.items() if isinstance(v, DType)}
# In the order of the C enum.
_teenygrad.register_dtypes([
    dtypes.bool, dtypes.int8, dtypes.uint8, dtypes.int16, dtypes.uint16, dtypes.int32, dtypes.uint32, dtypes.int64,
    dtypes.uint64, dtypes.float16, dtypes.bfloat16, dtypes.float32, dtypes.float64])
