//===- KernelTrainingTest.cpp - Kernels of attention, rotary and updates --===//
//
// As KernelTest.cpp: compared with loops in double, with one and two threads. The
// last test prints times and is off by default.
//
//===----------------------------------------------------------------------===//

#include "KernelChecks.h"

using namespace galvatron::test;

namespace {

//===----------------------------------------------------------------------===//
// Attention, rotary, updates
//===----------------------------------------------------------------------===//

TEST(Kernel, AttentionWithMasksAndItsGradient) {
  constexpr int B = 2, Q = 9, K = 9, H = 2, G = 3, D = 8, E = 4;
  KernelRunner runner(
      "func.func @f(%q: tensor<2x9x2x3x8xf32>, %k: tensor<2x9x2x8xf32>, %v: tensor<2x9x2x4xf32>, %m: tensor<2x9xi1>, %b: tensor<1x2x1x9x9xf32>, %g: tensor<2x9x2x3x4xf32>)"
      " -> (tensor<2x9x2x3x4xf32>, tensor<2x2x3x9x9xf32>, tensor<2x9x2x3x8xf32>, tensor<2x9x2x8xf32>, tensor<2x9x2x4xf32>, tensor<1x2x1x9x9xf32>) {"
      " %o, %p = nn.attention %q, %k, %v key_mask %m : tensor<2x9xi1> bias %b : tensor<1x2x1x9x9xf32> scale 0.5 lower -3 upper 0 {softcap = 3.0}"
      " : tensor<2x9x2x3x8xf32>, tensor<2x9x2x8xf32>, tensor<2x9x2x4xf32> -> tensor<2x9x2x3x4xf32>, tensor<2x2x3x9x9xf32>"
      " %dq, %dk, %dv, %db = nn.attention_grad %q, %k, %v, %p, %g bias %b : tensor<1x2x1x9x9xf32> -> tensor<1x2x1x9x9xf32> scale 0.5 {softcap = 3.0}"
      " : tensor<2x9x2x3x8xf32>, tensor<2x9x2x8xf32>, tensor<2x9x2x4xf32>, tensor<2x2x3x9x9xf32>, tensor<2x9x2x3x4xf32>"
      " -> tensor<2x9x2x3x8xf32>, tensor<2x9x2x8xf32>, tensor<2x9x2x4xf32>"
      " return %o, %p, %dq, %dk, %dv, %db : tensor<2x9x2x3x4xf32>, tensor<2x2x3x9x9xf32>, tensor<2x9x2x3x8xf32>, tensor<2x9x2x8xf32>, tensor<2x9x2x4xf32>, tensor<1x2x1x9x9xf32> }");
  Floats q = randomFloats(B * Q * H * G * D, 1), k = randomFloats(B * K * H * D, 2), v = randomFloats(B * K * H * E, 3),
         bias = randomFloats(H * Q * K, 4), g = randomFloats(B * Q * H * G * E, 5);
  std::vector<char> keys(B * K, 1);
  keys[0] = keys[1] = keys[2] = 0; // rows 0 to 2 of the first sequence see nothing
  keys[K + 4] = 0;
  std::vector<Buffer> results =
      runBoth(runner, {Buffer::of(q), Buffer::of(k), Buffer::of(v), Buffer::of(keys), Buffer::of(bias), Buffer::of(g)});
  Doubles out(B * Q * H * G * E), p(B * H * G * Q * K), dq(q.size()), dk(k.size()), dv(v.size()), db(bias.size());
  for (int b = 0; b < B; ++b)
    for (int h = 0; h < H; ++h)
      for (int r = 0; r < G; ++r)
        for (int i = 0; i < Q; ++i) {
          auto qi = [&](int d) { return ((((b * Q + i) * H + h) * G + r) * D) + d; };
          auto oi = [&](int e) { return ((((b * Q + i) * H + h) * G + r) * E) + e; };
          auto ki = [&](int j, int d) { return ((b * K + j) * H + h) * D + d; };
          auto vi = [&](int j, int e) { return ((b * K + j) * H + h) * E + e; };
          auto pi = [&](int j) { return (((b * H + h) * G + r) * Q + i) * K + j; };
          double raw[K], sum = 0;
          for (int j = 0; j < K; ++j) {
            double score = 0;
            for (int d = 0; d < D; ++d)
              score += double(q[qi(d)]) * k[ki(j, d)];
            raw[j] = std::tanh(score * 0.5 / 3.0);
            bool seen = keys[b * K + j] && j - i <= 0 && j - i >= -3;
            p[pi(j)] = seen ? std::exp(3.0 * raw[j] + bias[(h * Q + i) * K + j]) : 0;
            sum += p[pi(j)];
          }
          double inner = 0, dp[K] = {};
          for (int j = 0; j < K; ++j) {
            p[pi(j)] = sum > 0 ? p[pi(j)] / sum : 0;
            for (int e = 0; e < E; ++e) {
              out[oi(e)] += p[pi(j)] * v[vi(j, e)];
              dp[j] += double(g[oi(e)]) * v[vi(j, e)];
              dv[vi(j, e)] += p[pi(j)] * g[oi(e)];
            }
            inner += dp[j] * p[pi(j)];
          }
          for (int j = 0; j < K; ++j) {
            double ds = p[pi(j)] * (dp[j] - inner);
            db[(h * Q + i) * K + j] += ds;
            ds *= (1 - raw[j] * raw[j]) * 0.5;
            for (int d = 0; d < D; ++d) {
              dq[qi(d)] += ds * k[ki(j, d)];
              dk[ki(j, d)] += ds * q[qi(d)];
            }
          }
        }
  expectNear(results[0], out, 1e-5, 1e-5);
  expectNear(results[1], p, 1e-5, 1e-6);
  expectNear(results[2], dq, 1e-5, 1e-5);
  expectNear(results[3], dk, 1e-5, 1e-5);
  expectNear(results[4], dv, 1e-5, 1e-5);
  expectNear(results[5], db, 1e-5, 1e-5);
}

TEST(Kernel, Rotary) {
  constexpr int B = 2, S = 5, H = 3, D = 64;
  for (bool interleaved : {false, true})
    for (bool inverse : {false, true}) {
      KernelRunner runner(fill("func.func @f(%x: tensor<2x5x3x64xf32>, %c: tensor<5x32xf32>, %s: tensor<5x32xf32>) -> tensor<2x5x3x64xf32> {"
                               " %y = nn.rotary %x, %c, %s sequence 1 $i $v : tensor<2x5x3x64xf32>, tensor<5x32xf32>, tensor<5x32xf32>"
                               " return %y : tensor<2x5x3x64xf32> }",
                               {{"$i", interleaved ? "interleaved" : ""}, {"$v", inverse ? "inverse" : ""}}));
      Floats x = randomFloats(B * S * H * D, 1), c = randomFloats(S * D / 2, 2), s = randomFloats(S * D / 2, 3);
      std::vector<Buffer> results = runBoth(runner, {Buffer::of(x), Buffer::of(c), Buffer::of(s)});
      Doubles wanted(x.size());
      for (int row = 0; row < B * S * H; ++row)
        for (int d = 0; d < D / 2; ++d) {
          int first = row * D + (interleaved ? 2 * d : d), second = first + (interleaved ? 1 : D / 2);
          int table = row / H % S * (D / 2) + d;
          double cosine = c[table], sine = inverse ? -s[table] : s[table];
          wanted[first] = x[first] * cosine - x[second] * sine;
          wanted[second] = x[second] * cosine + x[first] * sine;
        }
      expectNear(results[0], wanted);
      if (!interleaved)
        expectGoodCode(runner);
    }
}

TEST(Kernel, AdamWInPlace) {
  KernelRunner runner("func.func @f(%p: tensor<37x53xf32>, %g: tensor<37x53xf32>, %m: tensor<37x53xf32>, %v: tensor<37x53xf32>, %h: tensor<16xf32>, %c: tensor<f32>)"
                      " -> (tensor<37x53xf32>, tensor<37x53xf32>, tensor<37x53xf32>) {"
                      " %a, %b, %d = nn.adamw %p, %g, %m, %v, %h, %c decay : tensor<37x53xf32>, tensor<16xf32>"
                      " return %a, %b, %d : tensor<37x53xf32>, tensor<37x53xf32>, tensor<37x53xf32> }");
  EXPECT_EQ(runner.kernelCount(), 1);
  size_t n = 37 * 53;
  double lr = 3e-3, beta1 = 0.9, beta2 = 0.95, eps = 1e-8, decay = 0.1, clip = 0.7;
  int step = 3;
  double bias1 = 1 / (1 - std::pow(beta1, step)), bias2 = 1 / std::sqrt(1 - std::pow(beta2, step));
  Floats hyper{float(lr), float(beta1), float(beta2), float(eps), float(decay), float(bias1), float(bias2), 0, 1, 0,
               float(1 - beta1), float(1 - beta2), float(lr * bias1), float(1 - lr * decay), float(step), 0};
  Floats p = randomFloats(n, 1), g = randomFloats(n, 2), m = randomFloats(n, 3), v = randomFloats(n, 4, 0, 1);
  std::vector<Buffer> results = runBoth(runner, {Buffer::of(p), Buffer::of(g), Buffer::of(m), Buffer::of(v), Buffer::of(hyper),
                                                 Buffer::of(Floats{float(clip)})});
  Doubles newP, newM, newV;
  for (size_t i = 0; i < n; ++i) {
    double grad = g[i] * clip;
    newM.push_back(beta1 * m[i] + (1 - beta1) * grad);
    newV.push_back(beta2 * v[i] + (1 - beta2) * grad * grad);
    newP.push_back(p[i] * (1 - lr * decay) - lr * bias1 * newM[i] / (std::sqrt(newV[i]) * bias2 + eps));
  }
  expectNear(results[0], newP, 1e-6);
  expectNear(results[1], newM, 1e-6);
  expectNear(results[2], newV, 1e-6);
  expectGoodCode(runner);
}

TEST(Kernel, SgdWithMomentum) {
  KernelRunner runner("func.func @f(%p: tensor<101xf32>, %g: tensor<101xf32>, %m: tensor<101xf32>, %h: tensor<16xf32>, %c: tensor<f32>)"
                      " -> (tensor<101xf32>, tensor<101xf32>) { %a, %b = nn.sgd %p, %g, %m, %h, %c decay : tensor<101xf32>, tensor<16xf32>"
                      " return %a, %b : tensor<101xf32>, tensor<101xf32> }");
  for (float first : {1.0f, 0.0f}) {
    Floats hyper(16);
    hyper[0] = 0.1f, hyper[4] = 0.01f, hyper[7] = 0.9f, hyper[9] = first;
    Floats p = randomFloats(101, 1), g = randomFloats(101, 2), m = randomFloats(101, 3);
    std::vector<Buffer> results =
        runBoth(runner, {Buffer::of(p), Buffer::of(g), Buffer::of(m), Buffer::of(hyper), Buffer::of(Floats{0.5f})});
    Doubles newP, newM;
    for (int i = 0; i < 101; ++i) {
      double grad = g[i] * 0.5 + double(0.01f) * p[i];
      newM.push_back(first ? grad : double(0.9f) * m[i] + grad);
      newP.push_back(p[i] - double(0.1f) * newM[i]);
    }
    expectNear(results[0], newP, 1e-6);
    expectNear(results[1], newM, 1e-6);
  }
}

//===----------------------------------------------------------------------===//
// Speed: not a test. --gtest_also_run_disabled_tests --gtest_filter=*Speed* prints milliseconds on one thread.
//===----------------------------------------------------------------------===//

void report(const char *what, const std::string &function, std::vector<size_t> bytes) {
  KernelRunner runner(function);
  // In whatever order the kernel takes them: all are as large as the largest. Zeros are valid labels as well.
  std::vector<Buffer> arguments(bytes.size());
  for (Buffer &argument : arguments)
    argument.bytes.assign(*std::max_element(bytes.begin(), bytes.end()), 0);
  printf("%-28s %8.3f ms\n", what, 1e3 * runner.time(runner.onlyKernel(), arguments, 40));
}

TEST(KernelSpeed, DISABLED_Table) {
  size_t big = 4096 * 768 * 4, wide = 1024 * 3072 * 4, row = 768 * 4, ce = size_t(256) * 50257 * 4;
  report("floor: y = 1.5 x, 1024x3072", "func.func @f(%x: tensor<1024x3072xf32>) -> tensor<1024x3072xf32> {"
         " %c = nn.constant dense<1.5> : tensor<1024x3072xf32> %y = nn.mul %x, %c : tensor<1024x3072xf32>"
         " return %y : tensor<1024x3072xf32> }", {wide, wide});
  report("gelu forward 1024x3072", "func.func @f(%x: tensor<1024x3072xf32>, %b: tensor<3072xf32>) -> tensor<1024x3072xf32> {"
         " %c = nn.broadcast %b [1] : tensor<3072xf32> -> tensor<1024x3072xf32> %s = nn.add %x, %c : tensor<1024x3072xf32>"
         " %y = nn.gelu %s tanh : tensor<1024x3072xf32> return %y : tensor<1024x3072xf32> }", {wide, 3072 * 4, wide});
  report("gelu backward 1024x3072", "func.func @f(%x: tensor<1024x3072xf32>, %g: tensor<1024x3072xf32>) -> tensor<1024x3072xf32> {"
         " %y = nn.gelu_grad %x, %g tanh : tensor<1024x3072xf32> return %y : tensor<1024x3072xf32> }", {wide, wide, wide});
  report("layer_norm forward 4096x768", "func.func @f(%x: tensor<4096x768xf32>, %s: tensor<768xf32>, %b: tensor<768xf32>) -> tensor<4096x768xf32> {"
         " %y = nn.layer_norm %x, %s, %b : tensor<768xf32> epsilon 1.0e-5 : tensor<4096x768xf32>, tensor<768xf32>"
         " return %y : tensor<4096x768xf32> }", {big, row, row, big});
  report("layer_norm backward dx", "func.func @f(%x: tensor<4096x768xf32>, %s: tensor<768xf32>, %g: tensor<4096x768xf32>) -> tensor<4096x768xf32> {"
         " %a, %b, %c = nn.layer_norm_grad %x, %s, %g epsilon 1.0e-5 : tensor<4096x768xf32>, tensor<768xf32>"
         " return %a : tensor<4096x768xf32> }", {big, big, big, big});
  report("column sums 4096x768 (two)", "func.func @f(%x: tensor<4096x768xf32>, %g: tensor<4096x768xf32>) -> (tensor<768xf32>, tensor<768xf32>) {"
         " %m = nn.mul %x, %g : tensor<4096x768xf32> %a = nn.reduce sum %m [0] : tensor<4096x768xf32> -> tensor<768xf32>"
         " %b = nn.reduce sum %g [0] : tensor<4096x768xf32> -> tensor<768xf32> return %a, %b : tensor<768xf32>, tensor<768xf32> }",
         {big, big, row, row});
  report("softmax 4096x1024", "func.func @f(%x: tensor<4x1024x1024xf32>) -> tensor<4x1024x1024xf32> {"
         " %y = nn.softmax %x 2 : tensor<4x1024x1024xf32> return %y : tensor<4x1024x1024xf32> }", {size_t(1) << 24, size_t(1) << 24});
  report("cross entropy fwd+bwd", "func.func @f(%x: tensor<256x50257xf32>, %t: tensor<256xi64>, %g: tensor<256xf32>) -> (tensor<256xf32>, tensor<256x50257xf32>) {"
         " %y, %s = nn.cross_entropy %x, %t ignore -100 : tensor<256x50257xf32>, tensor<256xi64>"
         " %z = nn.cross_entropy_grad %x, %t, %s, %g ignore -100 : tensor<256x50257xf32>, tensor<256xi64>, tensor<256xf32>"
         " return %y, %z : tensor<256xf32>, tensor<256x50257xf32> }", {ce, 256 * 8, 256 * 4, 256 * 4, ce});
  report("rotary 4x1024x12x64", "func.func @f(%x: tensor<4x1024x12x64xf32>, %c: tensor<1024x32xf32>, %s: tensor<1024x32xf32>) -> tensor<4x1024x12x64xf32> {"
         " %y = nn.rotary %x, %c, %s sequence 1 : tensor<4x1024x12x64xf32>, tensor<1024x32xf32>, tensor<1024x32xf32>"
         " return %y : tensor<4x1024x12x64xf32> }", {big, 1024 * 32 * 4, 1024 * 32 * 4, big});
  report("transpose 1024x3072", "func.func @f(%x: tensor<1024x3072xf32>) -> tensor<3072x1024xf32> {"
         " %y = nn.transpose %x [1, 0] : tensor<1024x3072xf32> -> tensor<3072x1024xf32> return %y : tensor<3072x1024xf32> }", {wide, wide});
  size_t p = 2359296 * 4;
  report("AdamW 2.36 M", "func.func @f(%p: tensor<2359296xf32>, %g: tensor<2359296xf32>, %m: tensor<2359296xf32>, %v: tensor<2359296xf32>, %h: tensor<16xf32>, %c: tensor<f32>)"
         " -> (tensor<2359296xf32>, tensor<2359296xf32>, tensor<2359296xf32>) {"
         " %a, %b, %d = nn.adamw %p, %g, %m, %v, %h, %c decay : tensor<2359296xf32>, tensor<16xf32>"
         " return %a, %b, %d : tensor<2359296xf32>, tensor<2359296xf32>, tensor<2359296xf32> }", {4, p, 64, p, p, p, p, p, p});
}

} // namespace
