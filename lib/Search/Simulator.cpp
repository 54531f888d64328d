//===- Simulator.cpp ------------------------------------------------------===//

#include "galvatron/Search/Simulator.h"

#include "Tolerance.h"
#include "galvatron/Plan/MicroBatchOrder.h"
#include "llvm/ADT/STLExtras.h"

#include <algorithm>
#include <deque>
#include <queue>

using namespace llvm;
using namespace galvatron;
using namespace galvatron::search;

double Simulation::getBubble() const {
  double computed = 0;
  for (double stage : busy)
    computed += stage;
  return time > 0 ? 1 - computed / (time * static_cast<double>(busy.size())) : 0;
}

namespace {

using Kind = Simulation::Kind;

/// Something that waits to be done.
struct Task {
  Kind kind;
  int64_t microBatch;
  double work;
  int64_t cause;       ///< the span that made it possible
  bool isLast = false; ///< of a backward's pieces
};

/// What computes, or what communicates: one thing at a time.
struct Unit {
  std::optional<Task> task;
  double begin = 0, left = 0; ///< work
  int64_t last = -1;          ///< the span that it did before
  double lastEnd = 0;
};

struct Stage {
  SmallVector<StageWork> order;
  size_t next = 0;                    ///< of `order`
  int64_t nextPiece = 0;              ///< of the last backward
  std::vector<int64_t> inputs, gradients; ///< by micro-batch: the span that brought it; -1: not there yet
  Unit compute, link;
  std::deque<Task> waiting;           ///< for the link
  double since = 0;                   ///< when `left` of both units was true
  uint64_t version = 0;               ///< of its next event
  double held = 0;                    ///< memory
};

class Simulator {
public:
  Simulator(const std::vector<SimulatedStage> &given, PlanSchedule schedule, int64_t microBatches, double slowdown)
      : given(given), microBatches(microBatches), slowdown(slowdown), stages(given.size()) {
    int64_t count = static_cast<int64_t>(given.size());
    result.busy.assign(given.size(), 0);
    result.memory.resize(given.size());
    for (auto [index, stage] : enumerate(stages)) {
      stage.order = orderMicroBatches(schedule, static_cast<int64_t>(index), count, microBatches);
      stage.inputs.assign(static_cast<size_t>(microBatches), -1);
      stage.gradients.assign(static_cast<size_t>(microBatches), -1);
      setMemory(index, given[index].states);
    }
  }

  Simulation run();

private:
  using Event = std::tuple<double, size_t, uint64_t>; ///< time, stage, version

  double getRate(const Stage &stage) const { return stage.compute.task && stage.link.task ? 1 / slowdown : 1; }
  void advance(size_t index);
  void schedule(size_t index);
  void startCompute(size_t index);
  void startLink(size_t index);
  void finish(size_t index, Unit &unit);
  void finishCompute(size_t index, const Task &task, int64_t span);
  void finishLink(size_t index, const Task &task, int64_t span);
  void send(size_t index, Task task);
  void setMemory(size_t index, double memory) {
    stages[index].held = memory;
    result.memory[index].emplace_back(now, memory);
  }

