"""A language model of random weights in the form of llama.cpp: `random_gguf.py OUT`. Its words mean nothing."""

import sys

import gguf
import numpy as np

WIDTH, LAYERS, HEADS, CONTEXT = 256, 4, 4, 2048
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,!?"

random = np.random.default_rng(0)
kinds = gguf.TokenType
tokens = [("<unk>", kinds.UNKNOWN), ("<s>", kinds.CONTROL), ("</s>", kinds.CONTROL)]
tokens += [(f"<0x{byte:02X}>", kinds.BYTE) for byte in range(256)]
tokens += [(text, kinds.NORMAL) for text in ("\u2581", *LETTERS, "th", "he", "in", "er", "\u2581the", "\u2581a")]

writer = gguf.GGUFWriter(sys.argv[1], "llama")
writer.add_name("random")
writer.add_context_length(CONTEXT)
writer.add_embedding_length(WIDTH)
writer.add_block_count(LAYERS)
writer.add_feed_forward_length(2 * WIDTH)
writer.add_head_count(HEADS)
writer.add_head_count_kv(HEADS)
writer.add_layer_norm_rms_eps(1e-5)
writer.add_rope_dimension_count(WIDTH // HEADS)
writer.add_vocab_size(len(tokens))
writer.add_file_type(0)
writer.add_tokenizer_model("llama")
writer.add_token_list([text.encode() for text, _ in tokens])
writer.add_token_scores([-float(place) for place in range(len(tokens))])
writer.add_token_types([kind for _, kind in tokens])
writer.add_bos_token_id(1)
writer.add_eos_token_id(2)
writer.add_unk_token_id(0)


def weights(name: str, *shape: int) -> None:
    """A matrix of random weights."""
    writer.add_tensor(name, (random.standard_normal(shape) * 0.05).astype(np.float32))


weights("token_embd.weight", len(tokens), WIDTH)
weights("output.weight", len(tokens), WIDTH)
writer.add_tensor("output_norm.weight", np.ones(WIDTH, np.float32))
for layer in range(LAYERS):
    for norm in ("attn_norm", "ffn_norm"):
        writer.add_tensor(f"blk.{layer}.{norm}.weight", np.ones(WIDTH, np.float32))
    for square in ("attn_q", "attn_k", "attn_v", "attn_output"):
        weights(f"blk.{layer}.{square}.weight", WIDTH, WIDTH)
    weights(f"blk.{layer}.ffn_gate.weight", 2 * WIDTH, WIDTH)
    weights(f"blk.{layer}.ffn_up.weight", 2 * WIDTH, WIDTH)
    weights(f"blk.{layer}.ffn_down.weight", WIDTH, 2 * WIDTH)
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()
