"""Exports a mixture-of-experts language model of transformers to ONNX, in a form that moe-compile recognises.

    pip install torch transformers onnx onnxscript
    python export_hf.py mistralai/Mixtral-8x7B-v0.1 mixtral.onnx            # a name of the hub, or a folder
    python export_hf.py mistralai/Mixtral-8x7B-v0.1 mixtral.onnx --cache    # with past and present keys and values
    python export_hf.py --random mixtral tiny.onnx --cache                  # a small one with random weights

    moe-compile mixtral.onnx -o mixtral
    moe-run mixtral.so --generate --prompt "Once upon a time" --tokenizer tokenizer.json

It is torch's own exporter (torch.onnx.export with dynamo=True). What matters is experts_implementation="batched_mm": the
default cannot be exported, and the loop over experts either cannot be, or freezes the routing of the example input.
A folder of one of the families in docs/Import.md compiles without any export.
"""

import argparse
import sys

import torch
import transformers


class Plain(torch.nn.Module):
    """Tokens in, logits out."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask):
        return self.model(input_ids=input_ids, attention_mask=attention_mask, use_cache=False).logits


class Cached(torch.nn.Module):
    """The same with a cache: `past` is key, value, key, value... of the layers."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask, past):
        cache = transformers.DynamicCache(list(zip(past[::2], past[1::2])))
        made = self.model(input_ids=input_ids, attention_mask=attention_mask, past_key_values=cache, use_cache=True)
        layers = made.past_key_values.layers
        return made.logits, [tensor for layer in layers for tensor in (layer.keys, layer.values)]


def load(args):
    options = {"dtype": getattr(torch, args.dtype), "experts_implementation": "batched_mm"}
    if not args.random:
        return transformers.AutoModelForCausalLM.from_pretrained(args.model, **options).eval()
    sizes = {"vocab_size": 96, "hidden_size": 32, "intermediate_size": 48, "moe_intermediate_size": 24,
             "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8,
             "num_experts": 8, "num_local_experts": 8, "num_experts_per_tok": 2, "shared_expert_intermediate_size": 40,
             "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "max_position_embeddings": 512}  # fmt: skip
    default = transformers.AutoConfig.for_model(args.model)
    if hasattr(default, "kv_lora_rank"):
        sizes.pop("head_dim")
        sizes.update({"num_key_value_heads": 4, "n_routed_experts": 8, "n_group": 2, "topk_group": 1, "q_lora_rank": 16,
                      "kv_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 8,
                      "first_k_dense_replace": 1})  # fmt: skip
    # Only what the family has: some say num_experts, others num_local_experts.
    config = transformers.AutoConfig.for_model(
        args.model, **{name: value for name, value in sizes.items() if hasattr(default, name)})  # fmt: skip
    torch.manual_seed(0)
    return transformers.AutoModelForCausalLM.from_config(config, **options).eval()


def export(model, path, cache, opset):
    config = model.config
    layers = config.num_hidden_layers
    # All sizes differ from each other and from 1: torch makes equal ones one dimension.
    batch, sequence, past = 2, 5, 3
    ids = torch.arange(batch * sequence).reshape(batch, sequence) % config.vocab_size
    dim = torch.export.Dim.DYNAMIC
    if not cache:
        inputs, shapes = (ids, torch.ones_like(ids)), ({0: dim, 1: dim}, {0: dim, 1: dim})
        names, outputs, module = ["input_ids", "attention_mask"], ["logits"], Plain(model)
    else:
        with torch.no_grad():  # what a cache looks like differs between families
            example = model(input_ids=ids[:, :past], use_cache=True).past_key_values
        tensors = [tensor for layer in example.layers for tensor in (layer.keys, layer.values)]
        inputs = (ids, torch.ones(batch, past + sequence, dtype=torch.int64), tensors)
        shapes = ({0: dim, 1: dim}, {0: dim, 1: dim}, [{0: dim, 2: dim} for _ in tensors])
        both = [f"{i}.{part}" for i in range(layers) for part in ("key", "value")]
        names = ["input_ids", "attention_mask", *("past_key_values." + name for name in both)]
        outputs, module = ["logits", *("present." + name for name in both)], Cached(model)
    torch.onnx.export(module, inputs, path, input_names=names, output_names=outputs, dynamic_shapes=shapes,
                      opset_version=opset, dynamo=True, external_data=True, verbose=False)  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a name of the hub or a folder; with --random a model type such as mixtral")
    parser.add_argument("output", help="the .onnx file to write; large weights go to <output>.data")
    parser.add_argument("--cache", action="store_true", help="with past_key_values and present inputs and outputs")
    parser.add_argument("--random", action="store_true", help="a small model of that type with random weights")
    parser.add_argument("--dtype", default="float32", choices=["float32", "float16", "bfloat16"])
    parser.add_argument("--opset", type=int, default=20, help="operator set of the model (20)")
    args = parser.parse_args()
    model = load(args)
    export(model, args.output, args.cache, args.opset)
    print(f"{args.output}: {type(model).__name__}, transformers {transformers.__version__}, torch {torch.__version__}")


if __name__ == "__main__":
    sys.exit(main())
