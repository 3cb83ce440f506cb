"""Ask PyTorch and the transformers library about the parts that came after 2017, for machines that have neither.

    python tests/reference/record_todays_block.py        writes todays_block.npz beside this file

Each case has its inputs, its parameters in the order (in, out) of ours, an upstream gradient, the output and all
gradients, in float64.
"""

from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import scaled_dot_product_attention, silu
from transformers import DeepseekV3Config, MixtralConfig
from transformers.models.deepseek_v3.modeling_deepseek_v3 import DeepseekV3Attention, DeepseekV3RotaryEmbedding
from transformers.models.mixtral.modeling_mixtral import MixtralSparseMoeBlock

B, T, C, H = 2, 6, 8, 2


def swiglu(x, p):
    """Shazeer (2020), eq. 6."""
    return (silu(x @ p["gate"]) * (x @ p["up"])) @ p["down"]


def window(x, p):
    """Two heads that see the last three places, and the first one."""
    q, k, v = ((x @ p[name]).reshape(B, T, H, C // H).transpose(1, 2) for name in ("q", "k", "v"))
    distance = torch.arange(T)[:, None] - torch.arange(T)
    seen = (distance >= 0) & ((distance < 3) | (torch.arange(T) < 1))
    return scaled_dot_product_attention(q, k, v, attn_mask=seen).transpose(1, 2).reshape(B, T, C) @ p["out"]


def latent(x, p):
    """DeepSeek's attention: heads of 4 + 2 numbers, a latent vector of 3, a turned key of 2."""
    config = DeepseekV3Config(
        hidden_size=C, num_attention_heads=H, num_key_value_heads=H, q_lora_rank=None, kv_lora_rank=3, qk_rope_head_dim=2, qk_nope_head_dim=4,
        v_head_dim=4, rope_parameters={"rope_type": "default", "rope_theta": 1e4}, attn_implementation="eager", rms_norm_eps=1e-6,
    )  # fmt: skip
    module, rotary = DeepseekV3Attention(config, 0).double(), DeepseekV3RotaryEmbedding(config)
    both = torch.cat([p["kv_down"], p["k_rotary"]], dim=1)
    up = torch.cat([p["k_up"].reshape(3, H, 4), p["v_up"].reshape(3, H, 4)], dim=2).reshape(3, -1)
    theirs = {
        "q_proj.weight": p["q"],
        "kv_a_proj_with_mqa.weight": both,
        "kv_b_proj.weight": up,
        "o_proj.weight": p["out"],
    }
    arrays = {name: weight.T for name, weight in theirs.items()} | {"kv_a_layernorm.weight": p["kv_norm"]}
    cos, sin = rotary(x, torch.arange(T)[None])
    mask = torch.triu(torch.full((T, T), -torch.inf, dtype=torch.float64), 1)[None, None]
    return torch.func.functional_call(module, arrays, (x, (cos.double(), sin.double()), mask))[0]


def experts(x, p):
    """Mixtral's: four networks, two of them for each token."""
    config = MixtralConfig(
        hidden_size=C, intermediate_size=5, num_local_experts=4, num_experts_per_tok=2, experts_implementation="eager"
    )
    module = MixtralSparseMoeBlock(config).double()
    both = torch.cat([p["gate"], p["up"]], dim=2).transpose(1, 2)
    arrays = {
        "gate.weight": p["router"].T,
        "experts.gate_up_proj": both,
        "experts.down_proj": p["down"].transpose(1, 2),
    }
    return torch.func.functional_call(module, arrays, (x,))


square = dict.fromkeys(("q", "k", "v", "out"), (C, C))
CASES = {
    "swiglu": (swiglu, {"gate": (C, 5), "up": (C, 5), "down": (5, C)}),
    "window_and_sink": (window, square),
    "latent_attention": (
        latent,
        {
            "q": (C, H * 6),
            "kv_down": (C, 3),
            "kv_norm": (3,),
            "k_rotary": (C, 2),
            "k_up": (3, 8),
            "v_up": (3, 8),
            "out": (8, C),
        },
    ),
    "experts": (experts, {"router": (C, 4), "gate": (4, C, 5), "up": (4, C, 5), "down": (4, 5, C)}),
}


def answer(name):
    """Inputs, output and gradients of a case, by name."""
    function, shapes = CASES[name]
    rng = np.random.default_rng(sum(map(ord, name)))
    arrays = {
        "input.x": rng.normal(size=(B, T, C)),
        **{f"param.{key}": rng.normal(size=shape) / 2 for key, shape in shapes.items()},
    }
    tensors = {key: torch.tensor(array, requires_grad=True) for key, array in arrays.items()}
    y = function(
        tensors["input.x"], {key.removeprefix("param."): t for key, t in tensors.items() if key.startswith("param.")}
    )
    upstream = rng.normal(size=(B, T, C))
    y.backward(torch.from_numpy(upstream))
    return {
        **arrays,
        "upstream": upstream,
        "output": y.detach().numpy(),
        **{f"grad.{key}": t.grad.numpy() for key, t in tensors.items()},
    }


def main() -> None:
    torch.manual_seed(0)
    path = Path(__file__).with_name("todays_block.npz")
    arrays = {f"{name}/{key}": array for name in CASES for key, array in answer(name).items()}
    np.savez_compressed(path, allow_pickle=False, **arrays)
    print(f"{path.name} {len(CASES)} cases {path.stat().st_size / 1024:.0f} kB; PyTorch {torch.__version__}")


if __name__ == "__main__":
    main()
