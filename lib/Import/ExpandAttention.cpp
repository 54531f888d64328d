//===- ExpandAttention.cpp - Attention as contractions and a softmax ------===//

#include "galvatron/Import/Passes.h"

#include <limits>

namespace galvatron {
#define GEN_PASS_DEF_NNEXPANDATTENTION
#include "galvatron/Import/Passes.h.inc"
} // namespace galvatron

using namespace mlir;
using namespace galvatron;
using namespace galvatron::nn;

/// lower <= key - query <= upper, as a tensor of [query, key]; null if there are no bounds.
static Value makeBand(OpBuilder &builder, AttentionOp op, int64_t queries, int64_t keys) {
  Location loc = op.getLoc();
  auto type = RankedTensorType::get({queries, keys}, builder.getI64Type());
  Value band;
  for (auto [bound, predicate] : {std::pair(op.getLower(), Predicate::GE), std::pair(op.getUpper(), Predicate::LE)}) {
    if (!bound)
      continue;
    Value query = builder.create<IotaOp>(loc, type, 0), key = builder.create<IotaOp>(loc, type, 1);
    Value edge = builder.create<ConstantOp>(loc, DenseElementsAttr::get(type, builder.getI64IntegerAttr(*bound)));
    Value holds = builder.create<CompareOp>(loc, predicate, key, builder.create<AddOp>(loc, query, edge));
    band = band ? builder.create<AndOp>(loc, band, holds) : holds;
  }
  return band;
}

static void expand(AttentionOp op) {
  OpBuilder builder(op);
  Location loc = op.getLoc();
  auto type = tensorType(op.getProbabilities());
  auto splat = [&](double value) { return createSplat(builder, loc, type, value); };
  Value scores = builder.create<ContractOp>(loc, op.getQuery(), op.getKey(), "bqhgd,bkhd->bhgqk");
  double scale = op.getScale().convertToDouble(), cap = op.getSoftcap().convertToDouble();
  if (cap != 0) {
    scores = builder.create<MulOp>(loc, scores, splat(scale / cap));
    scores = builder.create<MulOp>(loc, builder.create<TanhOp>(loc, scores), splat(cap));
  } else {
    scores = builder.create<MulOp>(loc, scores, splat(scale));
  }
  if (Value bias = op.getBias()) {
    SmallVector<int64_t> dims, shape;
    for (auto [dim, size] : llvm::enumerate(tensorType(bias).getShape()))
      if (size != 1 || dim >= 3) {
        dims.push_back(dim);
        shape.push_back(size);
      }
    bias = builder.createOrFold<ReshapeOp>(loc, tensorType(bias).clone(shape), bias);
    scores = builder.create<AddOp>(loc, scores, builder.createOrFold<BroadcastOp>(loc, type, bias, dims));
  }
  auto maskType = type.clone(builder.getI1Type());
  Value mask;
  if (Value band = makeBand(builder, op, type.getShape()[3], type.getShape()[4]))
    mask = builder.create<BroadcastOp>(loc, maskType, band, ArrayRef<int64_t>{3, 4});
  if (Value keys = op.getKeyMask()) {
    keys = builder.create<BroadcastOp>(loc, maskType, keys, ArrayRef<int64_t>{0, 4});
    mask = mask ? builder.create<AndOp>(loc, mask, keys) : keys;
  }
  bool finite = op.getFiniteMask();
  if (mask)
    scores = builder.create<SelectOp>(
        loc, mask, scores, splat(finite ? -3.4028234663852886e+38 : -std::numeric_limits<double>::infinity()));
  Value probabilities = builder.create<SoftmaxOp>(loc, scores, type.getRank() - 1);
  Value isNan = builder.create<IsNanOp>(loc, probabilities);
  probabilities = builder.create<SelectOp>(loc, isNan, splat(0), probabilities);
  Value result = builder.create<ContractOp>(loc, probabilities, op.getValue(), "bhgqk,bkhd->bqhgd");
  op.getResult().replaceAllUsesWith(result);
  op.erase();
}

namespace {

struct NNExpandAttention : galvatron::impl::NNExpandAttentionBase<NNExpandAttention> {
  void runOnOperation() override {
    SmallVector<AttentionOp> found;
    getOperation().walk([&](AttentionOp op) {
      if (op.getProbabilities().use_empty())
        found.push_back(op);
    });
    for (AttentionOp op : found)
      expand(op);
  }
};

} // namespace
