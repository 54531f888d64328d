"""What a program allocated against what was printed: memory.py STEM, where the test has left STEM.printed (by the compiler), STEM.out and STEM.err (by the
program), STEM.summary (by the preloaded library)."""
import pathlib
import re
import resource
import sys

stem = sys.argv[1]
read = lambda suffix: pathlib.Path(stem + suffix).read_text()
page, spare = resource.getpagesize(), 64 << 20

printed = int(re.search(r"^memory: (\d+) bytes", read(".printed"), re.M).group(1))
announced = int(re.search(r", (\d+) bytes for tensors", read(".out")).group(1))
assert announced == printed, f"the program says {announced} bytes, the compiler {printed}"

mapped = [tuple(map(int, pair)) for pair in re.findall(r"^mapped (\d+) resident-before (\d+)$", read(".summary"), re.M)]
arenas = [m for m in mapped if m[0] == (printed + page - 1) // page * page]
assert len(arenas) == 1, f"no single mapping of {printed} bytes: {mapped}"
others = sum(size for size, _ in mapped) - arenas[0][0] + int(re.search(r"^allocated (\d+)$", read(".summary"), re.M).group(1))
assert others < spare, f"{others} bytes in other allocations: {mapped}"

assert "allocations:" not in read(".err"), read(".err")

peak = int(re.search(r"^peak (\d+)$", read(".summary"), re.M).group(1))
before = arenas[0][1]
assert peak <= before + printed + spare, f"{peak} bytes were resident, {before} of them before the arena of {printed}"
shown = re.search(r"^peak memory (\d+) bytes, of which (\d+) are tensors$", read(".out"), re.M)
assert shown and int(shown.group(2)) == printed and abs(int(shown.group(1)) - peak) < spare, read(".out")
print(f"one arena as printed, nothing after the first step; {peak - before - printed >> 10} KiB besides, {others >> 10} KiB of them large")
