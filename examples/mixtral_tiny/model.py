"""The model of config.json, for training and for export."""

from pathlib import Path

import torch
from transformers import MixtralConfig, MixtralForCausalLM

HERE = Path(__file__).parent


def build_model(attention, experts, seed=0):
    """A model with random weights; the arguments name implementations inside transformers."""
    torch.manual_seed(seed)
    config = MixtralConfig.from_json_file(HERE / "config.json")
    config._attn_implementation = attention
    config._experts_implementation = experts
    return MixtralForCausalLM(config)
