// RUN: galvatron-opt %s --nn-add-loss=loss=output:total | FileCheck %s

// The output that is the loss comes first, under the loss's name; the others follow.
// CHECK: func.func @forward(%{{.*}}) -> (tensor<f32> {nn.name = "loss"}, tensor<2xf32> {nn.name = "y"})
// CHECK: %[[R:.*]]:2 = call @model
// CHECK: return %[[R]]#1, %[[R]]#0
func.func private @model(%x: tensor<2xf32>) -> (tensor<2xf32>, tensor<f32>) {
  %s = nn.reduce sum %x [0] : tensor<2xf32> -> tensor<f32>
  return %x, %s : tensor<2xf32>, tensor<f32>
}
func.func @forward(%x: tensor<2xf32> {nn.name = "x"}) -> (tensor<2xf32> {nn.name = "y"}, tensor<f32> {nn.name = "total"}) {
  %r:2 = call @model(%x) : (tensor<2xf32>) -> (tensor<2xf32>, tensor<f32>)
  return %r#0, %r#1 : tensor<2xf32>, tensor<f32>
}
