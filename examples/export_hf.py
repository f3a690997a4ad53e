"""Exports a mixture-of-experts language model of transformers to ONNX, in a form that moe-compile recognises.

    pip install torch transformers onnx onnxscript
    python export_hf.py mistralai/Mixtral-8x7B-v0.1 mixtral.onnx            # a name of the hub, or a folder
    python export_hf.py mistralai/Mixtral-8x7B-v0.1 mixtral.onnx --cache    # with past and present keys and values
    python export_hf.py --random mixtral tiny.onnx --cache                  # a small one with random weights

    moe-compile mixtral.onnx -o mixtral
    moe-run mixtral.so --generate --prompt "Once upon a time" --tokenizer tokenizer.json

It is torch's own exporter (torch.onnx.export with dynamo=True). What matters is experts_implementation="batched_mm": the
default cannot be exported, and the loop over experts either cannot be, or freezes the routing of the example input. What
else torch cannot export in some families (hf_patches.py) is said in other words first; `--no-patches` leaves it as it is.
Encoder-decoder models (Switch, NLLB-MoE) are exported without a cache.
A folder of one of the families in docs/Import.md compiles without any export.
"""

import argparse
import sys

import torch
import transformers

import hf_patches


class Plain(torch.nn.Module):
    """Tokens in, logits out."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask):
        return self.model(input_ids=input_ids, attention_mask=attention_mask, use_cache=False).logits


class EncoderDecoder(torch.nn.Module):
    """Both sides' tokens in, logits of the decoder's out."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask, decoder_input_ids):
        return self.model(
            input_ids=input_ids, attention_mask=attention_mask, decoder_input_ids=decoder_input_ids, use_cache=False
        ).logits


def parts(layer):
    """What a layer of a cache holds, by name: keys and values, or the states of a convolution and of a scan."""
    found = {"key": getattr(layer, "keys", None), "value": getattr(layer, "values", None)}
    for name in ("conv", "recurrent"):
        found[name] = getattr(layer, f"{name}_states", {0: None})[0]
    return {name: tensor for name, tensor in found.items() if tensor is not None}


class Cached(torch.nn.Module):
    """The same as Plain with a cache: `past` is what the layers hold, in order; `names` lists that per layer."""

    def __init__(self, model, names):
        super().__init__()
        self.model = model
        self.names = names

    def cache(self, past):
        if not any("conv" in names for names in self.names):
            return transformers.DynamicCache(list(zip(past[::2], past[1::2])))
        cache, past = transformers.DynamicCache(config=self.model.config), iter(past)
        for layer, names in zip(cache.layers, self.names):
            given = {name: next(past) for name in names}
            if "key" in given:
                layer.update(given["key"], given["value"])
            for name in ("conv", "recurrent"):
                if name in given:  # a copy, because the layer writes to it
                    getattr(layer, f"{name}_states")[0] = given[name].clone()
                    getattr(layer, f"is_{name}_states_initialized")[0] = True
                    layer.has_previous_state[0] = True
            if "conv" in given:
                layer.conv_kernel_size[0] = given["conv"].shape[-1]
        return cache

    def forward(self, input_ids, attention_mask, past):
        made = self.model(
            input_ids=input_ids, attention_mask=attention_mask, past_key_values=self.cache(past), use_cache=True
        )
        return made.logits, [tensor for layer in made.past_key_values.layers for tensor in parts(layer).values()]


# Sizes of small models that the names below do not say.
RANDOM = {
    "dbrx": {
        "d_model": 32, "n_heads": 4, "n_layers": 2, "attn_config": {"kv_n_heads": 2, "clip_qkv": 8.0, "rope_theta": 10000.0},
        "ffn_config": {"hidden_size": 32, "ffn_hidden_size": 24, "moe_num_experts": 8, "moe_top_k": 2},
    },
    "jamba": {"num_hidden_layers": 4, "attn_layer_period": 4, "attn_layer_offset": 1, "mamba_d_state": 8, "mamba_dt_rank": 4},
    "lfm2_moe": {"num_hidden_layers": 4, "num_dense_layers": 1, "layer_types": ["conv", "conv", "full_attention", "conv"]},
    "llama4_text": {"intermediate_size_mlp": 40, "interleave_moe_layer_step": 1},
    "switch_transformers": {
        "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_decoder_layers": 2, "num_heads": 4,
        "num_sparse_encoder_layers": 1, "num_sparse_decoder_layers": 1, "decoder_start_token_id": 0,
    },
    "nllb-moe": {
        "d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48,
        "encoder_attention_heads": 4, "decoder_attention_heads": 4, "encoder_sparse_step": 2, "decoder_sparse_step": 2,
    },
}  # fmt: skip