  const std::vector<SimulatedStage> &given;
  int64_t microBatches;
  double slowdown, now = 0;
  std::vector<Stage> stages;
  std::priority_queue<Event, std::vector<Event>, std::greater<Event>> events;
  Simulation result;
};

/// Brings what a stage's units have left to do up to now.
void Simulator::advance(size_t index) {
  Stage &stage = stages[index];
  double done = (now - stage.since) * getRate(stage);
  for (Unit *unit : {&stage.compute, &stage.link})
    if (unit->task)
      unit->left = std::max(0.0, unit->left - done);
  stage.since = now;
}

/// When the first of a stage's units will be done.
void Simulator::schedule(size_t index) {
  advance(index);
  Stage &stage = stages[index];
  double least = infinity;
  for (const Unit *unit : {&stage.compute, &stage.link})
    if (unit->task)
      least = std::min(least, unit->left);
  ++stage.version;
  if (least != infinity)
    events.emplace(now + least / getRate(stage), index, stage.version);
}

void Simulator::startCompute(size_t index) {
  Stage &stage = stages[index];
  if (stage.compute.task || stage.next == stage.order.size())
    return;
  auto [isBackward, microBatch] = stage.order[stage.next];
  bool isEdge = isBackward ? index + 1 == stages.size() : index == 0;
  int64_t cause = isEdge ? -1 : (isBackward ? stage.gradients : stage.inputs)[static_cast<size_t>(microBatch)];
  if (!isEdge && cause < 0)
    return;
  advance(index);
  const SimulatedStage &costs = given[index];
  // Only the last backward is in pieces.
  bool isPieces = isBackward && microBatch == microBatches - 1 && costs.reduction > 0;
  int64_t pieces = isPieces ? std::max<int64_t>(1, costs.pieces) : 1;
  Task task{isBackward ? Kind::Backward : Kind::Forward, microBatch, (isBackward ? costs.backward : costs.forward) / static_cast<double>(pieces), cause};
  task.isLast = !isBackward || stage.nextPiece + 1 >= pieces;
  if (!isBackward)
    setMemory(index, stage.held + costs.activation);
  stage.compute.task = task;
  stage.compute.begin = now;
  stage.compute.left = task.work;
}

void Simulator::startLink(size_t index) {
  Stage &stage = stages[index];
  if (stage.link.task || stage.waiting.empty())
    return;
  advance(index);
  stage.link.task = stage.waiting.front();
  stage.waiting.pop_front();
  stage.link.begin = now;
  stage.link.left = stage.link.task->work;
}

/// What other stages wait for goes before reductions.
void Simulator::send(size_t index, Task task) {
  std::deque<Task> &waiting = stages[index].waiting;
  auto place = task.kind == Kind::Reduce ? waiting.end() : llvm::find_if(waiting, [](const Task &other) { return other.kind == Kind::Reduce; });
  waiting.insert(place, task);
}

void Simulator::finish(size_t index, Unit &unit) {
  Task task = *unit.task;
  unit.task.reset();
  Simulation::Span span{index, task.kind, task.microBatch, unit.begin, now, task.cause};
  // What came last let it begin: what it needs, or that the unit was free.
  if (unit.last >= 0 && (task.cause < 0 || unit.lastEnd >= result.spans[static_cast<size_t>(task.cause)].end))
    span.cause = unit.last;
  int64_t number = static_cast<int64_t>(result.spans.size());
  result.spans.push_back(span);
  unit.last = number;
  unit.lastEnd = now;
  if (&unit == &stages[index].compute) {
    result.busy[index] += now - span.begin;
    finishCompute(index, task, number);
  } else {
    finishLink(index, task, number);
  }
}

void Simulator::finishCompute(size_t index, const Task &task, int64_t span) {
  Stage &stage = stages[index];
  const SimulatedStage &costs = given[index];
  if (task.kind == Kind::Forward) {
    if (index + 1 < stages.size())
      send(index, {Kind::SendForward, task.microBatch, costs.send, span});
    ++stage.next;
    return;
  }
  if (task.microBatch == microBatches - 1 && costs.reduction > 0)
    send(index, {Kind::Reduce, task.microBatch, costs.reduction / static_cast<double>(std::max<int64_t>(1, costs.pieces)), span});
  ++stage.nextPiece;
  if (!task.isLast)
    return;
  stage.nextPiece = 0;
  ++stage.next;
  setMemory(index, stage.held - costs.activation);
  if (index > 0)
    send(index, {Kind::SendBackward, task.microBatch, given[index - 1].send, span});
}

void Simulator::finishLink(size_t index, const Task &task, int64_t span) {
  if (task.kind == Kind::Reduce)
    return;
  bool isForward = task.kind == Kind::SendForward;
  size_t to = isForward ? index + 1 : index - 1;
  (isForward ? stages[to].inputs : stages[to].gradients)[static_cast<size_t>(task.microBatch)] = span;
  startCompute(to);
  schedule(to);
}

Simulation Simulator::run() {
  for (size_t index = 0; index < stages.size(); ++index) {
    startCompute(index);
    schedule(index);
  }
  while (!events.empty()) {
    auto [time, index, version] = events.top();
    events.pop();
    Stage &stage = stages[index];
    if (version != stage.version)
      continue;
    now = time;
    advance(index);
    // Rounding may leave a trace of what is done.
    double trace = rounding * std::max(now, 1e-300);
    for (Unit *unit : {&stage.compute, &stage.link})
      if (unit->task && unit->left <= trace)
        finish(index, *unit);
    startCompute(index);
    startLink(index);
    schedule(index);
  }
  result.time = now;
  for (const auto &history : result.memory) {
    double &peak = result.peak.emplace_back(0);
    for (auto [time, memory] : history)
      peak = std::max(peak, memory);
  }
  if (!result.spans.empty()) {
    for (int64_t span = static_cast<int64_t>(result.spans.size()) - 1; span >= 0; span = result.spans[static_cast<size_t>(span)].cause)
      result.criticalPath.push_back(static_cast<size_t>(span));
    std::reverse(result.criticalPath.begin(), result.criticalPath.end());
  }
  return std::move(result);
}

} // namespace

Simulation search::simulate(const std::vector<SimulatedStage> &stages, PlanSchedule schedule, int64_t microBatches, double slowdown) {
  return Simulator(stages, schedule, microBatches, slowdown).run();
}
