// RUN: galvatron-opt %s -rt-plan-memory -split-input-file -verify-diagnostics

// expected-error@+1 {{has cpu "vax", expected native, x86-64-v3 or x86-64-v4}}
rt.program @program threads 1 cpu "vax" optimizer "none" micro_batches 1 {
}

// -----

rt.program @program threads 1 cpu "x86-64-v3" optimizer "none" micro_batches 1 {
}
// All of them are named at once.
// expected-error@+1 {{is refused by the library: the matmul writes several elements to one place}}
rt.matmul_desc @m0 batch [] m 2 n 3 k 4 lhs [] [4, 1] rhs [] [3, 1] out [] [0, 1]
// expected-error@+1 {{is refused by the library: the convolution has result size 5 in spatial dimension 0, wanted 4}}
rt.conv_desc @c0 forward batch 8 channels 3 to 16 groups 1 src [16] kernel [4] dst [5] strides [4] dilations [1] pads [0] [0]
