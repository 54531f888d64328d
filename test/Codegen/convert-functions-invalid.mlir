// RUN: galvatron-opt %s -rt-convert-functions -split-input-file -verify-diagnostics

func.func private @k(tensor<4xf32>) -> tensor<4xf32> attributes {rt.kernel}
func.func private @f(%x: !rt.buffer<4xf32>, %y: !rt.buffer<4xf32>) attributes {rt.outs = 1 : i64} {
  // expected-error@+1 {{kernel @k does not say its rows yet; run --rt-lower-kernels first}}
  rt.parallel_for @k ins(%x : !rt.buffer<4xf32>) outs(%y : !rt.buffer<4xf32>)
  return
}

// -----

func.func private @f(%y: !rt.buffer<4xf32>) attributes {rt.outs = 1 : i64} {
  // expected-error@+1 {{has no place in the frame; run --rt-plan-memory first}}
  %t = rt.temporary : <4xf32>
  rt.copy %t to %y : <4xf32> to <4xf32>
  return
}

// -----

func.func private @f(%y: !rt.buffer<4xf32>) attributes {rt.outs = 1 : i64} {
  // expected-error@+1 {{has no call of the runtime}}
  %t = nn.constant dense<1.0> : tensor<4xf32>
  return
}
