// RUN: galvatron-opt %s --nn-raise-activations | FileCheck %s

// Nothing to recognise: a sum stays a sum.
// CHECK-LABEL: func @nothing
// CHECK-NEXT: %[[S:.*]] = nn.add %arg0, %arg0
// CHECK-NEXT: return %[[S]]
func.func @nothing(%x: tensor<4x8xf32>) -> tensor<4x8xf32> {
  %s = nn.add %x, %x : tensor<4x8xf32>
  return %s : tensor<4x8xf32>
}

// CHECK-LABEL: func @silu
// CHECK: %[[Y:.*]] = nn.silu %arg0
// CHECK: return %[[Y]]
func.func @silu(%x: tensor<4x8xf32>) -> tensor<4x8xf32> {
  %s = nn.sigmoid %x : tensor<4x8xf32>
  %y = nn.mul %x, %s : tensor<4x8xf32>
  return %y : tensor<4x8xf32>
}

// The argument of the sigmoid is another value.
// CHECK-LABEL: func @gate
// CHECK-NOT: nn.silu
// CHECK: return
func.func @gate(%x: tensor<4x8xf32>, %z: tensor<4x8xf32>) -> tensor<4x8xf32> {
  %s = nn.sigmoid %z : tensor<4x8xf32>
  %y = nn.mul %x, %s : tensor<4x8xf32>
  return %y : tensor<4x8xf32>
}

// As GPT-2 exports it: a power of 3, and the half at the front.
// CHECK-LABEL: func @gelu_tanh_pow
// CHECK: %[[Y:.*]] = nn.gelu %arg0 tanh
// CHECK: return %[[Y]]
func.func @gelu_tanh_pow(%x: tensor<4x8xf32>) -> tensor<4x8xf32> {
  %half = nn.constant dense<5.0e-1> : tensor<4x8xf32>
  %three = nn.constant dense<3.0> : tensor<4x8xf32>
  %a = nn.constant dense<0.044714998453855515> : tensor<4x8xf32>
  %b = nn.constant dense<0.7978845834732056> : tensor<4x8xf32>
  %one = nn.constant dense<1.0> : tensor<4x8xf32>
  %h = nn.mul %x, %half : tensor<4x8xf32>
  %c = nn.pow %x, %three : tensor<4x8xf32>
  %ac = nn.mul %c, %a : tensor<4x8xf32>
  %s = nn.add %x, %ac : tensor<4x8xf32>
  %u = nn.mul %s, %b : tensor<4x8xf32>
  %t = nn.tanh %u : tensor<4x8xf32>
  %p = nn.add %t, %one : tensor<4x8xf32>
  %y = nn.mul %h, %p : tensor<4x8xf32>
  return %y : tensor<4x8xf32>
}

// As Bloom exports it: products for powers, and the half last.
// CHECK-LABEL: func @gelu_tanh_products
// CHECK: %[[X:.*]] = nn.add %arg0, %arg1
// CHECK: %[[Y:.*]] = nn.gelu %[[X]] tanh
// CHECK: return %[[Y]]
func.func @gelu_tanh_products(%v: tensor<4x8xf32>, %bias: tensor<4x8xf32>) -> tensor<4x8xf32> {
  %half = nn.constant dense<5.0e-1> : tensor<4x8xf32>
  %a = nn.constant dense<0.044715> : tensor<4x8xf32>
  %b = nn.constant dense<0.79788456> : tensor<4x8xf32>
  %one = nn.constant dense<1.0> : tensor<4x8xf32>
  %x = nn.add %v, %bias : tensor<4x8xf32>
  %bx = nn.mul %b, %x : tensor<4x8xf32>
  %ax = nn.mul %a, %x : tensor<4x8xf32>
  %axx = nn.mul %ax, %x : tensor<4x8xf32>
  %q = nn.add %one, %axx : tensor<4x8xf32>
  %u = nn.mul %bx, %q : tensor<4x8xf32>
  %t = nn.tanh %u : tensor<4x8xf32>
  %p = nn.add %one, %t : tensor<4x8xf32>
  %xp = nn.mul %x, %p : tensor<4x8xf32>
  %y = nn.mul %xp, %half : tensor<4x8xf32>
  return %y : tensor<4x8xf32>
}

