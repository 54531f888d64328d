"""same-run.py A B: two runs, A.jsonl and A.final and those of B, are one up to the order of sums."""
import array
import json
import struct
import sys


def read_safetensors(path):
    """Tensors of f32 by name."""
    data = open(path, "rb").read()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + size])
    header.pop("__metadata__", None)
    return {name: array.array("f", data[8 + size:][slice(*entry["data_offsets"])]) for name, entry in header.items()}


first, second = sys.argv[1:]
logs = [[json.loads(line) for line in open(name + ".jsonl")] for name in (first, second)]
assert len(logs[0]) == len(logs[1])
counts = {"loss": 0, "eval_loss": 0}
for a, b in zip(*logs):
    for key in counts:
        assert (key in a) == (key in b), (key, a, b)
        if key in a:
            assert abs(a[key] - b[key]) <= 1e-5 * abs(a[key]), (key, a, b)
            counts[key] += 1
tensors = [read_safetensors(name + ".final") for name in (first, second)]
assert tensors[0].keys() == tensors[1].keys()
for name, values in tensors[0].items():
    largest = max(map(abs, values))
    difference = max(abs(x - y) for x, y in zip(values, tensors[1][name], strict=True))
    assert difference <= 1e-4 * largest + 1e-7, (name, difference, largest)
print(f"equal: {counts['loss']} losses, {counts['eval_loss']} of evaluation, {len(tensors[0])} parameters")
