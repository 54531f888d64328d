//===- KernelGroups.cpp - Which ops become one kernel ---------------------===//
//
// Ops are taken in program order. Each joins the groups that make its operands,
// merging them if there are several, as long as all agree on a number of rows
// and nothing outside has to run in between; else it begins a group. Ops that
// only move data (and masks made of indices) belong to no group: they are done
// again in every kernel that reads through them.
//
//===----------------------------------------------------------------------===//

#include "KernelGroups.h"

#include "KernelShape.h"
#include "RowTraits.h"
#include "galvatron/Codegen/MatmulPlan.h"

using namespace mlir;
using namespace galvatron;
using namespace galvatron::nn;

/// Kernels are not made larger than this.
static constexpr size_t maxMembers = 160, maxLeaves = 24;
/// Through so many ops at most is a value computed again where it is needed; then it is read from memory.
static constexpr unsigned maxDepth = 64;
/// Fewer rows than this are not accepted for the sake of fusion.
static constexpr int64_t fewRows = 8;
/// So many elements may be one row.
static constexpr int64_t smallKernel = 32768;

static int64_t elements(Value value) { return tensorType(value).getNumElements(); }

static bool isFusible(Operation *op) { return isa<ElementOpInterface, ReduceOp, CumsumOp>(op) && !isa<ReshapeOp>(op); }

static bool isProduct(Operation *op) { return op && isa<ContractOp, EmbeddingGradOp>(op); }

//===----------------------------------------------------------------------===//
// Additions that belong to a library call
//===----------------------------------------------------------------------===//

/// The product of which `value` is the only use, perhaps reshaped.
static Operation *productOf(Value value) {
  Operation *op = value.getDefiningOp();
  if (isa_and_nonnull<ReshapeOp>(op) && value.hasOneUse())
    op = op->getOperand(0).getDefiningOp();
  return isProduct(op) && op->hasOneUse() && value.hasOneUse() ? op : nullptr;
}

bool galvatron::isLibraryAdd(AddOp op) {
  Value lhs = op.getLhs(), rhs = op.getRhs();
  if (lhs == rhs)
    return false;
  for (auto [value, other] : {std::pair(lhs, rhs), std::pair(rhs, lhs)}) {
    Operation *product = productOf(value);
    if (!product)
      continue;
    // A bias along the last dimensions of a product.
    auto broadcast = other.getDefiningOp<BroadcastOp>();
    auto contract = value.getDefiningOp<ContractOp>();
    if (broadcast && contract && broadcast->hasOneUse() && planMatmulWithBias(contract, broadcast.getDims()))
      return true;
    // A running sum: an argument that is read nowhere else, or products before this one.
    auto before = other.getDefiningOp<AddOp>();
    if ((isa<BlockArgument>(other) && other.hasOneUse()) || productOf(other) || (before && other.hasOneUse() && isLibraryAdd(before)))
      return true;
  }
  return false;
}

bool galvatron::isPartOfLibraryAdd(Operation *op) {
  if (isa<BroadcastOp>(op) && op->hasOneUse())
    op = *op->user_begin();
  auto add = dyn_cast<AddOp>(op);
  return add && isLibraryAdd(add);
}

//===----------------------------------------------------------------------===//
// Classification
//===----------------------------------------------------------------------===//

KernelGrouping::KernelGrouping(Block &block, const llvm::DenseSet<Operation *> &alone) : alone(alone) {
  classify(block);
  for (Operation &op : block)
    if (isFusible(&op) && !virtualOps.contains(&op) && !library.contains(&op))
      assign(&op);
}

bool KernelGrouping::isVirtualByNature(Operation *op) const {
  if (isa<ConstantOp, IotaOp, BroadcastOp, ReshapeOp, SliceOp, TransposeOp>(op))
    return true;
  // Arithmetic on what is made of indices and of tensors that are small beside the result.
  auto element = dyn_cast<ElementOpInterface>(op);
  if (!element || element.getElementCost() > 1 || !op->hasTrait<OpTrait::Elementwise>())
    return false;
  int64_t read = 0;
  for (Value operand : op->getOperands()) {
    SmallVector<Value> open{operand};
    while (!open.empty()) {
      Value value = open.pop_back_val();
      Operation *producer = value.getDefiningOp();
      if (producer && virtualOps.contains(producer))
        llvm::append_range(open, producer->getOperands());
      else
        read += elements(value);
      if (open.size() > 32)
        return false;
    }
  }
  return read * 4 <= elements(op->getResult(0));
}