// The cubic coefficient is another one.
// CHECK-LABEL: func @not_gelu_tanh
// CHECK-NOT: nn.gelu
// CHECK: return
func.func @not_gelu_tanh(%x: tensor<4x8xf32>) -> tensor<4x8xf32> {
  %half = nn.constant dense<5.0e-1> : tensor<4x8xf32>
  %three = nn.constant dense<3.0> : tensor<4x8xf32>
  %a = nn.constant dense<0.05> : tensor<4x8xf32>
  %b = nn.constant dense<0.7978845834732056> : tensor<4x8xf32>
  %one = nn.constant dense<1.0> : tensor<4x8xf32>
  %h = nn.mul %x, %half : tensor<4x8xf32>
  %c = nn.pow %x, %three : tensor<4x8xf32>
  %ac = nn.mul %c, %a : tensor<4x8xf32>
  %s = nn.add %x, %ac : tensor<4x8xf32>
  %u = nn.mul %s, %b : tensor<4x8xf32>
  %t = nn.tanh %u : tensor<4x8xf32>
  %p = nn.add %t, %one : tensor<4x8xf32>
  %y = nn.mul %h, %p : tensor<4x8xf32>
  return %y : tensor<4x8xf32>
}

// CHECK-LABEL: func @gelu_erf
// CHECK: %[[Y:.*]] = nn.gelu %arg0 erf
// CHECK: return %[[Y]]
func.func @gelu_erf(%x: tensor<4x8xf32>) -> tensor<4x8xf32> {
  %half = nn.constant dense<5.0e-1> : tensor<4x8xf32>
  %root = nn.constant dense<1.4142135> : tensor<4x8xf32>
  %one = nn.constant dense<1.0> : tensor<4x8xf32>
  %u = nn.div %x, %root : tensor<4x8xf32>
  %t = nn.erf %u : tensor<4x8xf32>
  %p = nn.add %t, %one : tensor<4x8xf32>
  %xp = nn.mul %x, %p : tensor<4x8xf32>
  %y = nn.mul %xp, %half : tensor<4x8xf32>
  return %y : tensor<4x8xf32>
}

// Without the half it is twice that.
// CHECK-LABEL: func @not_gelu_erf
// CHECK-NOT: nn.gelu
// CHECK: return
func.func @not_gelu_erf(%x: tensor<4x8xf32>) -> tensor<4x8xf32> {
  %root = nn.constant dense<1.4142135> : tensor<4x8xf32>
  %one = nn.constant dense<1.0> : tensor<4x8xf32>
  %u = nn.div %x, %root : tensor<4x8xf32>
  %t = nn.erf %u : tensor<4x8xf32>
  %p = nn.add %t, %one : tensor<4x8xf32>
  %xp = nn.mul %x, %p : tensor<4x8xf32>
  return %xp : tensor<4x8xf32>
}

// CHECK-LABEL: func @roots
// CHECK: nn.rsqrt %arg0
// CHECK: %[[R:.*]] = nn.rsqrt %arg1
// CHECK: %[[B:.*]] = nn.broadcast %[[R]] [0]
// CHECK: nn.mul %arg0, %[[B]]
func.func @roots(%x: tensor<4x8xf32>, %v: tensor<4xf32>) -> (tensor<4x8xf32>, tensor<4x8xf32>) {
  %s = nn.sqrt %x : tensor<4x8xf32>
  %r = nn.reciprocal %s : tensor<4x8xf32>
  %t = nn.sqrt %v : tensor<4xf32>
  %b = nn.broadcast %t [0] : tensor<4xf32> -> tensor<4x8xf32>
  %d = nn.div %x, %b : tensor<4x8xf32>
  return %r, %d : tensor<4x8xf32>, tensor<4x8xf32>
}

// The last select keeps x below zero.
// CHECK-LABEL: func @rectifiers
// CHECK: nn.relu %arg0
// CHECK: nn.relu %arg0
// CHECK: nn.select
// CHECK: nn.softplus %arg0
func.func @rectifiers(%x: tensor<4x8xf32>) -> (tensor<4x8xf32>, tensor<4x8xf32>, tensor<4x8xf32>, tensor<4x8xf32>) {
  %zero = nn.constant dense<0.0> : tensor<4x8xf32>
  %one = nn.constant dense<1.0> : tensor<4x8xf32>
  %a = nn.maximum %x, %zero : tensor<4x8xf32>
  %positive = nn.compare gt %x, %zero : tensor<4x8xf32>
  %b = nn.select %positive, %x, %zero : tensor<4x8xf32>
  %negative = nn.compare lt %x, %zero : tensor<4x8xf32>
  %c = nn.select %negative, %x, %zero : tensor<4x8xf32>
  %e = nn.exp %x : tensor<4x8xf32>
  %p = nn.add %e, %one : tensor<4x8xf32>
  %d = nn.log %p : tensor<4x8xf32>
  return %a, %b, %c, %d : tensor<4x8xf32>, tensor<4x8xf32>, tensor<4x8xf32>, tensor<4x8xf32>
}
