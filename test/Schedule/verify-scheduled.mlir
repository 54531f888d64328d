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
