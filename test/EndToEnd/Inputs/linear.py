"""A linear layer trained by hand, to compare a compiled program with: linear.py make|check DIR"""
import array
import json
import math
import pathlib
import random
import struct
import sys

STEPS, BATCH, INPUTS, CLASSES, LR, MOMENTUM, DECAY, CLIP = 3, 8, 4, 5, 0.5, 0.9, 0.01, 0.7


def write_npy(path, kind, dtype, shape, values):
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}"
    header += " " * (63 - (len(header) + 10) % 64) + "\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + array.array(kind, values).tobytes())


def draw():
    """Weights, bias, and for each step the inputs and the labels."""
    rng = random.Random(0)
    number = lambda: struct.unpack("<f", struct.pack("<f", rng.gauss(0, 1)))[0]
    w = [[number() for _ in range(INPUTS)] for _ in range(CLASSES)]
    b = [number() for _ in range(CLASSES)]
    steps = [([[number() for _ in range(INPUTS)] for _ in range(BATCH)],
              [-100 if i == 1 else rng.randrange(CLASSES) for i in range(BATCH)]) for _ in range(STEPS)]
    return w, b, steps


def make(folder):
    w, b, steps = draw()
    (folder / "linear.bin").write_bytes(array.array("f", sum(w, []) + b).tobytes())
    write_npy(folder / "x.npy", "f", "<f4", (STEPS, BATCH, INPUTS), [v for x, _ in steps for row in x for v in row])
    write_npy(folder / "labels.npy", "q", "<i8", (STEPS, BATCH), [v for _, labels in steps for v in labels])


def read_safetensors(path):
    data = path.read_bytes()
    length, = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + length])
    header.pop("__metadata__", None)
    return {name: (t["shape"], list(array.array("f", data[8 + length + t["data_offsets"][0]:8 + length + t["data_offsets"][1]])))
            for name, t in header.items()}


def train():
    """Losses, gradient norms, and the final weights."""
    w, b, steps = draw()
    vw, vb = [[0.0] * INPUTS for _ in w], [0.0] * CLASSES
    losses, norms = [], []
    for x, labels in steps:
        counted = sum(label >= 0 for label in labels)
        gw, gb, loss = [[0.0] * INPUTS for _ in w], [0.0] * CLASSES, 0.0
        for row, label in zip(x, labels):
            if label < 0:
                continue
            logits = [sum(p * q for p, q in zip(row, w[c])) + b[c] for c in range(CLASSES)]
            total = sum(math.exp(z) for z in logits)
            loss += (math.log(total) - logits[label]) / counted
            for c in range(CLASSES):
                d = (math.exp(logits[c]) / total - (c == label)) / counted
                gb[c] += d
                for i in range(INPUTS):
                    gw[c][i] += d * row[i]
        losses.append(loss)
        norms.append(math.sqrt(sum(g * g for row in gw + [gb] for g in row)))
        scale = min(1, CLIP / (norms[-1] + 1e-6))
        for c in range(CLASSES):
            vb[c] = MOMENTUM * vb[c] + gb[c] * scale
            b[c] -= LR * vb[c]
            for i in range(INPUTS):
                vw[c][i] = MOMENTUM * vw[c][i] + gw[c][i] * scale + DECAY * w[c][i]
                w[c][i] -= LR * vw[c][i]
    return losses, norms, {"linear.weight": ([CLASSES, INPUTS], sum(w, [])), "linear.bias": ([CLASSES], b)}


def compare(what, found, wanted, tolerance):
    for f, w in zip(found, wanted, strict=True):
        assert abs(f - w) <= tolerance * max(1, abs(w)), f"{what}: found {found}, wanted {wanted}"


def check(folder):
    losses, norms, weights = train()
    log = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    compare("loss", [line["loss"] for line in log], losses, 1e-5)
    compare("grad_norm", [line["grad_norm"] for line in log], norms, 1e-5)
    saved = read_safetensors(folder / "final.safetensors")
    assert saved.keys() == weights.keys(), saved.keys()
    for name, (shape, values) in weights.items():
        assert saved[name][0] == shape, saved[name][0]
        compare(name, saved[name][1], values, 1e-5)
    print("equal")


if __name__ == "__main__":
    folder = pathlib.Path(sys.argv[2])
    make(folder) if sys.argv[1] == "make" else check(folder)
