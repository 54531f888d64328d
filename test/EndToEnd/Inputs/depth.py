"""Counts what two lowered modules are made of, one with more equal blocks than the other: depth.py FEW.mlir BLOCKS MANY.mlir BLOCKS"""
import pathlib
import re
import sys

few, fewer, many, more = pathlib.Path(sys.argv[1]).read_text(), int(sys.argv[2]), pathlib.Path(sys.argv[3]).read_text(), int(sys.argv[4])
names = lambda pattern, text: sorted(re.findall(pattern, text, re.M))

# Helpers and updates are named after shapes, everything else after its place: the same names are the same functions.
for what, pattern in (("functions", r"^ *llvm\.func @?(\S+?)\("), ("products", r"^ *(rt\.matmul_desc .*)$")):
    assert names(pattern, few), f"no {what} found"
    assert names(pattern, few) == names(pattern, many), f"{what} of one model only: {set(names(pattern, few)) ^ set(names(pattern, many))}"
assert few.count("llvm.br") == many.count("llvm.br") and few.count("llvm.call") == many.count("llvm.call"), "the functions differ"

for name in ("block0.forward", "block0.backward"):
    runs = [len(re.findall(r"rt\.run @" + re.escape(name) + r"[ .]", text)) for text in (few, many)]
    assert runs[0] and runs[0] * more == runs[1] * fewer, f"{name} runs {runs} times"
print(f"the same code: {len(names(r'^ *llvm.func', few))} functions, {few.count('rt.run')} rows in one, {many.count('rt.run')} in the other")
