//===- TensorSplits.cpp ---------------------------------------------------===//

#include "TensorSplits.h"

#include "Divisors.h"
#include "dialects/NN/NN.h"
#include "llvm/ADT/MapVector.h"

using namespace mlir;
using namespace galvatron;

using nn::DimFactors;
using nn::FactorKind;
using nn::ShardingRule;

InnerDimensions::Node InnerDimensions::leader(Value value, int64_t dim) const {
  return classes.getLeaderValue({value.getAsOpaquePointer(), dim});
}

InnerDimensions::InnerDimensions(func::FuncOp joint, const llvm::BitVector &parameters, const llvm::BitVector &handedOut)
    : joint(joint) {
  joint.walk([&](Operation *op) {
    for (Value result : op->getResults())
      for (int64_t dim = 0, rank = nn::tensorType(result).getRank(); dim < rank; ++dim)
        classes.insert({result.getAsOpaquePointer(), dim});
  });
  for (BlockArgument argument : joint.getArguments())
    for (int64_t dim = 0, rank = nn::tensorType(argument).getRank(); dim < rank; ++dim)
      classes.insert({argument.getAsOpaquePointer(), dim});
  joinDimensions();
  findMeetings();
  // What comes in and goes out is as the next block has it.
  auto attr = joint->getAttrOfType<nn::JointAttr>("nn.joint");
  SmallVector<Value> edges;
  for (unsigned i = 0; i < attr.getResults(); ++i)
    if (!handedOut.test(i))
      edges.push_back(joint.front().getTerminator()->getOperand(i));
  for (BlockArgument argument : joint.getArguments())
    if (argument.getArgNumber() >= attr.getInputs() || !parameters.test(argument.getArgNumber()))
      edges.push_back(argument);
  for (Value edge : edges)
    for (int64_t dim = 0, rank = nn::tensorType(edge).getRank(); dim < rank; ++dim)
      fixed.insert(leader(edge, dim));
  keep(parameters);
}

/// Calls `visit` with the op's rule, every tensor that it reads or makes, and the factors of that.
static void visitTensors(nn::ShardingRuleInterface op, const ShardingRule &rule,
                         function_ref<void(Value, const DimFactors &)> visit) {
  for (auto [operand, dims] : llvm::zip(op->getOperands(), rule.operands))
    visit(operand, dims);
  for (auto [result, dims] : llvm::zip(op->getResults(), rule.results))
    visit(result, dims);
}

/// Whether an op cannot be split along a loop. One that only counts along it can be given the numbers.
static bool isWhole(nn::ShardingRuleInterface op, const ShardingRule &rule, int64_t factor) {
  auto counted = dyn_cast<nn::CountedLoopInterface>(op.getOperation());
  return rule.factors[factor].kind == FactorKind::Whole && !(counted && counted.getCountedFactor() == factor);
}

/// Dimensions that are one loop of an op are one dimension.
void InnerDimensions::joinDimensions() {
  for (auto op : joint.front().getOps<nn::ShardingRuleInterface>()) {
    ShardingRule rule = op.getShardingRule();
    DenseMap<int64_t, Node> first; // by factor
    visitTensors(op, rule, [&](Value value, const DimFactors &dims) {
      for (auto [dim, factors] : llvm::enumerate(dims)) {
        if (factors.empty() || isWhole(op, rule, factors.front()))
          continue;
        Node node{value.getAsOpaquePointer(), dim};
        if (auto [found, isNew] = first.try_emplace(factors.front(), node); !isNew)
          classes.unionSets(found->second, node);
      }
    });
  }
}

/// Finds dimensions that must stay whole, and pairs that one axis cannot split both.
void InnerDimensions::findMeetings() {
  for (auto op : joint.front().getOps<nn::ShardingRuleInterface>()) {
    ShardingRule rule = op.getShardingRule();
    llvm::MapVector<int64_t, Node> byFactor;
    visitTensors(op, rule, [&](Value value, const DimFactors &dims) {
      for (auto [dim, factors] : llvm::enumerate(dims))
        if (!factors.empty())
          byFactor.insert({factors.front(), leader(value, dim)});
    });
    visitTensors(op, rule, [&](Value value, const DimFactors &dims) {
      for (auto [dim, factors] : llvm::enumerate(dims)) {
        // A table can be cut where it is made.
        if (!factors.empty() && isWhole(op, rule, factors.front()) && op->getNumOperands() > 0)
          fixed.insert(leader(value, dim));
        if (factors.size() > 1)
          merged.insert(leader(value, dim));
        // A piece of what is merged into the inside of a dimension is not contiguous there.
        for (int64_t factor : ArrayRef(factors).drop_front(factors.empty() ? 0 : 1))
          if (auto found = byFactor.find(factor); found != byFactor.end())
            fixed.insert(found->second);
      }
    });
    for (auto &one : byFactor)
      for (auto &two : byFactor) {
        if (one.first == two.first)
          continue;
        if (one.second == two.second)
          fixed.insert(one.second);
        meetings.insert({one.second, two.second});
      }
  }
}

