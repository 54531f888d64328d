// RUN: galvatron-opt %s --nn-raise-attention --canonicalize | FileCheck %s

// A softmax alone is none.
// CHECK-LABEL: func @nothing
// CHECK-NEXT: %[[P:.*]] = nn.softmax %arg0 1
// CHECK-NEXT: return %[[P]]
func.func @nothing(%x: tensor<4x8xf32>) -> tensor<4x8xf32> {
  %p = nn.softmax %x 1 : tensor<4x8xf32>
  return %p : tensor<4x8xf32>
}

// The scale on both sides, a causal mask by the lowest float, the guard against NaN, heads before positions.
// CHECK-LABEL: func @causal
// CHECK: %[[Q:.*]] = nn.transpose %arg0 [0, 2, 1, 3]
// CHECK: %[[Q5:.*]] = nn.reshape %[[Q]] : tensor<2x6x4x8xf32> -> tensor<2x6x4x1x8xf32>
// CHECK: %[[K:.*]] = nn.transpose %arg1 [0, 2, 1, 3]
// CHECK: %[[V:.*]] = nn.transpose %arg2 [0, 2, 1, 3]
// CHECK: %[[Y:.*]], %{{.*}} = nn.attention %[[Q5]], %[[K]], %[[V]] scale 2.500000e-01 upper 0 :
// CHECK: %[[Y4:.*]] = nn.reshape %[[Y]] : tensor<2x6x4x1x8xf32> -> tensor<2x6x4x8xf32>
// CHECK: %[[R:.*]] = nn.transpose %[[Y4]] [0, 2, 1, 3]
// CHECK: return %[[R]]
func.func @causal(%q: tensor<2x4x6x8xf32>, %k: tensor<2x4x6x8xf32>, %v: tensor<2x4x6x8xf32>) -> tensor<2x4x6x8xf32> {
  %half = nn.constant dense<0.5> : tensor<2x4x6x8xf32>
  %low = nn.constant dense<-3.40282347E+38> : tensor<6x6xf32>
  %zero = nn.constant dense<0.0> : tensor<6x6xf32>
  %zeros = nn.constant dense<0.0> : tensor<2x4x6x6xf32>
  %i = nn.iota 0 : tensor<6xi64>
  %key = nn.broadcast %i [1] : tensor<6xi64> -> tensor<6x6xi64>
  %query = nn.broadcast %i [0] : tensor<6xi64> -> tensor<6x6xi64>
  %le = nn.compare le %key, %query : tensor<6x6xi64>
  %m = nn.select %le, %zero, %low : tensor<6x6xf32>
  %mb = nn.broadcast %m [2, 3] : tensor<6x6xf32> -> tensor<2x4x6x6xf32>
  %qs = nn.mul %q, %half : tensor<2x4x6x8xf32>
  %ks = nn.mul %k, %half : tensor<2x4x6x8xf32>
  %s = nn.contract %qs, %ks "abcd,abed->abce" : (tensor<2x4x6x8xf32>, tensor<2x4x6x8xf32>) -> tensor<2x4x6x6xf32>
  %sm = nn.add %s, %mb : tensor<2x4x6x6xf32>
  %p = nn.softmax %sm 3 : tensor<2x4x6x6xf32>
  %n = nn.is_nan %p : tensor<2x4x6x6xf32>
  %g = nn.select %n, %zeros, %p : tensor<2x4x6x6xf32>
  %y = nn.contract %g, %v "abcd,abde->abce" : (tensor<2x4x6x6xf32>, tensor<2x4x6x8xf32>) -> tensor<2x4x6x8xf32>
  return %y : tensor<2x4x6x8xf32>
}

