// RUN: galvatron-opt %s -pass-pipeline='builtin.module(func.func(rt-insert-checks))' | FileCheck %s

// Nothing here reads where data says.
// CHECK-LABEL: @no_ids
// CHECK-NOT: rt.check_range
func.func @no_ids(%x: tensor<8xf32>) -> tensor<8xf32> {
  %y = nn.exp %x : tensor<8xf32>
  return %y : tensor<8xf32>
}

// Two tables of one size need one check of the same ids.
// CHECK-LABEL: @embeddings
// CHECK-SAME: %[[IDS:.*]]: tensor<8xi64>
// CHECK: rt.check_range %[[IDS]] in[0, 211) "the ids of an embedding" : tensor<8xi64>
// CHECK-NEXT: nn.embedding
// CHECK-NEXT: nn.embedding
// CHECK-NEXT: rt.check_range %[[IDS]] in[0, 5)
// CHECK-NEXT: nn.embedding
func.func @embeddings(%ids: tensor<8xi64>, %a: tensor<211x4xf32>, %b: tensor<5x4xf32>)
    -> (tensor<8x4xf32>, tensor<8x4xf32>, tensor<8x4xf32>) {
  %x = nn.embedding %a, %ids : (tensor<211x4xf32>, tensor<8xi64>) -> tensor<8x4xf32>
  %y = nn.embedding %a, %ids : (tensor<211x4xf32>, tensor<8xi64>) -> tensor<8x4xf32>
  %z = nn.embedding %b, %ids : (tensor<5x4xf32>, tensor<8xi64>) -> tensor<8x4xf32>
  return %x, %y, %z : tensor<8x4xf32>, tensor<8x4xf32>, tensor<8x4xf32>
}

// Positions that are counted up are in range or the model is wrong, whatever the data.
// CHECK-LABEL: @positions
// CHECK-NOT: rt.check_range
func.func @positions(%a: tensor<32x4xf32>) -> tensor<8x4xf32> {
  %ids = nn.iota 0 : tensor<8xi64>
  %x = nn.embedding %a, %ids : (tensor<32x4xf32>, tensor<8xi64>) -> tensor<8x4xf32>
  return %x : tensor<8x4xf32>
}

// A label may be the one that is not counted.
// CHECK-LABEL: @labels
// CHECK: rt.check_range %{{.*}} in[0, 10) or -100 "labels"
func.func @labels(%logits: tensor<8x10xf32>, %labels: tensor<8xi64>) -> tensor<8xf32> {
  %x, %s = nn.cross_entropy %logits, %labels ignore -100 : tensor<8x10xf32>, tensor<8xi64>
  return %x : tensor<8xf32>
}

// CHECK-LABEL: @gathered
// CHECK: rt.check_range %{{.*}} in[0, 10) "gathered indices"
func.func @gathered(%x: tensor<8x10xf32>, %i: tensor<8x1xi64>) -> tensor<8x1xf32> {
  %y = nn.take_along %x, %i 1 : (tensor<8x10xf32>, tensor<8x1xi64>) -> tensor<8x1xf32>
  return %y : tensor<8x1xf32>
}

// What is split says where it is in range; it is ids as they are, and a lookup in rows with numbers asks nothing more.
// CHECK-LABEL: @piece
// CHECK-SAME: %[[IDS:[a-z0-9]+]]: tensor<8xi64>,
// CHECK: rt.check_range %[[IDS]] in[0, 64) "the ids of an embedding"
// CHECK-NOT: rt.check_range
// CHECK: nn.embedding %{{.*}}, %[[IDS]] rows
func.func @piece(%a: tensor<32x4xf32>, %ids: tensor<8xi64>, %rows: tensor<32xi64>) -> tensor<8x4xf32> {
  %checked = nn.in_range %ids below 64 "the ids of an embedding" : tensor<8xi64>
  %x = nn.embedding %a, %checked rows %rows : tensor<32xi64> : (tensor<32x4xf32>, tensor<8xi64>) -> tensor<8x4xf32>
  return %x : tensor<8x4xf32>
}