/// Collects the dimensions that can be split, and which of them meet.
void InnerDimensions::keep(const llvm::BitVector &parameters) {
  llvm::MapVector<Node, Dimension> kept;
  for (unsigned input : parameters.set_bits()) {
    BlockArgument argument = joint.getArgument(input);
    RankedTensorType type = nn::tensorType(argument);
    for (int64_t dim = 0; dim < type.getRank(); ++dim) {
      Node node = leader(argument, dim);
      if (type.getDimSize(dim) == 1 || fixed.contains(node))
        continue;
      Dimension &dimension = kept[node];
      dimension.size = type.getDimSize(dim);
      dimension.canBePadded = !merged.contains(node);
      dimension.weight += type.getNumElements();
      dimension.inputs.emplace_back(input, dim);
    }
  }
  for (auto &entry : kept)
    dimensions.push_back(entry);
  for (auto [i, entry] : llvm::enumerate(dimensions))
    entry.second.component = i;
  auto merge = [&](unsigned from, unsigned to) {
    for (auto &entry : dimensions)
      if (entry.second.component == from)
        entry.second.component = to;
  };
  for (auto &one : dimensions)
    for (auto &two : dimensions)
      if (meetings.contains({one.first, two.first}))
        merge(two.second.component, one.second.component);
}

FailureOr<SmallVector<dist::SplitAttr>> InnerDimensions::split(ArrayRef<StringAttr> axes, ArrayRef<int64_t> sizes, bool mustSplit,
                                                               Location loc) const {
  SmallVector<unsigned> order;
  for (unsigned i = 0; i < dimensions.size(); ++i)
    order.push_back(i);
  llvm::sort(order, [&](unsigned a, unsigned b) {
    return std::pair(dimensions[b].second.weight, a) < std::pair(dimensions[a].second.weight, b);
  });
  SmallVector<int64_t> pieces(dimensions.size(), 1);
  SmallVector<SmallVector<Attribute>> axesOf(dimensions.size());
  for (auto [axis, size] : llvm::zip(axes, sizes)) {
    llvm::DenseSet<unsigned> served; // components
    SmallVector<Node> chosen;
    for (bool mayPad : {false, true})
      for (unsigned i : order) {
        const auto &candidate = dimensions[i];
        auto excludes = [&](Node other) { return candidate.first == other || meetings.contains({candidate.first, other}); };
        if (!candidate.second.canBeCut(pieces[i] * size, mayPad) || llvm::any_of(chosen, excludes))
          continue;
        pieces[i] *= size;
        axesOf[i].push_back(axis);
        chosen.push_back(candidate.first);
        served.insert(candidate.second.component);
      }
    for (const auto &entry : dimensions) {
      unsigned component = entry.second.component;
      if (served.contains(component) || !mustSplit)
        continue;
      int64_t ranks = 1, product = 1;
      std::string all;
      for (int64_t each : sizes)
        ranks *= each;
      for (const auto &other : dimensions)
        if (other.second.component == component) {
          product *= other.second.size;
          all += (all.empty() ? "" : " x ") + std::to_string(other.second.size);
        }
      if (product % ranks == 0)
        return emitError(loc) << "axis " << axis << " of " << size << " ranks cannot split block '" << joint.getSymName()
                              << "': it divides none of " << all << " (what other axes leave of it); axes of smaller sizes can";
      return emitError(loc) << ranks << " ranks cannot share block '" << joint.getSymName() << "': they do not divide " << all
                            << ", the size of what can be split there; " << listDivisors(product) << " do";
    }
  }
  SmallVector<dist::SplitAttr> splits;
  MLIRContext *context = loc.getContext();
  for (auto [entry, over] : llvm::zip(dimensions, axesOf))
    if (!over.empty())
      for (auto [input, dim] : entry.second.inputs)
        splits.push_back(dist::SplitAttr::get(context, input, dim, ArrayAttr::get(context, over)));
  llvm::sort(splits, [](dist::SplitAttr a, dist::SplitAttr b) {
    return std::pair(a.getInput(), a.getDim()) < std::pair(b.getInput(), b.getDim());
  });
  return splits;
}