void KernelGrouping::classify(Block &block) {
  unsigned number = 0;
  for (Operation &op : block)
    order[&op] = number++;
  for (Operation &op : block)
    if (isPartOfLibraryAdd(&op))
      library.insert(&op);
  // Backwards: a value is wanted in memory if a library call, or what is left of the function, reads it.
  for (Operation &op : llvm::reverse(block)) {
    if (op.getNumResults() == 0)
      continue;
    for (Operation *user : op.getUsers()) {
      bool isView = isa<ReshapeOp>(user);
      if (isView ? hardUsed.contains(user) : (!isFusible(user) || library.contains(user)))
        hardUsed.insert(&op);
    }
  }
  for (Operation &op : block) {
    if (library.contains(&op) || op.getNumResults() != 1 || !isa<ElementOpInterface>(op))
      continue;
    unsigned &depth = depths[&op];
    for (Value operand : op.getOperands())
      if (Operation *producer = operand.getDefiningOp(); producer && (virtualOps.contains(producer) || isCheapHere(producer)))
        depth = std::max(depth, depths.lookup(producer) + 1);
    if (isa<ReshapeOp>(op) || (depth <= maxDepth && !hardUsed.contains(&op) && isVirtualByNature(&op)))
      virtualOps.insert(&op);
  }
}

bool KernelGrouping::isCheapHere(Operation *op) const {
  auto element = dyn_cast<ElementOpInterface>(op);
  return element && !library.contains(op) && !hardUsed.contains(op) && element.getElementCost() <= 1 && depths.lookup(op) <= maxDepth;
}

bool KernelGrouping::isRecomputed(Operation *op, const KernelGroup &group) const {
  if (virtualOps.contains(op))
    return true;
  return group.kind == GroupKind::Columns && isCheapHere(op);
}

std::optional<unsigned> KernelGrouping::groupOf(Value value) const {
  Operation *op = value.getDefiningOp();
  auto it = op ? memberOf.find(op) : memberOf.end();
  return it == memberOf.end() ? std::nullopt : std::optional<unsigned>(it->second);
}

//===----------------------------------------------------------------------===//
// What an op needs
//===----------------------------------------------------------------------===//

void KernelGrouping::needsOf(Operation *op, ArrayRef<int64_t> candidates, SmallVectorImpl<Need> &needs) const {
  SmallVector<std::pair<OpOperand *, SmallVector<int64_t>>> open;
  auto visit = [&](Operation *user, ArrayRef<int64_t> rows) {
    for (OpOperand &operand : user->getOpOperands()) {
      SmallVector<int64_t> kept;
      for (int64_t n : rows)
        if (keepsRows(operand, n))
          kept.push_back(n);
      open.emplace_back(&operand, std::move(kept));
    }
  };
  visit(op, candidates);
  while (!open.empty()) {
    auto [operand, rows] = open.pop_back_val();
    Value leaf = operand->get();
    Operation *producer = leaf.getDefiningOp();
    if (producer && virtualOps.contains(producer)) {
      visit(producer, rows);
      continue;
    }
    auto known = llvm::find_if(needs, [&](const Need &need) { return need.leaf == leaf; });
    if (known == needs.end()) {
      needs.push_back({leaf, rows});
      continue;
    }
    // Needed twice: the rows must suit both ways.
    llvm::erase_if(known->candidates, [&, &rows = rows](int64_t n) { return !llvm::is_contained(rows, n); });
  }
}

llvm::SetVector<Value> KernelGrouping::columnLeaves(Operation *op) const {
  // What is cheap is computed again from what is in memory, rather than written there for the sums.
  llvm::SetVector<Value> leaves;
  SmallVector<Value> open(op->getOperands());
  llvm::DenseSet<Value> seen;
  while (!open.empty()) {
    Value value = open.pop_back_val();
    if (!seen.insert(value).second)
      continue;
    Operation *producer = value.getDefiningOp();
    if (producer && (virtualOps.contains(producer) || isCheapHere(producer)))
      llvm::append_range(open, producer->getOperands());
    else
      leaves.insert(value);
  }
  return leaves;
}

//===----------------------------------------------------------------------===//
// The graph of groups
//===----------------------------------------------------------------------===//

unsigned KernelGrouping::newGroup(GroupKind kind, ArrayRef<int64_t> candidates) {
  KernelGroup group;
  group.kind = kind;
  group.candidates.assign(candidates.begin(), candidates.end());
  groups.push_back(std::move(group));
  return groups.size() - 1;
}

