// RUN: galvatron-opt %s --dist-apply-plan=micro-batches=3 -split-input-file -verify-diagnostics
// RUN: not galvatron-opt %inputs/steps/chain.mlir --dist-apply-plan=micro-batches=0 2>&1 | FileCheck %s --check-prefix=ZERO
// ZERO: error: a step has at least 1 micro-batch, not 0

// expected-error@+1 {{3 micro-batches do not divide a batch of 8 rows; 1, 2, 4 or 8 do}}
module {
  func.func @step(%x: tensor<8x2xf32> {nn.name = "x"}) {
    return
  }
}

// -----

// "hyper" is no input of the model; all others share the batch.
func.func @step(%x: tensor<8x2xf32> {nn.name = "x"},
                // expected-error@+1 {{input "y" has 4 rows and input "x" has 8; the first dimension of every input is the batch}}
                %y: tensor<4xf32> {nn.name = "y"},
                // expected-error@+1 {{input "scale" is a scalar: it has no batch dimension to split}}
                %scale: tensor<f32> {nn.name = "scale"},
                %hyper: tensor<16xf32> {nn.name = "hyper"}) {
  return
}

// -----

// expected-error@+1 {{is here already: the module has a plan}}
dist.mesh @mesh() micro_batches(2)
