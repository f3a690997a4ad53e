# The tokens of random text, and the text of random tokens, are those of the library "tokenizers".
# REQUIRES: python-tokenizers
# RUN: rm -rf %t && mkdir -p %t && %python %s moe-run %t

import json
import os
import random
import subprocess
import sys
import unicodedata
import unittest

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

FOLDER = sys.argv.pop()
TOOL = sys.argv.pop()

# Characters of an old version of Unicode: the libraries' tables are of different ages.
OLD = [chr(c) for c in range(1, 0x20000) if not 0xD800 <= c < 0xE000
       and unicodedata.ucd_3_2_0.category(chr(c)) not in ("Cn", "Cs")]  # fmt: skip
RANGES = ["abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", "     \t\n\r\v\f\x85\xa0\u2003\u2028\u3000", "0123456789٣४²½",
          "'.,;:!?-_()[]{}<>|/\\\"#$%&*+@^`~", "äöüßéèñçøåÄÖÅſK", "e\u0301a\u0308\u0327o\u0302", "日本語中文字一二三ひらがなカタカナ한국어",
          "😀👍🏽👩‍👩‍👧🇩🇪\u200d\ufe0f", "жщёЪабвшалом שלום مرحبا"]  # fmt: skip
WORDS = ["don't", "I'LL", "we've", " it's", "'Sam", "<s>", "</s>", "<|end|>", "<tool>", "  ", "\n\n", "\r\n", " 1234567", "▁", "Ġ",
         "hello", " world", "def f(x):\n    return x", "the strange of the", "\t\t", " \n ", "ﬁ", "Å", "…"]  # fmt: skip
CORPUS = ["The quick brown fox doesn't jump over 12345 lazy dogs.", "def f(x):\n\treturn x ** 2  # why?", "Äpfel und Öl, übermäßig",
          "日本語の文字と한국어와中文", "the strange of the strange of the street", "hello world " * 3, "1234567890 " * 2,
          "İstanbul’da çay 😀😀 👍🏽", "e\u0301te\u0301"] * 4  # fmt: skip

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
          r"|\s+(?!\S)|\s+")  # fmt: skip
QWEN = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
O200K = "|".join([
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"\p{N}{1,3}", r" ?[^\s\p{L}\p{N}]+[\r\n/]*", r"\s*[\r\n]+", r"\s+(?!\S)", r"\s+"])  # fmt: skip
DEEPSEEK3 = (r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*"
             r"|\s*[\r\n]+|\s+(?!\S)|\s+")  # fmt: skip


def train(tokenizer, size, alphabet=(), special=("<s>", "</s>")):
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=list(special), initial_alphabet=list(alphabet), show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def byte_level(split, normalizer=None, size=420, behavior="isolated", more=(), **model):
    tokenizer = Tokenizer(models.BPE(**model))
    parts = [pre_tokenizers.Split(Regex(pattern), behavior) for pattern in split]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [*parts, *more, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])  # fmt: skip
    if normalizer:
        tokenizer.normalizer = normalizer
    tokenizer.decoder = decoders.ByteLevel()
    train(tokenizer, size, pre_tokenizers.ByteLevel.alphabet())
    tokenizer.add_special_tokens(["<|end|>"])
    tokenizer.add_tokens(["<tool>"])
    tokenizer.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=False),
        processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))])])  # fmt: skip
    return tokenizer


def gpt2():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    return train(tokenizer, 400, pre_tokenizers.ByteLevel.alphabet())


BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


def with_bytes(tokenizer, **options):
    """The same with a token for each byte."""
    made = json.loads(tokenizer.to_str())
    first = tokenizer.get_vocab_size()
    for i, token in enumerate(BYTES):
        made["model"]["vocab"][token] = first + i
    made["model"].update(byte_fallback=True, **options)
    return Tokenizer.from_str(json.dumps(made))


