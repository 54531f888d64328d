//===- SplitDims.cpp - Every logical dimension becomes a tensor dimension --===//

#include "DimensionFactors.h"
#include "galvatron/Import/Passes.h"

namespace galvatron {
#define GEN_PASS_DEF_NNSPLITDIMS
#include "galvatron/Import/Passes.h.inc"
} // namespace galvatron

namespace {
struct NNSplitDims : galvatron::impl::NNSplitDimsBase<NNSplitDims> {
  void runOnOperation() override { galvatron::refineDimensions(getOperation(), /*unitsOnly=*/false); }
};
} // namespace
