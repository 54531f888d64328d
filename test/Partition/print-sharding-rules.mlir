// RUN: galvatron-opt %s --dist-print-sharding-rules -verify-diagnostics

func.func @rules(%x: tensor<8x4xf32>, %w: tensor<4x16xf32>) {
  // expected-remark@+1 {{([a b], [b c]) -> ([a c]) {a=8, b=4 sum, c=16} linear in #0 | #1}}
  %0 = nn.contract %x, %w "ab,bc->ac" : (tensor<8x4xf32>, tensor<4x16xf32>) -> tensor<8x16xf32>
  // expected-remark@+1 {{([a b]) -> ([a b]) {a=8, b=16 whole}}}
  %1 = nn.softmax %0 1 : tensor<8x16xf32>
  return
}
