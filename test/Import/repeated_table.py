"""A model, as protobuf text, that adds a table of argv[1] equal rows of argv[2] numbers each to its input."""
import struct
import sys

rows, width = int(sys.argv[1]), int(sys.argv[2])
data = "".join(f"\\{byte:03o}" for byte in struct.pack(f"<{width}f", *range(width)) * rows)
tensor = f"tensor_type {{ elem_type: 1 shape {{ dim {{ dim_value: {rows} }} dim {{ dim_value: {width} }} }} }}"
print(f"""ir_version: 10 opset_import {{ version: 20 }}
metadata_props {{ key: "pkg.torch.export.ExportedProgram.graph_signature" value: "none" }}
graph {{
  name: "g"
  initializer {{ name: "table" data_type: 1 dims: {rows} dims: {width} raw_data: "{data}" }}
  initializer {{ name: "w" data_type: 1 dims: {width} dims: 2 raw_data: "{'0' * (8 * width)}" }}
  value_info {{ name: "w" metadata_props {{ key: "pkg.torch.export.graph_signature.InputSpec.kind" value: "PARAMETER" }} }}
  value_info {{ name: "table" metadata_props {{ key: "pkg.torch.export.graph_signature.InputSpec.kind" value: "BUFFER" }} }}
  input {{ name: "x" type {{ {tensor} }} }}
  output {{ name: "y" type {{ tensor_type {{ elem_type: 1 shape {{ dim {{ dim_value: {rows} }} dim {{ dim_value: 2 }} }} }} }} }}
  node {{ op_type: "Add" input: "x" input: "table" output: "sum" }}
  node {{ op_type: "MatMul" input: "sum" input: "w" output: "y" }}
}}""")
