"""Write a language model of random weights that is small enough for any machine: `tiny_gguf.py brief FILE`, or `endless`.

It has the architecture `llama`, two layers, a vocabulary of letters, syllables, some wider characters, and all bytes. What it
writes is gibberish, line breaks, NUL characters and emoji included, but the same for the same seed. `brief` ends its answer by
itself after some dozens of tokens; `endless` never does. Needs the packages `gguf` and `numpy`.
"""

import sys

import gguf
import numpy as np

SEED = 4
CONTEXT = 8192
WIDTH, HEADS, KV_HEADS, LAYERS, INNER = 64, 4, 2, 2, 128

# The first dimension of the stream is the same for every token, so that a row of the output matrix can hold a bias in it.
LOUD = 4.0
NEVER = -20.0
END_BIAS = {"brief": 0.2, "endless": NEVER}

TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def vocabulary():
    """(piece, score, kind, bias) of each token, in the order of their numbers."""
    kind = gguf.TokenType
    yield "<unk>", 0.0, kind.UNKNOWN, NEVER
    yield "<s>", 0.0, kind.CONTROL, NEVER
    yield "</s>", 0.0, kind.CONTROL, None
    for role in ("system", "user", "assistant"):
        yield f"<|{role}|>", 0.0, kind.CONTROL, NEVER
    for byte in range(256):
        # A byte above these would begin a character that does not end; the server then holds everything back.
        bias = {0x00: 0.0, 0x07: 0.0, 0x0A: 0.2, 0x0D: 0.0, 0x09: 0.0, 0x22: 0.0, 0x5C: 0.0}.get(byte, NEVER)
        yield f"<0x{byte:02X}>", 0.0, kind.BYTE, bias
    letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,;:!?-"
    wider = ["ä", "ß", "é", "中", "文", "日", "🙂", "👩", "\u200d", "\u0301", "\u202e", "Ω", "ي"]
    syllables = [f"{a}{b}" for a in "bdklmnrst" for b in "aeiou"] + ["\u2581the", "\u2581and", "\u2581of", "\u2581"]
    for place, piece in enumerate([*syllables, *wider, *letters]):
        yield piece, -float(place), kind.NORMAL, 0.0


def tensors(biases):
    """(name, matrix) of each tensor, a row for each output."""
    random = np.random.default_rng(SEED)

    def noise(*shape, size):
        return random.normal(0.0, size, shape).astype(np.float32)

    def quiet(matrix):
        # Nothing is added to the first dimension on the way.
        matrix[0] = 0.0
        return matrix

    embedding = noise(len(biases), WIDTH, size=0.5)
    embedding[:, 0] = LOUD
    yield "token_embd.weight", embedding
    for layer in range(LAYERS):
        name = f"blk.{layer}"
        ones = np.ones(WIDTH, dtype=np.float32)
        yield f"{name}.attn_norm.weight", ones
        yield f"{name}.attn_q.weight", noise(WIDTH, WIDTH, size=0.1)
        yield f"{name}.attn_k.weight", noise(WIDTH * KV_HEADS // HEADS, WIDTH, size=0.1)
        yield f"{name}.attn_v.weight", noise(WIDTH * KV_HEADS // HEADS, WIDTH, size=0.1)
        yield f"{name}.attn_output.weight", quiet(noise(WIDTH, WIDTH, size=0.1))
        yield f"{name}.ffn_norm.weight", ones
        yield f"{name}.ffn_gate.weight", noise(INNER, WIDTH, size=0.1)
        yield f"{name}.ffn_up.weight", noise(INNER, WIDTH, size=0.1)
        yield f"{name}.ffn_down.weight", quiet(noise(WIDTH, INNER, size=0.1))
    yield "output_norm.weight", np.ones(WIDTH, dtype=np.float32)
    output = noise(len(biases), WIDTH, size=0.2)
    output[:, 0] = biases
    yield "output.weight", output


def write(character, path):
    pieces = list(vocabulary())
    biases = [END_BIAS[character] if bias is None else bias for _, _, _, bias in pieces]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name(f"random weights, {character}")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_vocab_size(len(pieces))
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_tokenizer_model("llama")
    writer.add_token_list([piece.encode() for piece, _, _, _ in pieces])
    writer.add_token_scores([score for _, score, _, _ in pieces])
    writer.add_token_types([kind for _, _, kind, _ in pieces])
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_bos_token(True)
    writer.add_chat_template(TEMPLATE)
    for name, matrix in tensors(biases):
        writer.add_tensor(name, matrix)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if len(sys.argv) != 3 or sys.argv[1] not in END_BIAS:
    sys.exit(__doc__)
write(sys.argv[1], sys.argv[2])
