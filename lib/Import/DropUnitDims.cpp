//===- DropUnitDims.cpp - Dimensions of size one disappear -----------------===//

#include "DimensionFactors.h"
#include "galvatron/Import/Passes.h"

namespace galvatron {
#define GEN_PASS_DEF_NNDROPUNITDIMS
#include "galvatron/Import/Passes.h.inc"
} // namespace galvatron

namespace {
struct NNDropUnitDims : galvatron::impl::NNDropUnitDimsBase<NNDropUnitDims> {
  void runOnOperation() override { galvatron::refineDimensions(getOperation(), /*unitsOnly=*/true); }
};
} // namespace
