"""Writes what a program would have written that computes exactly the reference, or with one thing wrong: make-result.py REFERENCE_DIR OUT [WRONG]."""
import json
import os
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "scripts"))
from checking import read_safetensors


def write_safetensors(path, tensors):
    header, body = {}, b""
    for name, tensor in tensors.items():
        content = tensor.values.tobytes()
        header[name] = dict(dtype="F32", shape=tensor.shape, data_offsets=[len(body), len(body) + len(content)])
        body += content
    text = json.dumps(header).encode()
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + body)


def main(reference, out, wrong=""):
    os.makedirs(out, exist_ok=True)
    with open(os.path.join(reference, "reference.json")) as f:
        run = json.load(f)["runs"]["plain"]
    tensors = read_safetensors(os.path.join(reference, "reference.safetensors"))
    part = lambda prefix: {n[len(prefix):]: t for n, t in tensors.items() if n.startswith(prefix)}
    gradients, parameters = part("gradient/"), part("plain/parameter/")
    bias = "model.norm.weight"
    if wrong == "loss":
        run["losses"][3] *= 1.0001
    elif wrong == "short-log":
        run["losses"].pop()
    elif wrong == "gradient":
        gradients[bias].values[5] += 1e-3
    elif wrong == "not-a-number":
        parameters[bias].values[2] = float("nan")
    elif wrong == "missing":
        del gradients[bias]
    elif wrong == "transposed":
        gradients["lm_head.weight"].shape.reverse()
    with open(os.path.join(out, "log.jsonl"), "w") as f:
        for step, (loss, norm) in enumerate(zip(run["losses"], run["gradient_norms"])):
            f.write(json.dumps(dict(step=step, loss=loss, grad_norm=norm)) + "\n")
    write_safetensors(os.path.join(out, "gradients.safetensors"), gradients)
    write_safetensors(os.path.join(out, "final.safetensors"), parameters)
    write_safetensors(os.path.join(out, "outputs.safetensors"), dict(logits=tensors["logits"]))


main(*sys.argv[1:])
