"""transformer: everything from softmax(QKᵀ/√d_k)V to text generation, on top of minigrad."""

from . import threads  # noqa: F401  isort: skip (before NumPy is imported)
from .answering import Answering, answer
from .attention import KVCache, MultiHeadAttention, attention_maps, scaled_dot_product_attention
from .data.byte_level import GPT2Tokenizer
from .data.tokenizers import BPETokenizer, CharTokenizer
from .data.wordpiece import WordPieceTokenizer
from .experts import Experts
from .generation import beam_search, generate
from .latent import LatentAttention
from .layers import Decoder, DecoderLayer, Encoder, EncoderLayer, FeedForward, LayerNorm, RMSNorm, SwiGLU
from .masks import causal_mask, padding_mask
from .metrics import perplexity
from .models.bert import BERT, MaskedLM, SpanReader, Tagger
from .models.decoder_only import GPT
from .models.encoder_decoder import Transformer
from .models.encoder_only import Classifier, ImageClassifier
from .models.recurrent import AdditiveAttention, RecurrentLM, Seq2SeqRNN
from .objectives import Classification, LanguageModelling, Translation
from .positions import AlibiBias, LearnedPositions, RotaryPositions, SinusoidalPositions
from .tagging import Tagging, tag
from .training import Trainer
from .translation import Codec, translate
from .windows import Window

__all__ = [
    "BERT",
    "GPT",
    "AdditiveAttention",
    "AlibiBias",
    "Answering",
    "BPETokenizer",
    "CharTokenizer",
    "Classification",
    "Classifier",
    "Codec",
    "Decoder",
    "DecoderLayer",
    "Encoder",
    "EncoderLayer",
    "Experts",
    "FeedForward",
    "GPT2Tokenizer",
    "ImageClassifier",
    "KVCache",
    "LanguageModelling",
    "LatentAttention",
    "LayerNorm",
    "LearnedPositions",
    "MaskedLM",
    "MultiHeadAttention",
    "RMSNorm",
    "RecurrentLM",
    "RotaryPositions",
    "Seq2SeqRNN",
    "SinusoidalPositions",
    "SpanReader",
    "SwiGLU",
    "Tagger",
    "Tagging",
    "Trainer",
    "Transformer",
    "Translation",
    "Window",
    "WordPieceTokenizer",
    "answer",
    "attention_maps",
    "beam_search",
    "causal_mask",
    "generate",
    "padding_mask",
    "perplexity",
    "scaled_dot_product_attention",
    "tag",
    "translate",
]
