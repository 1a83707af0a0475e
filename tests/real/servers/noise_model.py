"""Write a llama of random weights, half a megabyte: its text is noise, but framing, timing, usage and errors are real.

``python -m tests.real.servers.noise_model FILE SEED [SHARE [ranks]]``. Another seed is another model. With a share of
another draw added to its weights it says the same for a part of the prompts, and then letters and blanks alone.
One that ranks scores how well a text answers a question.
"""

import sys

import gguf
import numpy as np

WIDTH, INNER, LAYERS, HEADS, CONTEXT = 64, 128, 2, 4, 1 << 16


def vocabulary() -> tuple[list[bytes], list[int]]:
    """Return tokens and their types: three control tokens, every byte, a blank, the letters."""
    kind = gguf.TokenType
    tokens = [b"<unk>", b"<s>", b"</s>", *(f"<0x{i:02X}>".encode() for i in range(256))]
    kinds = [kind.UNKNOWN, kind.CONTROL, kind.CONTROL, *[kind.BYTE] * 256]
    letters = ["▁".encode(), *(bytes([letter]) for letter in range(ord("a"), ord("z") + 1))]
    return tokens + letters, [*map(int, kinds), *[int(kind.NORMAL)] * len(letters)]


def write(path: str, seed: int, share: float | None, *, ranks: bool = False) -> None:
    """Write the model file."""
    draw, other = np.random.default_rng(seed), np.random.default_rng(seed + 1000)
    tokens, kinds = vocabulary()
    # Of the simple architectures it is Qwen's whose rerankers the server knows.
    writer = gguf.GGUFWriter(path, "qwen3" if ranks else "llama")
    writer.add_name("noise")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * len(tokens))
    writer.add_token_types(kinds)
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_chat_template("{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}")

    if ranks:
        writer.add_key_length(WIDTH // HEADS)
        writer.add_value_length(WIDTH // HEADS)
        writer.add_pooling_type(gguf.PoolingType.RANK)
        writer.add_classifier_output_labels(["yes", "no"])

    def add(name: str, *shape: int) -> None:
        weights = np.ones(shape)
        if len(shape) > 1:
            weights = draw.normal(0, 0.2, shape) + (share or 0.0) * other.normal(0, 0.2, shape)
        if name == "output" and share is not None:
            weights[: kinds.index(int(gguf.TokenType.NORMAL))] = 0.0
        writer.add_tensor(f"{name}.weight", weights.astype(np.float32))

    add("token_embd", len(tokens), WIDTH)
    for layer in range(LAYERS):
        block = f"blk.{layer}"
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            add(f"{block}.{name}", WIDTH, WIDTH)
        if ranks:
            add(f"{block}.attn_q_norm", WIDTH // HEADS)
            add(f"{block}.attn_k_norm", WIDTH // HEADS)
        add(f"{block}.attn_norm", WIDTH)
        add(f"{block}.ffn_norm", WIDTH)
        add(f"{block}.ffn_gate", INNER, WIDTH)
        add(f"{block}.ffn_up", INNER, WIDTH)
        add(f"{block}.ffn_down", WIDTH, INNER)
    add("output_norm", WIDTH)
    add("output", len(tokens), WIDTH)
    if ranks:
        add("cls.output", 2, WIDTH)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    write(
        sys.argv[1],
        int(sys.argv[2]),
        float(sys.argv[3]) if len(sys.argv) > 3 else None,
        ranks="ranks" in sys.argv[4:],
    )