// Groups of queries, a division for a scale, a window, and boolean masks of -inf. The key is kept for the batch.
// CHECK-LABEL: func @grouped_window
// CHECK: nn.attention {{.*}} key_mask %arg3 : tensor<2x6xi1> scale 5.000000e-01 lower -3 upper 0 : tensor<2x6x3x2x8xf32>, tensor<2x6x3x8xf32>, tensor<2x6x3x8xf32> ->
func.func @grouped_window(%q: tensor<2x3x2x6x8xf32>, %k: tensor<2x3x6x8xf32>, %v: tensor<2x3x6x8xf32>, %valid: tensor<2x6xi1>) -> tensor<2x3x2x6x8xf32> {
  %two = nn.constant dense<2.0> : tensor<2x3x2x6x6xf32>
  %four = nn.constant dense<4> : tensor<6x6xi64>
  %low = nn.constant dense<0xFF800000> : tensor<2x3x2x6x6xf32>
  %i = nn.iota 0 : tensor<6xi64>
  %key = nn.broadcast %i [1] : tensor<6xi64> -> tensor<6x6xi64>
  %query = nn.broadcast %i [0] : tensor<6xi64> -> tensor<6x6xi64>
  %ge = nn.compare ge %query, %key : tensor<6x6xi64>
  %first = nn.sub %query, %four : tensor<6x6xi64>
  %gt = nn.compare gt %key, %first : tensor<6x6xi64>
  %both = nn.and %ge, %gt : tensor<6x6xi1>
  %bb = nn.broadcast %both [3, 4] : tensor<6x6xi1> -> tensor<2x3x2x6x6xi1>
  %vb = nn.broadcast %valid [0, 4] : tensor<2x6xi1> -> tensor<2x3x2x6x6xi1>
  %all = nn.and %bb, %vb : tensor<2x3x2x6x6xi1>
  %s = nn.contract %q, %k "abgcd,abed->abgce" : (tensor<2x3x2x6x8xf32>, tensor<2x3x6x8xf32>) -> tensor<2x3x2x6x6xf32>
  %sd = nn.div %s, %two : tensor<2x3x2x6x6xf32>
  %sm = nn.select %all, %sd, %low : tensor<2x3x2x6x6xf32>
  %p = nn.softmax %sm 4 : tensor<2x3x2x6x6xf32>
  %y = nn.contract %p, %v "abgcd,abde->abgce" : (tensor<2x3x2x6x6xf32>, tensor<2x3x6x8xf32>) -> tensor<2x3x2x6x8xf32>
  return %y : tensor<2x3x2x6x8xf32>
}

// A key mask by the lowest float: rows without a key average, and the op says so.
// CHECK-LABEL: func @padding
// CHECK: nn.attention {{.*}} key_mask %arg3 : tensor<2x6xi1> scale 1.000000e+00 finite_mask :
func.func @padding(%q: tensor<2x4x6x8xf32>, %k: tensor<2x4x6x8xf32>, %v: tensor<2x4x6x8xf32>, %valid: tensor<2x6xi1>) -> tensor<2x4x6x8xf32> {
  %low = nn.constant dense<-3.40282347E+38> : tensor<2x6xf32>
  %zero = nn.constant dense<0.0> : tensor<2x6xf32>
  %m = nn.select %valid, %zero, %low : tensor<2x6xf32>
  %mb = nn.broadcast %m [0, 3] : tensor<2x6xf32> -> tensor<2x4x6x6xf32>
  %s = nn.contract %q, %k "abcd,abed->abce" : (tensor<2x4x6x8xf32>, tensor<2x4x6x8xf32>) -> tensor<2x4x6x6xf32>
  %sm = nn.add %s, %mb : tensor<2x4x6x6xf32>
  %p = nn.softmax %sm 3 : tensor<2x4x6x6xf32>
  %y = nn.contract %p, %v "abcd,abde->abce" : (tensor<2x4x6x6xf32>, tensor<2x4x6x8xf32>) -> tensor<2x4x6x8xf32>
  return %y : tensor<2x4x6x8xf32>
}

