"""The folders that export-models.py writes: what is in them, and how compiler and program are called for them."""
import json
import os

from checking import npy_shape

FILES = ("model.onnx", "model-attention.onnx", "model-raw.onnx", "model-static.onnx")


def model_folders(roots):
    found = []
    for root in roots:
        for at, folders, files in os.walk(root):
            folders.sort()
            if "reference.json" in files and any(f in files for f in FILES):
                found.append(at)
                folders.clear()
    return found


class Model:
    """A folder with exports, data and a reference, and how to call compiler and program for it."""

    def __init__(self, folder):
        self.folder = folder
        self.data = os.path.join(folder, "data")
        self.has_tensors = os.path.exists(os.path.join(folder, "reference.safetensors"))
        with open(os.path.join(folder, "reference.json")) as f:
            self.reference = json.load(f)

    def shapes(self):
        names = sorted(f for f in os.listdir(self.data) if f.endswith(".npy") and f != "labels.npy")
        size = lambda f: "x".join(map(str, npy_shape(os.path.join(self.data, f))[1:]))
        return ",".join(f"{f[:-4]}:{size(f)}" for f in names)

    def batch(self):
        """Rows of a step: the first dimension of the labels, or of the only input."""
        names = sorted(f for f in os.listdir(self.data) if f.endswith(".npy"))
        return npy_shape(os.path.join(self.data, "labels.npy" if "labels.npy" in names else names[0]))[1]

    def settings(self, run_name):
        entry = self.reference["runs"][run_name]
        values = self.reference["optimizers"][entry["optimizer"]]
        flags = [f"--steps={len(entry['losses'])}", f"--lr={values['lr']}", f"--weight-decay={values['weight_decay']}"]
        if entry["optimizer"] == "adamw":
            flags += [f"--betas={values['betas'][0]},{values['betas'][1]}", f"--eps={values['eps']}"]
        else:
            flags += [f"--momentum={values['momentum']}"]
        return flags + ([f"--clip-norm={entry['clip_norm']}"] if entry["clip_norm"] else [])
