// RUN: galvatron-opt %s --verify-scheduled -split-input-file -verify-diagnostics

// expected-error@+1 {{module has no pipe.table after scheduling}}
module {
  // expected-error@+1 {{is left after scheduling}}
  func.func @step() {
    return
  }
}

// -----

// expected-error@+1 {{is run by a table and has no body}}
func.func private @f()
pipe.table @train stage(0) micro_batches(1) {
  pipe.run @f() forward(0) micro_batch(0) : () -> ()
}

// -----

dist.mesh @mesh() micro_batches(2)
func.func private @f(%x: tensor<f32>) -> tensor<f32> {
  // expected-error@+1 {{is in a function that a table runs: functions hold no collective}}
  %0 = dist.all_reduce sum %x over @mesh ["time"] : tensor<f32>
  return %0 : tensor<f32>
}
pipe.table @train stage(0) micro_batches(1) {
}
