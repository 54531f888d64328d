"""What the check-* scripts share: reading what programs write, comparing it, and running compiler and programs. Needs nothing but Python."""
import array
import ast
import json
import math
import os
import re
import struct
import subprocess
import sys
import tempfile

# Of safetensors, in the letters of Python's array.
DTYPES = {"F64": "d", "F32": "f", "I64": "q", "I32": "i", "I16": "h", "I8": "b", "U8": "B", "BOOL": "B"}
# Open MPI would bind one or two ranks to a core each, and the program's threads with them.
MPIRUN = "mpirun --bind-to none --oversubscribe"


class Unreadable(Exception):
    pass


class CommandFailed(Exception):
    pass


class Tensor:
    """A shape, and the values in row-major order."""

    def __init__(self, shape, values):
        self.shape, self.values = list(shape), values
        if len(values) != math.prod(shape):
            raise ValueError(f"{len(values)} values for a shape of {self.shape}")

    def largest(self):
        return max(map(abs, self.values), default=0.0)

    def worst_difference(self, other):
        """The largest difference from another tensor of this shape, and where it is; a NaN is the worst."""
        worst, at = 0.0, 0
        for i, (a, b) in enumerate(zip(self.values, other.values)):
            if not abs(a - b) <= worst:
                worst, at = abs(a - b), i
                if worst != worst:
                    break
        where = []
        for size in reversed(self.shape):
            at, index = divmod(at, size)
            where.insert(0, index)
        return worst, where

    def at(self, where):
        position = 0
        for size, index in zip(self.shape, where):
            position = position * size + index
        return self.values[position]


def read_safetensors(path):
    try:
        with open(path, "rb") as f:
            content = f.read()
        length = struct.unpack_from("<Q", content)[0]
        header = json.loads(content[8 : 8 + length])
        result = {}
        for name, entry in header.items():
            if name != "__metadata__":
                begin, end = (8 + length + offset for offset in entry["data_offsets"])
                result[name] = Tensor(entry["shape"], array.array(DTYPES[entry["dtype"]], content[begin:end]))
        return result
    except (OSError, ValueError, KeyError, TypeError, struct.error) as error:
        raise Unreadable(f"{path}: not a readable safetensors file: {error}") from error


def npy_shape(path):
    """The shape that an .npy file's header gives."""
    try:
        with open(path, "rb") as f:
            magic, major, _ = struct.unpack("<6sBB", f.read(8))
            if magic != b"\x93NUMPY":
                raise ValueError("no NUMPY at its start")
            (length,) = struct.unpack("<H", f.read(2)) if major == 1 else struct.unpack("<I", f.read(4))
            return ast.literal_eval(f.read(length).decode("latin1"))["shape"]
    except (OSError, ValueError, KeyError, SyntaxError, struct.error) as error:
        raise Unreadable(f"{path}: not a readable .npy file: {error}") from error


def write_npy(path, tensor, is_step=True):
    """A tensor; as one step of one input, with a first dimension of 1."""
    letter = tensor.values.typecode
    description = dict(descr={"f": "<f4", "q": "<i8"}[letter], fortran_order=False, shape=(1, *tensor.shape) if is_step else tuple(tensor.shape))
    header = str(description)
    header += " " * (-(len(header) + 11) % 64) + "\n"
    with open(path, "wb") as f:
        f.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + tensor.values.tobytes())


def read_log(path):
    """The log's rows, one a step."""
    try:
        with open(path) as f:
            rows = [json.loads(line) for line in f if line.strip()]
    except (OSError, ValueError) as error:
        raise Unreadable(f"{path}: not a readable log: {error}") from error
    return [row for row in rows if "loss" in row]


def run(command, timeout, log):
    """Runs a command, its output to a file; raises CommandFailed with the end of that output when it fails."""
    # Each mpirun has a session folder of its own: one that ends removes the folder that it shares with others, maybe while they begin.
    with tempfile.TemporaryDirectory(prefix="mpi-", ignore_cleanup_errors=True) as session, open(log, "w") as out:
        environment = dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1", OMPI_MCA_orte_tmpdir_base=session)
        try:
            code = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, timeout=timeout, env=environment).returncode
        except subprocess.TimeoutExpired:
            raise CommandFailed(f"still running after {timeout} s: {' '.join(command)}") from None
        except OSError as error:
            raise CommandFailed(f"{command[0]}: {error.strerror}") from None
    if code:
        with open(log, errors="replace") as f:
            tail = "".join(f.readlines()[-8:]).rstrip()
        shown = os.path.basename(command[1]) if command[0] == sys.executable else " ".join(command)
        raise CommandFailed(f"exit code {code} of {shown}\n{tail}".replace("\n", "\n      "))


def check_memory(compiled, ran):
    """What a program announces for the ranks of each stage, in the output file `ran`, is what --print-memory printed in the output file `compiled`."""
    with open(compiled) as printed, open(ran) as said:
        planned = re.findall(r"^memory(?: of a rank of stage \d+)?: (\d+) bytes", printed.read(), re.M)
        announced = re.search(r"parameters, (\d+) bytes for tensors(?: on a rank of stage 0)?((?:, \d+ of stage \d+)*)", said.read())
    announced = [announced[1], *re.findall(r", (\d+) of stage", announced[2])] if announced else []
    if not planned or planned != announced:
        raise CommandFailed(f"the compiler planned {', '.join(planned) or 'no'} bytes, the program announces {', '.join(announced) or 'none'}")


def compiler_in(build):
    """The compiler's path, or an error that says what to do."""
    compiler = os.path.join(os.path.abspath(build), "bin", "galvatron-compile")
    if not os.path.exists(compiler):
        raise Unreadable(f"no {compiler}: build it, or name the build folder with --build")
    return compiler
