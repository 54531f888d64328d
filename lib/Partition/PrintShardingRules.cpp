//===- PrintShardingRules.cpp - Makes rules testable ----------------------===//

#include "dialects/NN/NN.h"
#include "galvatron/Partition/Passes.h"

using namespace mlir;
using namespace galvatron;

namespace galvatron {
#define GEN_PASS_DEF_DISTPRINTSHARDINGRULESPASS
#include "galvatron/Partition/Passes.h.inc"
} // namespace galvatron

namespace {

class DistPrintShardingRules : public galvatron::impl::DistPrintShardingRulesPassBase<DistPrintShardingRules> {
  void runOnOperation() override {
    bool ok = true;
    getOperation().walk([&](nn::ShardingRuleInterface op) {
      nn::ShardingRule rule = op.getShardingRule();
      if (std::string wrong = rule.check(op); !wrong.empty()) {
        // untested: the rule of an op that its verifier accepts fits it; this is for who writes a rule
        op->emitOpError() << "has a sharding rule that does not fit it: " << wrong;
        ok = false;
      }
      op->emitRemark() << rule.str();
    });
    markAllAnalysesPreserved();
    if (!ok)
      signalPassFailure();
  }
};

} // namespace
