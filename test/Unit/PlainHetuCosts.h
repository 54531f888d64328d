//===- PlainHetuCosts.h - The predecessor's formulas, once more -*- C++ -*-===//
//
// Written from their description alone, layer by layer, for one profile: LLaMA-2-7B of 2048 tokens on 1 x 8 GPUs, times by batch, bf16, ZeRO-2
// by default, 1F1B, gradients reduced at the end. Shares no code with lib/Search.
//
//===----------------------------------------------------------------------===//

#ifndef GALVATRON_TEST_UNIT_PLAINHETUCOSTS_H
#define GALVATRON_TEST_UNIT_PLAINHETUCOSTS_H

#include <string>
#include <vector>

/// pp-tp-sp-dp, and what else is said of a layer.
struct PlainLayer {
  long p = 1, t = 1, s = 1, d = 1;
  int zero = 0; ///< 0, 2 or 3
  bool checkpoint = false;
};

struct PlainPlan {
  long batch = 1, chunks = 1, bufferShare = 1;
  bool hasBuffer = true;
  std::vector<std::vector<PlainLayer>> stages;
  PlainLayer end;
};

struct PlainCosts {
  double time = 0;            ///< s of a step
  std::vector<double> memory; ///< MB of each stage, without the reserve
};

/// What a plan costs, with the profiles under `inputs`.
PlainCosts computePlainCosts(const std::string &inputs, const PlainPlan &plan);

#endif
