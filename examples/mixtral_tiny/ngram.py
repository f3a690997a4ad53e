"""A character n-gram model with interpolated Witten-Bell smoothing: the baseline to beat.

    p(c | context) = (count(context c) + t(context) p(c | shorter context)) / (count(context) + t(context))

where t(context) is the number of different characters seen after the context. The recursion ends
in the uniform distribution over the vocabulary.
"""

import numpy as np


def ngram_keys(tokens, length, vocabulary):
    """One integer for each run of `length` tokens; entry i ends at token i + length - 1."""
    keys = np.zeros(len(tokens) - length + 1, dtype=np.int64)
    for offset in range(length):
        keys = keys * vocabulary + tokens[offset : offset + len(keys)]
    return keys


def lookup(keys, table_keys, table_values):
    """table_values at each key, 0 where a key is absent."""
    index = np.minimum(np.searchsorted(table_keys, keys), len(table_keys) - 1)
    return np.where(table_keys[index] == keys, table_values[index], 0)


def bits_per_character(train, held_out, order, vocabulary):
    """Mean of -log2 p over the held-out tokens that have a full context."""
    first = order - 1
    probability = np.full(len(held_out) - first, 1.0 / vocabulary)
    for length in range(1, order + 1):
        seen, counts = np.unique(ngram_keys(train, length, vocabulary), return_counts=True)
        contexts, start = np.unique(seen // vocabulary, return_index=True)
        types = np.diff(np.append(start, len(seen)))
        totals = np.add.reduceat(counts, start)

        keys = ngram_keys(held_out, length, vocabulary)[order - length :]
        count = lookup(keys, seen, counts)
        total = lookup(keys // vocabulary, contexts, totals)
        novel = lookup(keys // vocabulary, contexts, types)
        known = total > 0
        mixed = (count + novel * probability) / np.where(known, total + novel, 1)
        probability = np.where(known, mixed, probability)
    return float(-np.log2(probability).mean())
