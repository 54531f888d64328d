"""Checks files against a JSON schema, as far as docs/plan.schema.json uses the language: check-schema.py SCHEMA FILE..."""
import json
import re
import sys

KINDS = {"object": dict, "array": list, "integer": int, "string": str}
KNOWN = {"$schema", "$defs", "title", "description", "$ref", "type", "const", "enum", "anyOf", "minimum", "pattern", "items", "minItems",
         "required", "properties", "additionalProperties"}


def problems(value, schema, root, where="plan"):
    """What is wrong with a value, in words."""
    if schema is False:
        yield f"{where}: is not known"
        return
    assert schema.keys() <= KNOWN, schema.keys() - KNOWN
    if "$ref" in schema:
        yield from problems(value, root["$defs"][schema["$ref"].removeprefix("#/$defs/")], root, where)
    if "type" in schema and type(value) is not KINDS[schema["type"]]:
        yield f"{where}: is no {schema['type']}"
        return
    if "const" in schema and value != schema["const"] or "enum" in schema and value not in schema["enum"]:
        yield f"{where}: is not one of those there are"
    if "anyOf" in schema and all(list(problems(value, choice, root, where)) for choice in schema["anyOf"]):
        yield f"{where}: is none of the forms"
    if "minimum" in schema and value < schema["minimum"] or "pattern" in schema and not re.search(schema["pattern"], value):
        yield f"{where}: is out of range"
    if isinstance(value, list):
        if len(value) < schema.get("minItems", 0):
            yield f"{where}: is too short"
        for i, item in enumerate(value):
            yield from problems(item, schema.get("items", {}), root, f"{where}[{i}]")
    if isinstance(value, dict):
        yield from (f"{where}: has no '{key}'" for key in schema.get("required", []) if key not in value)
        for key, item in value.items():
            yield from problems(item, schema.get("properties", {}).get(key, schema.get("additionalProperties", {})), root, f"{where}.{key}")


root = json.load(open(sys.argv[1]))
count = 0
for path in sys.argv[2:]:
    for problem in problems(json.load(open(path)), root, root):
        count += 1
        print(f"{path}: {problem}")
sys.exit(1 if count else 0)