def load(args):
    auto = transformers.AutoConfig
    config = random_config(args.model) if args.random else auto.from_pretrained(args.model)
    auto = transformers.AutoModelForSeq2SeqLM if config.is_encoder_decoder else transformers.AutoModelForCausalLM
    options = {"dtype": getattr(torch, args.dtype), "experts_implementation": "batched_mm"}
    torch.manual_seed(0)
    model = auto.from_config(config, **options) if args.random else auto.from_pretrained(args.model, **options)
    if not args.no_patches:
        hf_patches.apply(model)
    return model.eval().requires_grad_(False)


def random_config(family):
    sizes = {"vocab_size": 96, "hidden_size": 32, "intermediate_size": 48, "moe_intermediate_size": 24,
             "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8,
             "num_experts": 8, "num_local_experts": 8, "num_experts_per_tok": 2, "shared_expert_intermediate_size": 40,
             "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "max_position_embeddings": 512}  # fmt: skip
    default = transformers.AutoConfig.for_model(family)
    if hasattr(default, "kv_lora_rank"):
        sizes.pop("head_dim")
        sizes.update({"num_key_value_heads": 4, "n_routed_experts": 8, "n_group": 2, "topk_group": 1, "q_lora_rank": 16,
                      "kv_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 8,
                      "first_k_dense_replace": 1})  # fmt: skip
    # Only what the family has: some say num_experts, others num_local_experts.
    sizes = {name: value for name, value in sizes.items() if hasattr(default, name)} | RANDOM.get(family, {})
    return transformers.AutoConfig.for_model(family, **sizes)


def export(model, path, cache, opset):
    # All sizes differ from each other and from 1: torch makes equal ones one dimension.
    batch, sequence, past = 2, 5, 3
    ids = torch.arange(batch * sequence).reshape(batch, sequence) % model.config.vocab_size
    dim = torch.export.Dim.DYNAMIC
    if model.config.is_encoder_decoder:
        inputs, shapes = (ids, torch.ones_like(ids), torch.cat((ids, ids[:, :2]), 1)), ({0: dim, 1: dim},) * 3
        names, outputs, module = ["input_ids", "attention_mask", "decoder_input_ids"], ["logits"], EncoderDecoder(model)
    elif not cache:
        inputs, shapes = (ids, torch.ones_like(ids)), ({0: dim, 1: dim}, {0: dim, 1: dim})
        names, outputs, module = ["input_ids", "attention_mask"], ["logits"], Plain(model)
    else:
        with torch.no_grad():  # what a cache looks like differs between families
            example = model(input_ids=ids[:, :past], use_cache=True).past_key_values
        layers = [parts(layer) for layer in example.layers]
        tensors = [tensor for layer in layers for tensor in layer.values()]
        inputs = (ids, torch.ones(batch, past + sequence, dtype=torch.int64), tensors)
        grows = {"key": {0: dim, 2: dim}, "value": {0: dim, 2: dim}, "conv": {0: dim}, "recurrent": {0: dim}}
        shapes = ({0: dim, 1: dim}, {0: dim, 1: dim}, [grows[name] for layer in layers for name in layer])
        held = [f"{i}.{name}" for i, layer in enumerate(layers) for name in layer]
        names = ["input_ids", "attention_mask", *("past_key_values." + name for name in held)]
        outputs, module = ["logits", *("present." + name for name in held)], Cached(model, [list(layer) for layer in layers])
    torch.onnx.export(module, inputs, path, input_names=names, output_names=outputs, dynamic_shapes=shapes,
                      opset_version=opset, dynamo=True, external_data=True, verbose=False)  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a name of the hub or a folder; with --random a model type such as mixtral")
    parser.add_argument("output", help="the .onnx file to write; large weights go to <output>.data")
    parser.add_argument("--cache", action="store_true", help="with past_key_values and present inputs and outputs")
    parser.add_argument("--random", action="store_true", help="a small model of that type with random weights")
    parser.add_argument("--no-patches", action="store_true", help="the model as transformers has it")
    parser.add_argument("--dtype", default="float32", choices=["float32", "float16", "bfloat16"])
    parser.add_argument("--opset", type=int, default=20, help="operator set of the model (20)")
    args = parser.parse_args()
    model = load(args)
    if args.cache and model.config.is_encoder_decoder:
        parser.error("--cache is for decoders only")
    export(model, args.output, args.cache, args.opset)
    print(f"{args.output}: {type(model).__name__}, transformers {transformers.__version__}, torch {torch.__version__}")


if __name__ == "__main__":
    sys.exit(main())
