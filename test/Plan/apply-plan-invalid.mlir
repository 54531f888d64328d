// RUN: galvatron-opt %s --dist-apply-plan=micro-batches=3 -split-input-file -verify-diagnostics
// RUN: not galvatron-opt %inputs/steps/chain.mlir --dist-apply-plan=micro-batches=0 2>&1 | FileCheck %s --check-prefix=ZERO
// ZERO: error: a step has at least 1 micro-batch, not 0
// RUN: not galvatron-opt %inputs/steps/chain.mlir --dist-apply-plan=ranks=0 2>&1 | FileCheck %s --check-prefix=NOBODY
// NOBODY: error: a step has 1 to 1048576 ranks, not 0
// RUN: not galvatron-opt %inputs/steps/chain.mlir --dist-apply-plan=ranks=3 2>&1 | FileCheck %s --check-prefix=THREE
// THREE: error: 3 ranks do not divide a batch of 4 rows; 1, 2 or 4 do
// RUN: not galvatron-opt %inputs/steps/chain.mlir --dist-apply-plan=ranks=8 2>&1 | FileCheck %s --check-prefix=EIGHT
// EIGHT: error: 8 ranks do not divide a batch of 4 rows; 1, 2 or 4 do, and more can share blocks (tensor parallelism) or be stages
// RUN: not galvatron-opt %inputs/steps/chain.mlir --dist-apply-plan="ranks=2 micro-batches=4" 2>&1 | FileCheck %s --check-prefix=FEW
// FEW: error: 4 micro-batches do not divide a batch of 2 rows on each rank; 1 or 2 do

// Stages, ranks that share a block, and the mesh.
// RUN: not galvatron-opt %inputs/steps/chain.mlir --dist-apply-plan="ranks=4 stages=3" 2>&1 | FileCheck %s --check-prefix=STAGES
// STAGES: error: 3 stages do not divide 4 ranks; 1, 2 or 4 do
// RUN: not galvatron-opt %inputs/steps/chain.mlir --dist-apply-plan="ranks=4 stages=2 tensor=4" 2>&1 | FileCheck %s --check-prefix=TENSOR
// TENSOR: error: 4 ranks cannot share each block where there are 2 in a stage; 1 or 2 can
// RUN: not galvatron-opt %inputs/steps/chain.mlir --dist-apply-plan="ranks=5 mesh=2x2" 2>&1 | FileCheck %s --check-prefix=FIVE
// FIVE: error: a mesh of 2x2 has 4 ranks, not 5
// RUN: not galvatron-opt %inputs/steps/chain.mlir --dist-apply-plan="mesh=2x1" 2>&1 | FileCheck %s --check-prefix=MESH
// MESH: error: "2x1" is no mesh: wanted sizes of at least 2 with a product of at most 1048576, like 2x2x3
// RUN: not galvatron-opt %inputs/steps/chain.mlir --dist-apply-plan="mesh=4x2 stages=2" 2>&1 | FileCheck %s --check-prefix=OUTER
// OUTER: error: stages take the outermost axes of the mesh: of 4x2 these have 1, 4 or 8 ranks, not 2
// RUN: not galvatron-opt %inputs/steps/chain.mlir --dist-apply-plan="mesh=2x4 tensor=2" 2>&1 | FileCheck %s --check-prefix=INNER
// INNER: error: ranks that share each block take the innermost axes of the mesh: of 2x4 these have 1, 4 or 8 ranks, not 2
// RUN: not galvatron-opt %inputs/steps/chain.mlir --dist-apply-plan="schedule=gpip" 2>&1 | FileCheck %s --check-prefix=ORDER
// ORDER: error: "gpip" is no schedule: wanted "1f1b" or "gpipe"; did you mean "gpipe"?
// RUN: not galvatron-opt %inputs/steps/chain.mlir --dist-apply-plan="ranks=4 stages=4" 2>&1 | FileCheck %s --check-prefix=MANY
// MANY: error: 4 stages need as many blocks; the model has 2

// expected-error@+1 {{3 micro-batches do not divide a batch of 8 rows; 1, 2, 4 or 8 do}}
module {
  func.func @step(%x: tensor<8x2xf32> {nn.name = "x"}) {
    return
  }
}

// -----

// The batch is that of the first input that has several rows; "hyper" is no input of the model.
// expected-error@+1 {{3 micro-batches do not divide a batch of 4 rows; 1, 2 or 4 do}}
module {
  func.func @step(%hyper: tensor<16xf32> {nn.name = "hyper"}, %scale: tensor<f32> {nn.name = "scale"}, %one: tensor<1x3xf32> {nn.name = "one"},
                  %x: tensor<4xf32> {nn.name = "x"}, %y: tensor<6xf32> {nn.name = "y"}) {
    return
  }
}

// -----

// expected-error@+1 {{is here already: the module has a plan}}
dist.mesh @mesh() micro_batches(2)
