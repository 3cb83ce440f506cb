"""transformer: everything from softmax(QKᵀ/√d_k)V to text generation, on top of minigrad."""

from .attention import KVCache, MultiHeadAttention, attention_maps, scaled_dot_product_attention
from .data.tokenizers import BPETokenizer, CharTokenizer
from .generation import beam_search, generate
from .layers import Decoder, DecoderLayer, Encoder, EncoderLayer, FeedForward, LayerNorm, RMSNorm, SwiGLU
from .masks import causal_mask, padding_mask
from .metrics import perplexity
from .models.decoder_only import GPT
from .models.encoder_decoder import Transformer
from .models.encoder_only import Classifier
from .positions import AlibiBias, LearnedPositions, RotaryPositions, SinusoidalPositions
from .training import Trainer

__all__ = [
    "GPT",
    "AlibiBias",
    "BPETokenizer",
    "CharTokenizer",
    "Classifier",
    "Decoder",
    "DecoderLayer",
    "Encoder",
    "EncoderLayer",
    "FeedForward",
    "KVCache",
    "LayerNorm",
    "LearnedPositions",
    "MultiHeadAttention",
    "RMSNorm",
    "RotaryPositions",
    "SinusoidalPositions",
    "SwiGLU",
    "Trainer",
    "Transformer",
    "attention_maps",
    "beam_search",
    "causal_mask",
    "generate",
    "padding_mask",
    "perplexity",
    "scaled_dot_product_attention",
]
