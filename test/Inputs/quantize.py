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


def per_weight(blocks, depth, block_size):
    """One value per block of K as one per weight."""
    return np.repeat(blocks, block_size, -1)[..., :depth]


def dequantize(integers, scales, zero_points, bits, block_size, dtype=np.float64):
    """(q - z) * s, with scales and zero points `[.., blocks]`."""
    depth = integers.shape[-1]
    if zero_points is None:
        zero_points = np.full(scales.shape, 2 ** (bits - 1))
    difference = integers.astype(dtype) - per_weight(zero_points.astype(dtype), depth, block_size)
    return difference * per_weight(scales.astype(dtype), depth, block_size)


class Quantized:
    """A random weight [.., N, K] with everything that belongs to it."""

    def __init__(self, random, shape, bits, block_size, zero_points=None, dtype=np.float32):
        """`zero_points`: None, "packed" or "float"; a block size of 0 spans all
        of K."""
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
        return dequantize(self.integers, self.scales, self.zero_points, self.bits, self.block_size, dtype)
