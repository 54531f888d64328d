"""Weights for export-onnx.test: writes the parameters of a reference, and checks that an imported model reads them back.

  trained_weights.py MODEL_FOLDER OUT.safetensors [--without=NAME]
  trained_weights.py --check MODEL.mlir DATA WEIGHTS.safetensors
"""
import array
import json
import re
import struct
import sys


def read(path):
    data = open(path, "rb").read()
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + length])
    header.pop("__metadata__", None)
    return {name: (entry["shape"], data[8 + length + entry["data_offsets"][0]:8 + length + entry["data_offsets"][1]])
            for name, entry in header.items()}


def write(folder, out, without):
    prefix = "plain/parameter/"
    tensors = {name[len(prefix):]: value for name, value in read(folder + "/reference.safetensors").items() if name.startswith(prefix)}
    tensors.pop(without, None)
    header, offset = {}, 0
    for name, (shape, data) in tensors.items():
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [offset, offset + len(data)]}
        offset += len(data)
    text = json.dumps(header).encode()
    with open(out, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + b"".join(data for _, data in tensors.values()))


def check(mlir, data, weights):
    wanted, beside, agreeing = read(weights), open(data, "rb").read(), 0
    for line in open(mlir):
        found = re.search(r'nn.parameter .* of "(.*)" \[.*\] from <file = "(.*)", offset = (\d+), length = (\d+), .* transposed = (\w+)>', line)
        if not found or found.group(1) not in wanted:
            continue
        shape, value = wanted[found.group(1)]
        if not found.group(2):
            agreeing += 1  # inside the model: its bytes are not looked at here
            continue
        offset, length = int(found.group(3)), int(found.group(4))
        held, value = array.array("f", beside[offset:offset + length]), array.array("f", value)
        if found.group(5) == "true":
            rows, columns = shape
            held = array.array("f", [held[c * rows + r] for r in range(rows) for c in range(columns)])
        if held != value:
            sys.exit(f"{found.group(1)} is not what was saved")
        agreeing += 1
    print(agreeing, "parameters agree")


if sys.argv[1] == "--check":
    check(*sys.argv[2:5])
else:
    write(sys.argv[1], sys.argv[2], sys.argv[3].split("=")[1] if len(sys.argv) > 3 else "")