def llama2():
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    train(tokenizer, 300, special=["<unk>", "<s>", "</s>"])
    tokenizer.add_tokens(["<tool>"])
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)])
    return with_bytes(tokenizer)


def metaspace(scheme, split=True, unk=True):
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>") if unk else models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=split)
    tokenizer.decoder = decoders.Metaspace(prepend_scheme=scheme, split=split)
    train(tokenizer, 300, special=["<unk>", "<s>", "</s>"])
    tokenizer.add_tokens(["<tool>"])
    return tokenizer


def suffixes():
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", continuing_subword_prefix="##", end_of_word_suffix="</w>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=["<unk>"], continuing_subword_prefix="##",
                                  end_of_word_suffix="</w>", show_progress=False)  # fmt: skip
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def stripped():
    from tokenizers import AddedToken

    tokenizer = byte_level([GPT2], normalizers.NFKC())
    tokenizer.add_tokens([AddedToken("<left>", lstrip=True, normalized=False), AddedToken("ﬁne", normalized=True)])
    tokenizer.add_special_tokens([AddedToken("<right>", rstrip=True)])
    return tokenizer


TOKENIZERS = {
    "gpt2": gpt2,
    "llama2": llama2,
    "llama3": lambda: byte_level([LLAMA3], ignore_merges=True),
    "qwen": lambda: byte_level([QWEN], normalizers.NFC()),
    "gpt_oss": lambda: byte_level([O200K]),
    "deepseek3": lambda: byte_level([r"\p{N}{1,3}", "[一-龥぀-ゟ゠-ヿ]+", DEEPSEEK3]),
    "deepseek2": lambda: byte_level(["[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-퟿]+"],
                                    more=[pre_tokenizers.Digits(individual_digits=True)]),
    "removed": lambda: byte_level([r"\s+"], behavior="removed"),
    "previous": lambda: byte_level([r"\s"], behavior="merged_with_previous"),
    "next": lambda: byte_level([r"\p{P}"], behavior="merged_with_next"),
    "contiguous": lambda: byte_level([r"\d"], normalizers.NFD(), behavior="contiguous"),
    "digits": lambda: byte_level([], normalizers.NFKD(), more=[pre_tokenizers.Digits(individual_digits=False)]),
    "metaspace_always": lambda: metaspace("always"),
    "metaspace_first": lambda: metaspace("first", split=False),
    "metaspace_never": lambda: metaspace("never", unk=False),
    "fallback_first": lambda: with_bytes(metaspace("first"), fuse_unk=False),
    "suffixes": suffixes,
    "stripped": stripped,
}  # fmt: skip


def texts(seed, count):
    pick = random.Random(seed)
    made = ["", " ", "<s>", " <s> x <s>", "  leading", "trailing  ", "<left> a <left>b <right> c <right>", "ﬁne fine"]
    while len(made) < count:
        parts = []
        for _ in range(pick.randrange(1, 9)):
            kind = pick.randrange(4)
            if kind == 0:
                parts.append(pick.choice(WORDS))
            elif kind == 1:
                parts.append("".join(pick.choice(OLD) for _ in range(pick.randrange(1, 6))))
            else:
                parts.append("".join(pick.choice(pick.choice(RANGES)) for _ in range(pick.randrange(1, 12))))
        made.append(pick.choice(["", " "]).join(parts))
    return made


def run(tokenizer, items, name):
    paths = [os.path.join(FOLDER, f"{name}.{kind}.json") for kind in ("tokenizer", "items")]
    with open(paths[0], "w") as file:
        file.write(tokenizer if isinstance(tokenizer, str) else tokenizer.to_str())
    with open(paths[1], "w") as file:
        json.dump(items, file)
    return subprocess.run([TOOL, "--tokenizer", paths[0], f"--tokenize=@{paths[1]}"], capture_output=True, text=True)


