//===- InsertChecks.cpp - Ids that come from data are checked when the program runs ===//
//
// A gather reads where its ids say. Kernels do not look; so before each op whose ids may be out of range, a check of all
// of them is made, once per tensor of ids and range in a function. `nn.in_range` is such a check, and nothing else.
//
//===----------------------------------------------------------------------===//

#include "galvatron/Codegen/Passes.h"

#include "dialects/NN/NN.h"
#include "dialects/RT/RT.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

using namespace mlir;
using namespace galvatron;

namespace galvatron {
#define GEN_PASS_DEF_INSERTCHECKSPASS
#include "galvatron/Codegen/Passes.h.inc"
} // namespace galvatron

namespace {

/// Ids, the number of places that they index, a value that is allowed besides, and what to call them.
struct Check {
  Value ids;
  int64_t size;
  std::optional<int64_t> ignore;
  StringRef name;
};

struct InsertChecksPass : galvatron::impl::InsertChecksPassBase<InsertChecksPass> {
  using InsertChecksPassBase::InsertChecksPassBase;

  static std::optional<Check> getCheck(Operation *op) {
    if (auto ids = dyn_cast<nn::InRangeOp>(op))
      return Check{ids.getOperand(), int64_t(ids.getSize()), ids.getIgnored(), ids.getName()};
    // Of rows that say their numbers, ids may be elsewhere.
    if (auto embedding = dyn_cast<nn::EmbeddingOp>(op); embedding && !embedding.getRows())
      return Check{embedding.getIds(), nn::tensorType(embedding.getTable()).getDimSize(0), {}, nn::embeddingIdsName};
    if (auto take = dyn_cast<nn::TakeAlongOp>(op))
      return Check{take.getIndices(), nn::tensorType(take.getOperand()).getDimSize(take.getDim()), {}, "gathered indices"};
    if (auto loss = dyn_cast<nn::CrossEntropyOp>(op))
      return Check{loss.getLabels(), nn::tensorType(loss.getLogits()).getShape().back(), loss.getIgnoreIndex(), nn::labelsName};
    return std::nullopt;
  }

  /// Ids that the program computes from nothing but numbers cannot depend on data.
  static bool isConstant(Value ids) {
    Operation *op = ids.getDefiningOp();
    return op && isa<nn::IotaOp, nn::ConstantOp>(op);
  }

  void runOnOperation() override {
    auto function = cast<func::FuncOp>(getOperation());
    if (function->hasAttr(rt::kernelAttr) || function.isExternal())
      return;
    llvm::DenseSet<std::pair<Value, int64_t>> checked;
    SmallVector<Operation *> ops;
    function.walk([&](Operation *op) { ops.push_back(op); });
    for (Operation *op : ops) {
      std::optional<Check> check = getCheck(op);
      if (check && !isConstant(check->ids) && checked.insert({check->ids, check->size}).second)
        insert(op, *check);
      if (auto ids = dyn_cast<nn::InRangeOp>(op)) {
        ids.replaceAllUsesWith(ids.getOperand());
        ids.erase();
      }
    }
  }

  static void insert(Operation *op, const Check &check) {
    OpBuilder builder(op);
    IntegerAttr ignore = check.ignore ? builder.getI64IntegerAttr(*check.ignore) : IntegerAttr();
    builder.create<rt::CheckRangeOp>(op->getLoc(), check.ids, builder.getI64IntegerAttr(0), builder.getI64IntegerAttr(check.size),
                                     ignore, builder.getStringAttr(check.name));
  }
};

} // namespace