void KernelGrouping::add(unsigned number, Operation *op, ValueRange leaves) {
  KernelGroup &group = groups[number];
  group.members.push_back(op);
  memberOf[op] = number;
  group.leaves.insert(leaves.begin(), leaves.end());
  group.leaves.remove_if([&](Value leaf) { return groupOf(leaf) == number; });
}

bool KernelGrouping::dependsOn(ValueRange values, const llvm::DenseSet<unsigned> &targets) const {
  SmallVector<Value> open(values);
  llvm::DenseSet<Operation *> seenOps;
  llvm::DenseSet<unsigned> seenGroups;
  while (!open.empty()) {
    Value value = open.pop_back_val();
    Operation *op = value.getDefiningOp();
    if (!op)
      continue;
    if (std::optional<unsigned> group = groupOf(value)) {
      if (targets.contains(*group))
        return true;
      if (seenGroups.insert(*group).second)
        llvm::append_range(open, groups[*group].leaves);
      continue;
    }
    if (seenOps.insert(op).second)
      llvm::append_range(open, op->getOperands());
  }
  return false;
}

bool KernelGrouping::canMerge(ArrayRef<unsigned> parts, ValueRange moreLeaves) const {
  // Nothing outside may stand between two of the parts.
  llvm::DenseSet<unsigned> targets(parts.begin(), parts.end());
  SmallVector<Value> outside;
  size_t members = 0;
  auto collect = [&](Value leaf) {
    std::optional<unsigned> group = groupOf(leaf);
    if (group && targets.contains(*group))
      return;
    outside.push_back(leaf);
  };
  llvm::SetVector<Value> leaves(moreLeaves.begin(), moreLeaves.end());
  for (unsigned part : parts) {
    members += groups[part].members.size();
    leaves.insert(groups[part].leaves.begin(), groups[part].leaves.end());
  }
  for (Value leaf : leaves)
    collect(leaf);
  return members < maxMembers && outside.size() <= maxLeaves && !dependsOn(outside, targets);
}

unsigned KernelGrouping::merge(ArrayRef<unsigned> parts, ArrayRef<int64_t> candidates) {
  unsigned target = *llvm::min_element(parts);
  KernelGroup &group = groups[target];
  for (unsigned part : parts) {
    if (part == target)
      continue;
    for (Operation *op : groups[part].members)
      memberOf[op] = target;
    group.members.append(groups[part].members);
    group.leaves.insert(groups[part].leaves.begin(), groups[part].leaves.end());
    groups[part] = KernelGroup();
  }
  llvm::sort(group.members, [&](Operation *a, Operation *b) { return order.lookup(a) < order.lookup(b); });
  group.leaves.remove_if([&](Value leaf) { return groupOf(leaf) == target; });
  group.candidates.assign(candidates.begin(), candidates.end());
  return target;
}

//===----------------------------------------------------------------------===//
// Assignment
//===----------------------------------------------------------------------===//

static SmallVector<int64_t> intersect(ArrayRef<int64_t> a, ArrayRef<int64_t> b) {
  SmallVector<int64_t> both;
  for (int64_t n : a)
    if (llvm::is_contained(b, n))
      both.push_back(n);
  return both;
}

void KernelGrouping::assign(Operation *op) {
  if (auto reduce = dyn_cast<ReduceOp>(op)) {
    if (reducesTrailing(reduce))
      return assignToRows(op, elements(reduce.getResult()));
    if (!reducesInnermost(reduce))
      return assignToColumns(reduce);
  }
  if (isa<ReduceOp, CumsumOp>(op) || alone.contains(op)) {
    SmallVector<Need> needs;
    needsOf(op, {}, needs);
    unsigned group = newGroup(GroupKind::Alone, {});
    for (const Need &need : needs)
      add(group, op, need.leaf);
    groups[group].members.assign(1, op);
    memberOf[op] = group;
    return;
  }
  if (joinColumnsEpilogue(op))
    return;
  assignToRows(op, rowCandidates(tensorType(op->getResult(0)).getShape()));
}

