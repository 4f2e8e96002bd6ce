"""A language model of random weights in the form of transformers, with a tokenizer: `random_llama.py OUT`. Its words mean nothing."""

import sys

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

WIDTH, LAYERS, HEADS, CONTEXT = 256, 4, 4, 2048
SPECIAL = ("<pad>", "<s>", "</s>", "<unk>")
LETTERS = "abcdefghijklmnopqrstuvwxyz"
SPACE = "\u2581"  # before a word
CHAT = "{% for each in messages %}{{ each['role'] }}: {{ each['content'] }}\n{% endfor %}assistant: "

# Letters, and pairs of them that begin a word: every token is some text, and prompts that differ remain different.
merges = [(SPACE, letter) for letter in LETTERS]
merges += [(SPACE + one, two) for one in LETTERS for two in LETTERS]
known = [*SPECIAL, SPACE, *LETTERS, *("".join(each) for each in merges)]
pieces = Tokenizer(models.BPE({text: at for at, text in enumerate(known)}, merges, unk_token="<unk>"))
pieces.pre_tokenizer, pieces.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
tokenizer = PreTrainedTokenizerFast(
    tokenizer_object=pieces, pad_token="<pad>", bos_token="<s>", eos_token="</s>", model_max_length=CONTEXT
)
tokenizer.chat_template = CHAT

torch.manual_seed(0)
shape = LlamaConfig(
    vocab_size=len(tokenizer), hidden_size=WIDTH, intermediate_size=2 * WIDTH, num_hidden_layers=LAYERS,
    num_attention_heads=HEADS, num_key_value_heads=HEADS, max_position_embeddings=CONTEXT,
    pad_token_id=0, bos_token_id=1, eos_token_id=2,
)  # fmt: skip
LlamaForCausalLM(shape).save_pretrained(sys.argv[1])
tokenizer.save_pretrained(sys.argv[1])