class Tokens(unittest.TestCase):
    def check(self, name, made):
        items = texts(name, 400)
        wanted = [tokenizer_ids.ids for tokenizer_ids in made.encode_batch(items)]
        done = run(made, items, name)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        # Not splitlines, which splits at more than newlines.
        got = [json.loads(line) for line in done.stdout.split("\n")[:-1]]
        for text, ours, theirs in zip(items, got, wanted, strict=True):
            self.assertEqual(ours, theirs, repr(text))

        pick = random.Random(name)
        size = max(made.get_vocab(with_added_tokens=True).values()) + 1
        ids = wanted + [[pick.randrange(size) for _ in range(pick.randrange(9))] for _ in range(400)]
        done = run(made, ids, name)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        got = [json.loads(line) for line in done.stdout.split("\n")[:-1]]
        for tokens, ours in zip(ids, got, strict=True):
            self.assertEqual(ours, made.decode(tokens), tokens)

    def test_refused(self):
        """Every part that is not there, and damaged files."""
        good = json.loads(TOKENIZERS["llama3"]().to_str())

        def changed(**parts):
            return json.dumps({**good, **parts})

        bpe = good["model"]
        cases = [
            ("", "it is no valid JSON"),
            ("[" * 200000, "it is no valid JSON"),
            ("[]", "the file is no object"),
            ("{}", "the file has no model"),
            (changed(normalizer={"type": "BertNormalizer"}), "the normalizer of type 'BertNormalizer' is not supported"),
            (changed(normalizer={"type": "Sequence"}), "the normalizer has no array 'normalizers'"),
            (changed(pre_tokenizer={"type": "Whitespace"}), "the pre-tokenizer of type 'Whitespace' is not supported"),
            (changed(pre_tokenizer={"type": "Split", "pattern": {"Regex": "("}, "behavior": "Isolated", "invert": False}),
             "the pre-tokenizer cannot be used: the pattern '(' is not supported"),
            (changed(pre_tokenizer={"type": "Split", "pattern": {"Regex": r"\h"}, "behavior": "Isolated", "invert": False}),
             r"the pre-tokenizer cannot be used: the pattern '\h' has the escape '\h', which is not supported"),
            (changed(decoder={"type": "WordPiece"}), "the decoder of type 'WordPiece' is not supported"),
            (changed(post_processor={"type": "BertProcessing"}), "the post-processor of type 'BertProcessing' is not supported"),
            (changed(truncation={"max_length": 5}), "the file asks for truncation, which is not supported"),
            (changed(model={"type": "Unigram", "vocab": []}), "the model of type 'Unigram' is not supported"),
            (changed(model={**bpe, "dropout": 0.1}), "the model has a dropout, which is not supported"),
            (changed(model={**bpe, "vocab": {"a": -1}}), "the model gives no number below 2^31 to the token 'a'"),
            (changed(model={**bpe, "merges": ["a"]}), "the model has a merge that is no pair: 'a'"),
            (changed(model={**bpe, "merges": [["qqq", "z"]]}),
             "the model has the merge of 'qqq' and 'z', of which one or their sum is no token"),
            (changed(model={**bpe, "unk_token": "nope"}), "the model lacks its unk_token 'nope'"),
            (changed(added_tokens=[{"id": 1, "content": "x", "single_word": True}]),
             "an added token 'x' counts as a whole word only, which is not supported"),
            (changed(added_tokens=[{"content": "x"}]), "an added token has no number 'id' below 2^31"),
        ]  # fmt: skip
        for text, expected in cases:
            done = run(text, ["a"], "bad")
            self.assertEqual((done.returncode, done.stdout), (2, ""), expected)
            self.assertRegex(done.stderr, r"\Amoe-run: error: cannot use the tokenizer '[^']*': [^\n]*\n\Z")
            self.assertIn(expected, done.stderr)


for name, make in TOKENIZERS.items():
    setattr(Tokens, f"test_{name}", lambda self, name=name, make=make: self.check(name, make()))
unittest.main(argv=["tokenizer"])