void KernelGrouping::assignToRows(Operation *op, ArrayRef<int64_t> own) {
  SmallVector<Need> needs;
  needsOf(op, own, needs);
  SmallVector<Value> leaves;
  for (const Need &need : needs)
    leaves.push_back(need.leaf);
  int64_t size = elements(op->getResult(0));
  for (Value operand : op->getOperands())
    size = std::max(size, elements(operand));

  SmallVector<unsigned> parts;
  SmallVector<int64_t> candidates(own);
  auto tryJoin = [&](unsigned number) {
    if (llvm::is_contained(parts, number) || groups[number].kind != GroupKind::Rows || alone.contains(op) ||
        alone.contains(groups[number].members.front()))
      return;
    SmallVector<int64_t> common = intersect(candidates, groups[number].candidates);
    for (const Need &need : needs)
      if (groupOf(need.leaf) == number)
        common = intersect(common, need.candidates);
    SmallVector<unsigned> more(parts);
    more.push_back(number);
    // What one part made for another in memory becomes a value inside the kernel, and must suit it as well.
    for (unsigned part : more)
      for (Operation *member : groups[part].members) {
        SmallVector<Need> inner;
        needsOf(member, common, inner);
        for (const Need &need : inner)
          if (std::optional<unsigned> group = groupOf(need.leaf); group && llvm::is_contained(more, *group))
            common = intersect(common, need.candidates);
      }
    if (common.empty())
      return;
    int64_t before = std::min(candidates.back(), groups[number].candidates.back());
    if (common.back() < fewRows && before > common.back() && size > smallKernel)
      return;
    if (!canMerge(more, leaves))
      return;
    parts.push_back(number);
    candidates = std::move(common);
  };
  // Those that make operands, latest first; then those that read the same tensors.
  SmallVector<unsigned> makers, readers;
  for (Value leaf : leaves)
    if (std::optional<unsigned> group = groupOf(leaf))
      makers.push_back(*group);
  llvm::sort(makers, std::greater<>());
  for (unsigned number : makers)
    tryJoin(number);
  for (unsigned number = groups.size(); number-- > 0;)
    if (!groups[number].members.empty() && llvm::any_of(leaves, [&](Value leaf) {
          return elements(leaf) * 2 > size && elements(leaf) > 1 && groups[number].leaves.contains(leaf);
        }))
      readers.push_back(number);
  for (unsigned number : readers)
    tryJoin(number);

  unsigned group = parts.empty() ? newGroup(GroupKind::Rows, candidates) : merge(parts, candidates);
  add(group, op, leaves);
}

void KernelGrouping::assignToColumns(ReduceOp op) {
  llvm::SetVector<Value> leaves = columnLeaves(op);
  for (unsigned number = groups.size(); number-- > 0;) {
    KernelGroup &group = groups[number];
    if (group.kind != GroupKind::Columns || group.members.empty() || alone.contains(op))
      continue;
    auto first = dyn_cast<ReduceOp>(group.members.front());
    bool shares = llvm::any_of(leaves, [&](Value leaf) { return group.leaves.contains(leaf); });
    if (!first || !shares || first.getDims() != op.getDims() ||
        tensorType(first.getOperand()).getShape() != tensorType(op.getOperand()).getShape() ||
        !canMerge(number, leaves.getArrayRef()))
      continue;
    return add(number, op, leaves.getArrayRef());
  }
  add(newGroup(GroupKind::Columns, {}), op, leaves.getArrayRef());
}

bool KernelGrouping::joinColumnsEpilogue(Operation *op) {
  if (!op->hasTrait<OpTrait::Elementwise>())
    return false;
  SmallVector<Need> needs;
  needsOf(op, {}, needs);
  std::optional<unsigned> target;
  SmallVector<Value> leaves;
  for (const Need &need : needs) {
    leaves.push_back(need.leaf);
    std::optional<unsigned> group = groupOf(need.leaf);
    if (group && groups[*group].kind == GroupKind::Columns && elements(need.leaf) == elements(op->getResult(0)))
      target = group;
  }
  if (!target)
    return false;
  // Sums must arrive as they are: unmoved, and through nothing but reshapes.
  for (Value operand : op->getOperands()) {
    Value source = operand;
    while (auto reshape = source.getDefiningOp<ReshapeOp>())
      source = reshape.getOperand();
    SmallVector<Value> open{source};
    while (!open.empty()) {
      Value value = open.pop_back_val();
      if (groupOf(value) == target && value != source)
        return false;
      if (Operation *producer = value.getDefiningOp(); producer && virtualOps.contains(producer))
        llvm::append_range(open, producer->getOperands());
    }
  }
  if (!canMerge(*target, leaves))
    return false;
  add(*target, op, leaves);
  return true;
}
