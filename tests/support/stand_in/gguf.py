"""Stands in for the package that reads weights: six tokens, token n embedded as (n, 1), stored halved."""

from types import SimpleNamespace

import numpy as np


class GGUFReader:
    def __init__(self, path):
        assert path.is_file()
        rows = np.array([[number / 2, 0.5] for number in range(6)])
        self.tensors = [
            SimpleNamespace(name="output.weight", data=-rows, tensor_type="halves"),
            SimpleNamespace(name="token_embd.weight", data=rows, tensor_type="halves"),
        ]


def dequantize(data, kind):
    assert kind == "halves"
    return data * 2