// Constants: one is the causal mask as a static export holds it, one is true everywhere.
// CHECK-LABEL: func @constant_masks
// CHECK: nn.attention {{.*}} scale 1.000000e+00 upper 0 :
// CHECK: nn.attention %{{[^,]*}}, %{{[^,]*}}, %{{[^,]*}} scale 1.000000e+00 :
func.func @constant_masks(%q: tensor<2x4x3x8xf32>, %k: tensor<2x4x3x8xf32>, %v: tensor<2x4x3x8xf32>) -> (tensor<2x4x3x8xf32>, tensor<2x4x3x8xf32>) {
  %low = nn.constant dense<-3.40282347E+38> : tensor<2x3x3xf32>
  %zero = nn.constant dense<0.0> : tensor<2x3x3xf32>
  %c = nn.constant dense<[[[true, false, false], [true, true, false], [true, true, true]],
                          [[true, false, false], [true, true, false], [true, true, true]]]> : tensor<2x3x3xi1>
  %m = nn.select %c, %zero, %low : tensor<2x3x3xf32>
  %mb = nn.broadcast %m [0, 2, 3] : tensor<2x3x3xf32> -> tensor<2x4x3x3xf32>
  %s = nn.contract %q, %k "abcd,abed->abce" : (tensor<2x4x3x8xf32>, tensor<2x4x3x8xf32>) -> tensor<2x4x3x3xf32>
  %sm = nn.add %s, %mb : tensor<2x4x3x3xf32>
  %p = nn.softmax %sm 3 : tensor<2x4x3x3xf32>
  %y = nn.contract %p, %v "abcd,abde->abce" : (tensor<2x4x3x3xf32>, tensor<2x4x3x8xf32>) -> tensor<2x4x3x8xf32>
  %t = nn.constant dense<true> : tensor<2x4x3x3xi1>
  %lows = nn.constant dense<-3.40282347E+38> : tensor<2x4x3x3xf32>
  %s2 = nn.contract %y, %k "abcd,abed->abce" : (tensor<2x4x3x8xf32>, tensor<2x4x3x8xf32>) -> tensor<2x4x3x3xf32>
  %sm2 = nn.select %t, %s2, %lows : tensor<2x4x3x3xf32>
  %p2 = nn.softmax %sm2 3 : tensor<2x4x3x3xf32>
  %y2 = nn.contract %p2, %v "abcd,abde->abce" : (tensor<2x4x3x3xf32>, tensor<2x4x3x8xf32>) -> tensor<2x4x3x8xf32>
  return %y, %y2 : tensor<2x4x3x8xf32>, tensor<2x4x3x8xf32>
}

// A bias for each head (ALiBi), a cap on the scores, one key head for all queries.
// CHECK-LABEL: func @bias_and_cap
// CHECK: %[[B:.*]] = nn.reshape %{{.*}} : tensor<5x6x6xf32> -> tensor<1x1x5x6x6xf32>
// CHECK: nn.attention {{.*}} bias %[[B]] : tensor<1x1x5x6x6xf32> scale 2.500000e-01 {softcap = 5.000000e+01 : f64} : tensor<2x6x1x5x8xf32>, tensor<2x6x1x8xf32>
func.func @bias_and_cap(%q: tensor<2x5x6x8xf32>, %k: tensor<2x6x8xf32>, %v: tensor<2x6x8xf32>, %bias: tensor<5x6xf32>) -> tensor<2x5x6x8xf32> {
  %quarter = nn.constant dense<0.25> : tensor<2x5x6x6xf32>
  %cap = nn.constant dense<50.0> : tensor<2x5x6x6xf32>
  %bb = nn.broadcast %bias [1, 3] : tensor<5x6xf32> -> tensor<2x5x6x6xf32>
  %s = nn.contract %q, %k "abcd,aed->abce" : (tensor<2x5x6x8xf32>, tensor<2x6x8xf32>) -> tensor<2x5x6x6xf32>
  %ss = nn.mul %s, %quarter : tensor<2x5x6x6xf32>
  %sc = nn.div %ss, %cap : tensor<2x5x6x6xf32>
  %t = nn.tanh %sc : tensor<2x5x6x6xf32>
  %tc = nn.mul %t, %cap : tensor<2x5x6x6xf32>
  %sm = nn.add %bb, %tc : tensor<2x5x6x6xf32>
  %p = nn.softmax %sm 3 : tensor<2x5x6x6xf32>
  %y = nn.contract %p, %v "abcd,ade->abce" : (tensor<2x5x6x6xf32>, tensor<2x6x8xf32>) -> tensor<2x5x6x8xf32>
  return %y : tensor<2x5x6x8xf32>
}

