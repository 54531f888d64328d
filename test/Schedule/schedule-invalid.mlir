// RUN: galvatron-opt %s --pipe-schedule -split-input-file -verify-diagnostics

// expected-error@+1 {{module has 0 meshes; exactly one is needed (--dist-apply-plan adds it)}}
module {
}

// -----

dist.mesh @mesh() micro_batches(1)
func.func private @f() {
  return
}
func.func @step(%x: tensor<f32>) {
  // expected-error@+1 {{has no phase or number (--pipe-split adds them)}}
  call @f() : () -> ()
  // expected-error@+1 {{cannot be a row of a table (--pipe-split moves arithmetic into functions)}}
  %0 = nn.exp %x : tensor<f32>
  // expected-error@+1 {{cannot be a row of a table (--pipe-split moves arithmetic into functions)}}
  %1 = nn.add %x, %x : tensor<f32>
  return
}
