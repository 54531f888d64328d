"""How much of the time that collectives take a program hides behind its work: overlap.py make DIR WORDS ROWS LENGTH | overlap.py run PROGRAM DIR

A first run says how long a block's backward takes. In the second each collective takes that much longer: what the step then waits, of what it would wait for one
collective after the other, is what it does not hide."""
import pathlib
import random
import re
import subprocess
import sys

import linear

STEPS = 10


def make(folder, words, rows, length):
    rng = random.Random(0)
    shape = (STEPS, rows, length)
    for name in ("input_ids", "labels"):
        linear.write_npy(folder / f"{name}.npy", "q", "<i8", shape, [rng.randrange(words) for _ in range(STEPS * rows * length)])


def profile(program, data, *flags):
    """Milliseconds and calls, by what was done, of all steps."""
    command = [program, "--ranks-as-threads", f"--data={data}", "--lr=0", "--profile", *flags]
    text = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return {name: (float(ms), int(calls)) for ms, calls, name in re.findall(r"^ *([\d.]+) +[\d.]+ +(\d+)  (.+)$", text, re.M)}


def run(program, data):
    backward, blocks = profile(program, data)["block0.backward"]
    delay = backward / blocks
    waited, count = next(spent for name, spent in profile(program, data, f"--collective-delay={delay}").items() if name.startswith("(waiting for collectives"))
    hidden = 1 - waited / (count * delay)
    print(f"{count // STEPS} collectives a step, each {delay:.2f} ms longer: {hidden:.0%} hidden", file=sys.stderr)
    print("at least 80 % hidden" if hidden >= 0.8 else f"{hidden:.0%} hidden")


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(pathlib.Path(sys.argv[2]), *map(int, sys.argv[3:]))
    else:
        run(*sys.argv[2:])