// -10000 leaves something of a masked score: that is a bias and stays one. So does a mask without a form; the
// comparison beside it is a band all the same.
// CHECK-LABEL: func @other_masks
// CHECK: nn.attention {{.*}} bias %{{.*}} : tensor<2x1x1x6x6xf32> scale 1.000000e+00 :
// CHECK: %[[S:.*]] = nn.select %arg4
// CHECK: %[[B:.*]] = nn.reshape %[[S]] : tensor<2x6x6xf32> -> tensor<2x1x1x6x6xf32>
// CHECK: nn.attention {{.*}} bias %[[B]] : tensor<2x1x1x6x6xf32> scale 1.000000e+00 upper 0 :
func.func @other_masks(%q: tensor<2x4x6x8xf32>, %k: tensor<2x4x6x8xf32>, %v: tensor<2x4x6x8xf32>, %valid: tensor<2x6xi1>, %any: tensor<2x6x6xi1>) -> (tensor<2x4x6x8xf32>, tensor<2x4x6x8xf32>) {
  %low = nn.constant dense<-10000.0> : tensor<2x6xf32>
  %zero = nn.constant dense<0.0> : tensor<2x6xf32>
  %m = nn.select %valid, %zero, %low : tensor<2x6xf32>
  %mb = nn.broadcast %m [0, 3] : tensor<2x6xf32> -> tensor<2x4x6x6xf32>
  %s = nn.contract %q, %k "abcd,abed->abce" : (tensor<2x4x6x8xf32>, tensor<2x4x6x8xf32>) -> tensor<2x4x6x6xf32>
  %sm = nn.add %s, %mb : tensor<2x4x6x6xf32>
  %p = nn.softmax %sm 3 : tensor<2x4x6x6xf32>
  %y = nn.contract %p, %v "abcd,abde->abce" : (tensor<2x4x6x6xf32>, tensor<2x4x6x8xf32>) -> tensor<2x4x6x8xf32>
  %inf = nn.constant dense<0xFF800000> : tensor<2x4x6x6xf32>
  %i = nn.iota 3 : tensor<2x4x6x6xi64>
  %j = nn.iota 2 : tensor<2x4x6x6xi64>
  %le = nn.compare le %i, %j : tensor<2x4x6x6xi64>
  %ab = nn.broadcast %any [0, 2, 3] : tensor<2x6x6xi1> -> tensor<2x4x6x6xi1>
  %both = nn.and %ab, %le : tensor<2x4x6x6xi1>
  %s2 = nn.contract %y, %k "abcd,abed->abce" : (tensor<2x4x6x8xf32>, tensor<2x4x6x8xf32>) -> tensor<2x4x6x6xf32>
  %sm2 = nn.select %both, %s2, %inf : tensor<2x4x6x6xf32>
  %p2 = nn.softmax %sm2 3 : tensor<2x4x6x6xf32>
  %y2 = nn.contract %p2, %v "abcd,abde->abce" : (tensor<2x4x6x6xf32>, tensor<2x4x6x8xf32>) -> tensor<2x4x6x8xf32>
  return %y, %y2 : tensor<2x4x6x8xf32>, tensor<2x4x6x8xf32>
}

// The probabilities are a result of the model: somebody else needs them.
// CHECK-LABEL: func @probabilities_used
// CHECK-NOT: nn.attention
// CHECK: return
func.func @probabilities_used(%q: tensor<2x4x6x8xf32>, %k: tensor<2x4x6x8xf32>, %v: tensor<2x4x6x8xf32>) -> (tensor<2x4x6x8xf32>, tensor<2x4x6x6xf32>) {
  %s = nn.contract %q, %k "abcd,abed->abce" : (tensor<2x4x6x8xf32>, tensor<2x4x6x8xf32>) -> tensor<2x4x6x6xf32>
  %p = nn.softmax %s 3 : tensor<2x4x6x6xf32>
  %y = nn.contract %p, %v "abcd,abde->abce" : (tensor<2x4x6x6xf32>, tensor<2x4x6x8xf32>) -> tensor<2x4x6x8xf32>
  return %y, %p : tensor<2x4x6x8xf32>, tensor<2x4x6x6xf32>
}

// The softmax runs over the queries.
// CHECK-LABEL: func @over_queries
// CHECK-NOT: nn.attention
// CHECK: return
func.func @over_queries(%q: tensor<2x4x6x8xf32>, %k: tensor<2x4x6x8xf32>, %v: tensor<2x4x6x8xf32>) -> tensor<2x4x6x8xf32> {
  %s = nn.contract %q, %k "abcd,abed->abce" : (tensor<2x4x6x8xf32>, tensor<2x4x6x8xf32>) -> tensor<2x4x6x6xf32>
  %p = nn.softmax %s 2 : tensor<2x4x6x6xf32>
  %y = nn.contract %p, %v "abcd,abde->abce" : (tensor<2x4x6x6xf32>, tensor<2x4x6x8xf32>) -> tensor<2x4x6x8xf32>
  return %y : tensor<2x4x6x8xf32>
}
