"""Prints a JSON file with changes: edit.py FILE key/key=VALUE ... sets what is there, or adds it; VALUE is JSON; key/key- takes it out."""
import json
import sys

with open(sys.argv[1]) as f:
    root = json.load(f)
for change in sys.argv[2:]:
    path, equals, value = change.partition("=")
    *keys, last = path.removesuffix("" if equals else "-").split("/")
    place = root
    for key in keys:
        place = place[key]
    if equals:
        place[last] = json.loads(value)
    else:
        del place[last]
print(json.dumps(root, indent=4))
