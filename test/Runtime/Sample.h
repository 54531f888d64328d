// Sample.h: a small trained program whose functions are written by hand.
//
//   y = x . w^T + b        x f32[4, 3], w saved as linear.weight [2, 3], used transposed; b saved
//   as linear.bias [2] loss = mean over counted labels of (y[i, labels[i]] - 1)^2
//
// in two micro-batches, with SGD (or AdamW's flags) and the norm of the gradient. The weight is
// tied: its second name is head.weight. A constant "scale" [1], which is 1, multiplies the loss.
#ifndef GALVATRON_TEST_RUNTIME_SAMPLE_H
#define GALVATRON_TEST_RUNTIME_SAMPLE_H

#include "ImageBuilder.h"

struct SampleOptions {
  bool adamw = false; // take AdamW's flags (the arithmetic stays SGD's)
  bool noOptimizer = false;
  bool randomWeights = false;
  int64_t threads = 2;
  int64_t ranks = 1;
  int64_t spareBytes = 0; // that the arena has beyond what the sample uses
  std::string features;
};

/// Fills an empty builder.
void buildSample(ImageBuilder &builder, const SampleOptions &options);

#endif // GALVATRON_TEST_RUNTIME_SAMPLE_H
