"""transformer: everything from softmax(QKᵀ/√d_k)V to text generation, on top of minigrad."""

from . import threads  # noqa: F401  isort: skip (before NumPy is imported)
from .attention import KVCache, MultiHeadAttention, Window, attention_maps, causal_mask, padding_mask, scaled_dot_product_attention
from .data.bpe import BPETokenizer
from .data.byte_level import GPT2Tokenizer
from .data.codec import Codec
from .data.tokenizers import CharTokenizer
from .data.wordpiece import WordPieceTokenizer
from .decoding.beams import beam_search
from .decoding.generate import generate
from .decoding.translate import translate
from .evaluation.perplexity import perplexity
from .layers import Decoder, DecoderLayer, Encoder, EncoderLayer, FeedForward, LayerNorm, RMSNorm, SwiGLU
from .models.bert import BERT, MaskedLM, SpanReader, Tagger
from .models.classifier import Classifier, ImageClassifier
from .models.experts import Experts
from .models.gpt import GPT
from .models.latent import LatentAttention
from .models.rnn import AdditiveAttention, RecurrentLM, Seq2SeqRNN
from .models.transformer import Transformer
from .positions import AlibiBias, LearnedPositions, RotaryPositions, SinusoidalPositions
from .training.answering import Answering, answer
from .training.classification import Classification
from .training.instructions import Instructions
from .training.loop import Trainer
from .training.objectives import LanguageModelling
from .training.preference import Preferences
from .training.tagging import Tagging, tag
from .training.translation import Translation

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
    "Instructions",
    "KVCache",
    "LanguageModelling",
    "LatentAttention",
    "LayerNorm",
    "LearnedPositions",
    "MaskedLM",
    "MultiHeadAttention",
    "Preferences",
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
