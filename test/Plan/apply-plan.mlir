// Blocks belong to a micro-batch; what is prepared from the inputs, and updates, run once a step and get no strategy.
// RUN: galvatron-opt %inputs/steps/chain.mlir --dist-apply-plan=micro-batches=2 --verify-planned | FileCheck %s

// One micro-batch is a plan as well.
// RUN: galvatron-opt %inputs/steps/chain.mlir --dist-apply-plan --verify-planned | FileCheck %s --check-prefix=ONE
// ONE: dist.mesh @mesh() micro_batches(1)

// CHECK: dist.mesh @mesh() micro_batches(2)
// CHECK: dist.strategy @s0 on @mesh {batch = ["time"]}

// CHECK-LABEL: func.func @step
// CHECK: call @prepare({{.*}}) {dist.stage = 0 : i64}
// CHECK: nn.forward @prologue({{.*}}) {dist.stage = 0 : i64, dist.strategy = @s0}
// CHECK-COUNT-2: nn.forward @block({{.*}}) {dist.stage = 0 : i64, dist.strategy = @s0}
// CHECK: nn.backward @epilogue {{.*}} {dist.stage = 0 : i64, dist.strategy = @s0}
// CHECK: call @norm({{.*}}) {dist.stage = 0 : i64}
// CHECK: call @update_5x4({{.*}}) {dist.stage = 0 : i64}

// CHECK-LABEL: func.func @infer
// CHECK: call @prepare({{.*}}) {dist.stage = 0 : i64}
// CHECK: nn.forward @block({{.*}}) {dist.stage = 0 : i64, dist.strategy = @s0}

// Ranks are an axis for each prime factor of their number, the largest first; rows are split over micro-batches, then over ranks.
// RUN: galvatron-opt %inputs/steps/chain.mlir --dist-apply-plan="ranks=4 micro-batches=1" --verify-planned | FileCheck %s --check-prefix=RANKS
// RANKS: dist.mesh @mesh("a" = 2, "b" = 2) micro_batches(1)
// RANKS: dist.strategy @s0 on @mesh {batch = ["time", "a", "b"]}
