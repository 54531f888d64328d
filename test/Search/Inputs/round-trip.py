"""Reads every published plan under a folder, writes it back, and compares what both say: round-trip.py INPUTS FOLDER"""
import json
import pathlib
import subprocess
import sys

inputs, work = map(pathlib.Path, sys.argv[1:3])
work.mkdir(parents=True, exist_ok=True)


def meaning(config):
    """All that a file says, with what it leaves out, and without what has no effect."""
    layers = len(config["tp_sizes_enc"].split(","))
    listed = lambda key, default: [int(n) for n in config[key].split(",")] if key in config else [default] * layers
    stages = config["pp_deg"]
    even = [layers // stages] * (stages - 1) + [layers - layers // stages * (stages - 1)]
    shared, sequence = listed("tp_sizes_enc", 1), listed("use_sp", 0)
    return {
        "stages": [int(n) for n in config["pp_division"].split(",")] if "pp_division" in config else even,
        "shared": shared, "sequence": [s for n, s in zip(shared, sequence) if n > 1],
        # Of one rank, or of all of a stage, both are the same.
        "consecutive": [c for n, c in zip(shared, listed("tp_consecutive_flags", 1)) if 1 < n],
        "types": listed("dp_types_enc", 0), "checkpoint": listed("checkpoint", 0), "context": listed("cp_sizes_enc", 1),
        "batch": config["global_bsz"], "chunks": config["chunks"], "order": config.get("pipeline_type", "pipedream_flush"),
        "default": config.get("default_dp_type", "ddp") if not all(listed("dp_types_enc", 0)) else None,
        "ends": [config.get("vtp", 1), config.get("vsp", 0) if config.get("vtp", 1) > 1 else 0, config.get("vcp", 1), config.get("embed_sdp", 0) | config.get("vocab_sdp", 0)],
    }


count = 0
for path in sorted(inputs.rglob("galvatron_config_*.json")):
    plan, back = work / "plan.json", work / "back.json"
    subprocess.run(["galvatron-translate", "--import-galvatron-plan", str(path), "-o", str(plan)], check=True)
    subprocess.run(["galvatron-translate", "--export-galvatron-plan", str(plan), "-o", str(back)], check=True)
    first, second = meaning(json.loads(path.read_text())), meaning(json.loads(back.read_text()))
    for key in first:
        if first[key] != second[key]:
            print(f"{path.name}: {key}: {first[key]} became {second[key]}")
            break
    else:
        count += 1
print(count, "plans are the same again")
