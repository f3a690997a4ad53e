"""Writes inputs of the hand-written echo model, or checks what came back."""

import sys

import numpy as np

folder = sys.argv[1]
random = np.random.default_rng(0)
types = {
    "f32": "<f4", "f16": "<f2", "f64": "<f8", "i8": "i1", "i16": "<i2", "i32": "<i4",
    "i64": "<i8", "u8": "u1", "u16": "<u2", "u32": "<u4", "u64": "<u8", "bool": "?",
}
arrays = {name: (random.standard_normal((3, 5)) * 50).astype(dtype) for name, dtype in types.items()}
# What numpy.save makes of an ml_dtypes.bfloat16 array.
arrays["bf16"] = (np.arange(15, dtype=np.uint16) + 0x3F80).reshape(3, 5).view("<V2")
arrays["scalar"] = np.float32(2.5)

if sys.argv[2:] == ["check"]:
    got = np.load(f"{folder}/out.npz")
    for name, array in arrays.items():
        out = got[name + "_out"]
        assert out.shape == array.shape and out.dtype == array.dtype, name
        assert out.tobytes() == array.tobytes(), name
else:
    np.savez(f"{folder}/in.npz", **arrays)
    np.savez(f"{folder}/expected.npz", **{name + "_out": array for name, array in arrays.items()})
