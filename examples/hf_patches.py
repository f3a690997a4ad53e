"""What torch's exporter cannot write as transformers has it, said in other words: `apply(model)` changes the classes of the
model's family in place. The numbers stay the same, except where a function says so.

Seen with torch 2.15 and transformers 5.23; a later one may need less of it.
"""

import importlib

import torch
from transformers.modeling_rope_utils import dynamic_rope_update


def real_rotary(module, embedding, heads_axis):
    """ONNX has no complex numbers: cosine and sine instead of torch.polar."""

    @torch.no_grad()
    @dynamic_rope_update
    def forward(self, x, position_ids):
        angles = position_ids[..., None].float() * self.inv_freq.float()
        return torch.stack((angles.cos(), angles.sin()), -1) * self.attention_scaling

    def rotate(x, frequencies):
        cos, sin = frequencies.unsqueeze(heads_axis).unbind(-1)
        real, imaginary = x.float().unflatten(-1, (-1, 2)).unbind(-1)
        return torch.stack((real * cos - imaginary * sin, real * sin + imaginary * cos), -1).flatten(-2).type_as(x)

    getattr(module, embedding).forward = forward
    module.apply_rotary_emb = lambda xq, xk, freqs_cis: (rotate(xq, freqs_cis), rotate(xk, freqs_cis))


def deepseek_v2(module):
    real_rotary(module, "DeepseekV2RotaryEmbedding", 1)


def llama4_text(module):
    real_rotary(module, "Llama4TextRotaryEmbedding", 2)


def dbrx(module):
    """The loop over the experts that got tokens depends on data; here the matrices of each row are gathered, as
    experts_implementation="batched_mm" does for other families."""

    def forward(self, hidden_states, top_k_index, top_k_weights):
        k = top_k_index.shape[-1]
        rows = hidden_states.reshape(-1, self.hidden_size)
        rows = rows.unsqueeze(1).expand(-1, k, -1).reshape(-1, self.hidden_size)
        ids, shape = top_k_index.reshape(-1), (self.num_experts, self.ffn_hidden_size, self.hidden_size)
        w1, v1, w2 = (w.view(shape)[ids] for w in (self.mlp.w1, self.mlp.v1, self.mlp.w2))
        gate, up = (torch.bmm(w, rows.unsqueeze(-1)).squeeze(-1) for w in (w1, v1))
        down = torch.bmm((self.mlp.activation_fn(gate) * up).unsqueeze(1), w2).squeeze(1)
        weighted = (down * top_k_weights.reshape(-1, 1)).reshape(-1, k, self.hidden_size)
        return weighted.sum(1).reshape(hidden_states.shape)

    module.DbrxExperts.forward = forward


def each_expert(experts, hidden_states, chosen, weights):
    """The sum over all experts, each on the tokens for which `chosen` [tokens, experts] is not 0; weights [tokens, 1] or
    [tokens, experts]."""
    result = torch.zeros_like(hidden_states)
    for i in range(experts.num_experts):
        tokens = torch.where(chosen[:, i])[0]
        weight = (weights if weights.shape[1] == 1 else weights[:, i : i + 1])[tokens]
        rows = experts[f"expert_{i}"](hidden_states[tokens]) * weight
        result = result.index_add(0, tokens, rows.to(result.dtype))
    return result


def switch_transformers(module):
    """A loop over all experts, instead of those that got tokens."""
    router = module.SwitchTransformersTop1Router
    routed = router.forward

    def route(self, hidden_states):
        self.classifier.to = lambda dtype: self.classifier  # it has that type; a cast cannot be traced
        return routed(self, hidden_states)

    def forward(self, hidden_states, selected_experts, routing_weights):
        return each_expert(self, hidden_states, selected_experts.reshape(-1, self.num_experts), routing_weights)

    router.forward = route
    module.SwitchTransformersExperts.forward = forward


def nllb_moe(module):
    """A loop over all experts, each on its tokens, as the model was trained and as transformers 4 had it. transformers 5.23
    runs all tokens through the first two experts instead, so logits differ from its own."""

    def forward(self, hidden_states, router_mask, router_probs):
        return each_expert(self, hidden_states, router_probs != 0, router_probs) * (1 - self.moe_token_dropout)

    module.NllbMoeTop2Router._cast_classifier = lambda self: None
    module.NllbMoeExperts.forward = forward


def jamba(module):
    """The loop over the tokens of a selective scan becomes ONNX's Scan, and starts from the state of the cache."""
    from torch._higher_order_ops.scan import scan

    mixer = module.JambaMambaMixer.forward
    start = []

    def forward(self, hidden_states, cache_params=None, **kwargs):
        start[:] = [cache_params.get_recurrent_state(self.layer_idx) if cache_params is not None else None]
        return mixer(self, hidden_states, cache_params=cache_params, **kwargs)

    def selective_scan(u, dt, A, B, C, D, z, delta_bias, return_last_state=False, **_):
        dt = torch.nn.functional.softplus(dt + delta_bias[:, None])
        width, states = A.shape
        state = start[0] if start[0] is not None else u.new_zeros(u.shape[0], width, states)
        # One operand: the exporter counts them wrongly otherwise.
        steps = torch.cat((dt, u, B, C), 1).permute(2, 0, 1)

        def step(state, now):
            dt, u, b, c = now.split((width, width, states, states), -1)
            state = torch.exp(dt[..., None] * A) * state + (dt * u)[..., None] * b[:, None, :]
            return state, (state * c[:, None, :]).sum(-1)

        state, y = scan(step, state, steps, dim=0)
        y = (y.permute(1, 2, 0) + u * D[:, None]) * torch.nn.functional.silu(z)
        return (y, state) if return_last_state else y

    module.JambaMambaMixer.forward = forward
    module.mamba_selective_scan = selective_scan


def apply(model):
    family = model.config.model_type.replace("-", "_")
    if family in globals():
        globals()[family](importlib.import_module(type(model).__module__))
