# Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A folder of type olmoe as the GGUF file that llama.cpp reads (needs the package gguf).

Q4_0 is what --quantize=int4:block=32 makes: blocks of 32, one scale, zero at 8. So the very same integers and scales
are written: scales are rounded to bf16, which f16 holds as long as they are above 6e-5, and the rest is f16."""

import numpy as np

BLOCK = 32


def to_q4_0(values):
    """[rows, k] -> bytes [rows, k / 32 * 18], by the rule that moe.quantized_weight defines."""
    from checkpoint import from_bf16, to_bf16

    blocks = values.reshape(-1, BLOCK)
    extreme = np.take_along_axis(blocks, np.abs(blocks).argmax(1)[:, None], 1)
    scales = from_bf16(to_bf16(extreme / np.float32(-8)))
    divisor = np.where(scales == 0, np.float32(np.inf), scales)
    q = np.clip(blocks / divisor, -8, 7, out=blocks)
    q = (np.rint(q, out=q) + 8).astype(np.uint8)
    halves = scales.astype(np.float16)
    if not (halves.astype(np.float32) == scales).all():
        raise SystemExit("the weights' scales do not fit f16")
    out = np.empty((len(blocks), 18), np.uint8)
    out[:, :2] = halves.view(np.uint8)
    out[:, 2:] = q[:, : BLOCK // 2] | q[:, BLOCK // 2 :] << 4
    return out.reshape(len(values), -1)


def write_gguf(folder, path, dense):
    """With `dense`, all matrices but routers and embeddings are Q4_0, otherwise the experts."""
    import gguf

    g = folder.geometry
    layers = range(g.layers)
    F32, F16, Q4 = (gguf.GGMLQuantizationType[name] for name in ("F32", "F16", "Q4_0"))
    matrix = Q4 if dense else F16
    tensors = [("token_embd.weight", F16, ["model.embed_tokens.weight"])]
    for i in layers:
        ours, theirs = f"model.layers.{i}.", f"blk.{i}."
        tensors += [
            (theirs + name + ".weight", type, [ours + source + ".weight"])
            for name, type, source in (
                ("attn_norm", F32, "input_layernorm"), ("attn_q", matrix, "self_attn.q_proj"),
                ("attn_k", matrix, "self_attn.k_proj"), ("attn_v", matrix, "self_attn.v_proj"),
                ("attn_output", matrix, "self_attn.o_proj"), ("attn_q_norm", F32, "self_attn.q_norm"),
                ("attn_k_norm", F32, "self_attn.k_norm"), ("ffn_norm", F32, "post_attention_layernorm"),
                ("ffn_gate_inp", F32, "mlp.gate"),
            )
        ]  # fmt: skip
        for part in ("gate", "up", "down"):
            sources = [ours + f"mlp.experts.{e}.{part}_proj.weight" for e in range(g.experts)]
            tensors.append((theirs + f"ffn_{part}_exps.weight", Q4, sources))
    tensors += [("output_norm.weight", F32, ["model.norm.weight"]), ("output.weight", matrix, ["lm_head.weight"])]

    writer = gguf.GGUFWriter(path, "olmoe")
    writer.add_block_count(g.layers)
    writer.add_context_length(4096)
    writer.add_embedding_length(g.hidden)
    writer.add_feed_forward_length(g.ffn)
    writer.add_head_count(g.heads)
    writer.add_head_count_kv(g.heads)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_expert_count(g.experts)
    writer.add_expert_used_count(g.k)
    writer.add_tokenizer_model("no_vocab")
    writer.add_vocab_size(g.vocabulary)
    for name, type, sources in tensors:
        shape = folder.where[sources[0]][2]
        shape = [len(sources), *shape] if len(sources) > 1 else shape
        dtype = np.dtype(np.float32 if type == F32 else np.float16)
        bytes_ = int(np.prod(shape)) * 18 // 32 if type == Q4 else int(np.prod(shape)) * dtype.itemsize
        if type == Q4:
            # The writer takes the shape in bytes of types that are not NumPy's.
            shape, dtype = [*shape[:-1], shape[-1] // BLOCK * 18], np.dtype(np.uint8)
        writer.add_tensor_info(name, shape, dtype, bytes_, raw_dtype=type if type == Q4 else None)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for name, type, sources in tensors:
        parts = []
        for source in sources:
            values = folder.floats(source)
            if type == Q4:
                # Rows by the thousand: intermediate values are several times as large.
                parts += [to_q4_0(values[i : i + 1024]) for i in range(0, len(values), 1024)]
            else:
                parts.append(values.astype(np.float32 if type == F32 else np.float16))
        writer.write_tensor_data(np.concatenate(parts) if len(parts) > 1 else parts[0])
    writer.close()


if __name__ == "__main__":
    import sys

    from checkpoint import Folder

    write_gguf(Folder(sys.argv[1]), sys.argv[2], dense=sys.argv[3] == "dense")
