"""What the check-* scripts share: reading what programs write, and running compiler and programs. Needs numpy alone."""
import json
import os
import struct
import subprocess

import numpy as np

DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1", "U8": "u1", "BOOL": "?"}
# Open MPI would bind one or two ranks to a core each, and the program's threads with them.
MPIRUN = "mpirun --bind-to none -n 1"


class Unreadable(Exception):
    pass


class CommandFailed(Exception):
    pass


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
                result[name] = np.frombuffer(content[begin:end], DTYPES[entry["dtype"]]).reshape(entry["shape"])
        return result
    except (OSError, ValueError, KeyError, TypeError, struct.error) as error:
        raise Unreadable(f"{path}: not a readable safetensors file: {error}") from error


def read_log(path):
    """The log's steps; evaluation rows have an eval_loss instead of a loss."""
    try:
        with open(path) as f:
            rows = [json.loads(line) for line in f if line.strip()]
    except (OSError, ValueError) as error:
        raise Unreadable(f"{path}: not a readable log: {error}") from error
    return [row for row in rows if "loss" in row]


def run(command, timeout, log):
    """Runs a command, its output to a file; raises CommandFailed with the end of that output when it fails."""
    environment = dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
    with open(log, "w") as out:
        try:
            code = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, timeout=timeout, env=environment).returncode
        except subprocess.TimeoutExpired:
            raise CommandFailed(f"still running after {timeout} s: {' '.join(command)}") from None
        except OSError as error:
            raise CommandFailed(f"{command[0]}: {error.strerror}") from None
    if code:
        with open(log, errors="replace") as f:
            tail = "".join(f.readlines()[-8:]).rstrip()
        raise CommandFailed(f"exit code {code} of {' '.join(command)}\n{tail}".replace("\n", "\n      "))


def compiler_in(build):
    """The compiler's path, or an error that says what to do."""
    compiler = os.path.join(os.path.abspath(build), "bin", "galvatron-compile")
    if not os.path.exists(compiler):
        raise Unreadable(f"no {compiler}: build it, or name the build folder with --build")
    return compiler
