"""A linear layer trained by hand with numpy, to compare a compiled program with: linear.py make|check DIR"""
import json
import pathlib
import struct
import sys

import numpy as np

STEPS, BATCH, INPUTS, CLASSES, LR, MOMENTUM, DECAY, CLIP = 3, 8, 4, 5, 0.5, 0.9, 0.01, 0.7


def make(folder):
    rng = np.random.default_rng(0)
    weights = [rng.normal(size=(CLASSES, INPUTS)), rng.normal(size=CLASSES)]
    (folder / "linear.bin").write_bytes(b"".join(w.astype("<f4").tobytes() for w in weights))
    np.save(folder / "x.npy", rng.normal(size=(STEPS, BATCH, INPUTS)).astype("f4"))
    labels = rng.integers(CLASSES, size=(STEPS, BATCH))
    labels[:, 1] = -100
    np.save(folder / "labels.npy", labels)


def read_safetensors(path):
    data = path.read_bytes()
    length, = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + length])
    header.pop("__metadata__", None)
    return {name: np.frombuffer(data[8 + length + t["data_offsets"][0]:8 + length + t["data_offsets"][1]], "<f4").reshape(t["shape"])
            for name, t in header.items()}


def train(folder):
    """Losses, gradient norms, and the final weights."""
    flat = np.fromfile(folder / "linear.bin", "<f4").astype("f8")
    w, b = flat[:CLASSES * INPUTS].reshape(CLASSES, INPUTS), flat[CLASSES * INPUTS:]
    velocity = [np.zeros_like(w), np.zeros_like(b)]
    losses, norms = [], []
    for x, labels in zip(np.load(folder / "x.npy").astype("f8"), np.load(folder / "labels.npy")):
        logits = x @ w.T + b
        p = np.exp(logits - logits.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        counted = labels >= 0
        losses.append(-np.log(p[counted, labels[counted]]).mean())
        d = p.copy()
        d[counted, labels[counted]] -= 1
        d[~counted] = 0
        d /= counted.sum()
        gradients = [d.T @ x, d.sum(0)]
        norms.append(np.sqrt(sum((g**2).sum() for g in gradients)))
        scale = min(1, CLIP / (norms[-1] + 1e-6))
        for i, (parameter, gradient) in enumerate(zip((w, b), gradients)):
            gradient = gradient * scale + (DECAY * parameter if parameter.ndim >= 2 else 0)
            velocity[i] = MOMENTUM * velocity[i] + gradient
            parameter -= LR * velocity[i]
    return losses, norms, {"linear.weight": w, "linear.bias": b}


def check(folder):
    losses, norms, weights = train(folder)
    log = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    np.testing.assert_allclose([line["loss"] for line in log], losses, rtol=1e-5)
    np.testing.assert_allclose([line["grad_norm"] for line in log], norms, rtol=1e-5)
    saved = read_safetensors(folder / "final.safetensors")
    assert saved.keys() == weights.keys(), saved.keys()
    for name, value in weights.items():
        np.testing.assert_allclose(saved[name], value, rtol=1e-4, atol=1e-6)
    print("equal")


{"make": make, "check": check}[sys.argv[1]](pathlib.Path(sys.argv[2]))
