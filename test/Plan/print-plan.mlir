// What a plan means, for people: galvatron-compile --explain-plan prints the same.
// RUN: galvatron-opt %inputs/steps/chain.mlir --dist-apply-plan="ranks=4 micro-batches=1" --dist-print-plan -o /dev/null | FileCheck %s --check-prefix=DATA --match-full-lines

// DATA: plan: 4 ranks, mesh 2x2 ("a" = 2, "b" = 2; slowest link first)
// DATA-NEXT: batch: 4 rows in 1 micro-batch of 4
// DATA: embedding (@prologue): dp 4 over "a", "b", tp 1
// DATA-NEXT: 4 rows of a micro-batch: 1 on each of 4 over "a", "b"
// DATA: block 0 to block 1 (@block): dp 4 over "a", "b", tp 1
// DATA: head (@epilogue): dp 4 over "a", "b", tp 1
// DATA: rows of micro-batch 0
// DATA-NEXT: rank 0 (a 0, b 0): 0
// DATA-NEXT: rank 1 (a 0, b 1): 1
// DATA-NEXT: rank 2 (a 1, b 0): 2
// DATA: parameters of each rank
// DATA-NEXT: wte: 5x4, 80 bytes
// DATA: all: 208 bytes of 208
// DATA: ops of @block
// DATA: select: select of 4x3x4, 4x3x4, 4x3x4

// A strategy for each block: what heads and hidden units each rank has, and which ops are told apart.
// RUN: split-file %s %t
// RUN: galvatron-compile %inputs/llama/model.onnx --shapes=input_ids:8x32 --loss=cross-entropy:logits --plan=%t/plan.json --explain-plan --emit=planned -o %t/planned.mlir 2>/dev/null | FileCheck %s
// RUN: galvatron-compile %t/planned.mlir --explain-plan --emit=planned -o /dev/null | FileCheck %s
// RUN: not galvatron-compile %t/planned.mlir --save-plan=%t/again.json -o %t/program 2>&1 | FileCheck %s --check-prefix=LATE
// LATE: error: --save-plan does not apply: '{{.*}}planned.mlir' is at the stage 'planned', where that is decided

// Each rank has the blocks of its stage.
// RUN: galvatron-compile %inputs/llama/model.onnx --shapes=input_ids:8x32 --loss=cross-entropy:logits --plan=%t/stages.json --explain-plan --emit=planned -o %t/stages.mlir 2>/dev/null | FileCheck %s --check-prefix=STAGES
// STAGES: rank 0 (a 0, b 0, c 0): 0 (embedding, block 0); 0 to 1 (block 1){{$}}
// STAGES: rank 4 (a 1, b 0, c 0): 0{{$}}
// STAGES-NEXT: rank 5 (a 1, b 0, c 1): 1{{$}}

// CHECK: plan: 4 ranks, mesh 2x2 ("a" = 2, "b" = 2; slowest link first)
// CHECK-NEXT: batch: 8 rows in 2 micro-batches of 4
// CHECK: embedding (@prologue): dp 4 over "a", "b", tp 1
// CHECK: block 0 to block 2 (@block0): dp 1, tp 4 over "a", "b"
// CHECK-NEXT: 4 rows of a micro-batch: 4 on each of 1
// CHECK-NEXT: 2 kv heads: 1 on each of 2 over "a"; in model.layers.0.self_attn.q_proj.weight dim 1, model.layers.0.self_attn.k_proj.weight dim 1
// CHECK-NEXT: 2 query heads of each kv head: 1 on each of 2 over "b"; in model.layers.0.self_attn.q_proj.weight dim 2
// CHECK-NEXT: 40 hidden units: 10 on each of 4 over "a", "b"; in model.layers.0.mlp.gate_proj.weight dim 1
// CHECK: block 3 (@block0): dp 2 over "a", tp 2 over "b"
// CHECK: op "mlp.down_proj.weight": whole
// CHECK: op "self_attn.o_proj.weight": operand 1, dim 3 by 2 over "b"
// CHECK: rows of micro-batch 0 (in micro-batch m: 4 m more)
// CHECK-NEXT: rank 0 (a 0, b 0): 0 (embedding); 0 to 3 (block 0 to block 2); 0 to 1 (block 3, head)
// CHECK-NEXT: rank 1 (a 0, b 1): 1 (embedding); 0 to 3 (block 0 to block 2); 0 to 1 (block 3, head)
// CHECK-NEXT: rank 2 (a 1, b 0): 2 (embedding); 0 to 3 (block 0 to block 2); 2 to 3 (block 3, head)
// CHECK: parameters of each rank
// CHECK: model.layers.0.self_attn.q_proj.weight: 16x1x1x4 of 16x2x2x4, dim 1 by 2 over "a"; dim 2 by 2 over "b", 256 bytes
// CHECK: model.layers.3.self_attn.o_proj.weight: 2x2x4x8 of 2x2x4x16, dim 3 by 2 over "b", 512 bytes
// CHECK: model.layers.3.mlp.down_proj.weight: 40x16, 2560 bytes
// CHECK: ops of @block0
// CHECK: mlp.down_proj.weight: contract of 8x32x40, 40x16

// Each rank holds what was said.
// RUN: galvatron-compile %t/planned.mlir --emit=partitioned | FileCheck %s --check-prefix=PIECES
// PIECES-DAG: nn.parameter @model.layers.0.self_attn.q_proj.weight trainable : tensor<16x1x1x4xf32>
// PIECES-DAG: nn.parameter @model.layers.3.self_attn.o_proj.weight trainable : tensor<2x2x4x8xf32>
// PIECES-DAG: nn.parameter @model.layers.3.mlp.down_proj.weight trainable : tensor<40x16xf32>
// PIECES-DAG: nn.parameter @model.layers.3.mlp.up_proj.weight trainable : tensor<16x20xf32>

//--- stages.json
{"version": 1, "mesh": [2, 2, 2], "stages": 2, "micro_batches": 2,
 "blocks": [{"dp": ["b", "c"]}, {"dp": ["b"], "tp": ["c"]}, {"count": 2, "dp": ["b", "c"]}]}

//--- plan.json
{"version": 1, "mesh": [2, 2], "micro_batches": 2, "embedding": {"dp": ["a", "b"]},
 "blocks": [{"count": 3, "tp": ["a", "b"]},
            {"dp": ["a"], "tp": ["b"], "ops": {"mlp.down_proj.weight": [], "self_attn.o_proj.weight": [{"operand": 1, "dim": 3, "axes": ["b"]}]}}],
 "head": {"dp": ["a"], "tp": ["b"]}}
