// RUN: galvatron-opt %s --dist-apply-plan=micro-batches=3 -split-input-file -verify-diagnostics
// RUN: not galvatron-opt %inputs/steps/chain.mlir --dist-apply-plan=micro-batches=0 2>&1 | FileCheck %s --check-prefix=ZERO
// ZERO: error: a step has at least 1 micro-batch, not 0
// RUN: not galvatron-opt %inputs/steps/chain.mlir --dist-apply-plan=ranks=0 2>&1 | FileCheck %s --check-prefix=NOBODY
// NOBODY: error: a step has at least 1 rank, not 0
// RUN: not galvatron-opt %inputs/steps/chain.mlir --dist-apply-plan=ranks=3 2>&1 | FileCheck %s --check-prefix=THREE
// THREE: error: 3 ranks do not divide a batch of 4 rows; 1, 2 or 4 do
// RUN: not galvatron-opt %inputs/steps/chain.mlir --dist-apply-plan="ranks=2 micro-batches=4" 2>&1 | FileCheck %s --check-prefix=FEW
// FEW: error: 4 micro-batches do not divide a batch of 2 rows on each rank; 1 or 2 do
// RUN: not galvatron-opt %inputs/steps/chain.mlir --dist-apply-plan="ranks=6 stages=4" 2>&1 | FileCheck %s --check-prefix=STAGES
// STAGES: error: 6 ranks cannot be 4 stages; 1, 2, 3 or 6 they can
// RUN: not galvatron-opt %inputs/steps/chain.mlir --dist-apply-plan="ranks=4 stages=2 tensor=4" 2>&1 | FileCheck %s --check-prefix=SHARE
// SHARE: error: 4 ranks cannot share each block where there are 2 in a stage; 1 or 2 can
// RUN: not galvatron-opt %inputs/steps/chain.mlir --dist-apply-plan="ranks=4 stages=4" 2>&1 | FileCheck %s --check-prefix=BLOCKS
// BLOCKS: error: 4 stages need as many blocks, and the model repeats 2

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
