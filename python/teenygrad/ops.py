"""The names of teenygrad's primitive operations, and its devices."""
from enum import Enum, auto

from teenygrad import _teenygrad

UnaryOps = Enum("UnaryOps", "NOOP EXP2 LOG2 CAST SIN SQRT RECIP NEG")
BinaryOps = Enum("BinaryOps", "ADD SUB MUL DIV MAX MOD CMPLT CMPEQ XOR")
TernaryOps = Enum("TernaryOps", "MULACC WHERE")
ReduceOps = Enum("ReduceOps", "SUM MAX")
BufferOps = Enum("BufferOps", "MEM CONST")
MovementOps = Enum("MovementOps", "RESHAPE PERMUTE EXPAND PAD SHRINK STRIDE")


class LoadOps(Enum):
    EMPTY = auto()
    RAND = auto()
    CONST = auto()
    FROM = auto()
    COPY = auto()
    CONTIGUOUS = auto()
    CUSTOM = auto()


class _Devices(type):
    @property
    def DEFAULT(cls):
        """The device of new tensors in this thread."""
        return _teenygrad.default_device()

    @DEFAULT.setter
    def DEFAULT(cls, name):
        _teenygrad.set_default_device(name)


class Device(metaclass=_Devices):
    """Device.DEFAULT: the device of new tensors; assign to it to choose another."""
    _buffers = _teenygrad.device_names()

    @staticmethod
    def canonicalize(device):
        """The device's name as tensors show it; None: the default."""
        return Device.DEFAULT if device is None else device.split(":")[0].upper()
