"""Quantized weights as com.microsoft's operators define them."""

import numpy as np


def pack(integers, bits):
    """Rows of integers of `bits` bits as bytes, the lowest bits first; every row
    begins at a byte."""
    per_byte = 8 // bits
    missing = -integers.shape[-1] % per_byte
    padded = np.concatenate([integers, np.zeros(integers.shape[:-1] + (missing,), integers.dtype)], -1)
    parts = padded.reshape(padded.shape[:-1] + (-1, per_byte)).astype(np.uint8)
    return np.bitwise_or.reduce(parts << (bits * np.arange(per_byte)).astype(np.uint8), -1)


def unpack(packed, bits, count):
    """The first `count` integers of each row of bytes."""
    parts = packed[..., None] >> (bits * np.arange(8 // bits)).astype(np.uint8) & np.uint8(2**bits - 1)
    return parts.reshape(packed.shape[:-1] + (-1,))[..., :count]


def per_weight(blocks, depth, block_size):
    """One value per block of K as one per weight."""
    return np.repeat(blocks, block_size, -1)[..., :depth]


def as_signed(integers, bits):
    """Integers of `bits` bits in two's complement, as numbers."""
    return integers.astype(np.int64) - (integers >> (bits - 1)).astype(np.int64) * 2**bits


def dequantize(integers, scales, zero_points, bits, block_size, dtype=np.float64, signed=False):
    """(q - z) * s, with scales and zero points `[.., blocks]`."""
    depth = integers.shape[-1]
    if zero_points is None:
        zero_points = np.full(scales.shape, 0 if signed else 2 ** (bits - 1))
    elif signed and zero_points.dtype == np.uint8:
        zero_points = as_signed(zero_points, bits)
    if signed:
        integers = as_signed(integers, bits)
    difference = integers.astype(dtype) - per_weight(zero_points.astype(dtype), depth, block_size)
    return difference * per_weight(scales.astype(dtype), depth, block_size)


# 4-bit floats: a sign, 2 bits of exponent, 1 of mantissa.
E2M1 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6])
E2M1 = np.concatenate([E2M1, -E2M1])


class MXFP4:
    """A random weight [.., N, K] of 4-bit floats in blocks along K with a power of two each, stored as its exponent."""

    def __init__(self, random, shape, block_size=32):
        self.block_size, self.depth = block_size, shape[-1]
        self.integers = random.integers(0, 16, shape, dtype=np.uint8)
        self.scales = random.integers(120, 127, shape[:-1] + (-(-self.depth // block_size),), dtype=np.uint8)

    def values(self, dtype=np.float64):
        scales = 2.0 ** (self.scales.astype(np.float64) - 127)
        return (E2M1[self.integers] * per_weight(scales, self.depth, self.block_size)).astype(dtype)


class Quantized:
    """A random weight [.., N, K] with everything that belongs to it."""

    def __init__(self, random, shape, bits, block_size, zero_points=None, dtype=np.float32, signed=False):
        """`zero_points`: None, "packed" or "float"; a block size of 0 spans all
        of K. Signed integers are kept as their bits."""
        self.signed = signed
        self.bits, self.depth = bits, shape[-1]
        self.block_size = block_size or max(self.depth, 1)
        blocks = -(-self.depth // self.block_size)
        self.integers = random.integers(0, 2**bits, shape, dtype=np.uint8)
        scales = random.uniform(0.5, 1.5, shape[:-1] + (blocks,)) * 2.0 ** (1 - bits) / self.depth**0.5
        self.scales = (scales * random.choice([-1, 1], scales.shape)).astype(dtype)
        self.zero_points = None
        if zero_points == "packed":
            self.zero_points = random.integers(0, 2**bits, scales.shape, dtype=np.uint8)
        elif zero_points == "float":
            self.zero_points = random.uniform(0, 2**bits, scales.shape).astype(dtype)

    def values(self, dtype=np.float64):
        return dequantize(self.integers, self.scales, self.zero_points, self.bits, self.block_size, dtype, self.signed)
