//===- CostModel.cpp ------------------------------------------------------===//

#include "galvatron/Search/Hetu/CostModel.h"

#include "llvm/Support/FormatVariadic.h"

#include <algorithm>
#include <cmath>
#include <numeric>

using namespace llvm;
using namespace galvatron;
using namespace galvatron::hetu;

static constexpr double bytesOfMegabyte = 1 << 20;
/// What a process has of a device before it does anything.
static constexpr double contextMegabytes = 1024;

std::string LayerStrategy::str() const {
  bool isShared = getShare() > 1;
  return std::to_string(pipeline) + "-" + std::to_string(getShare()) + (isShared ? "*" : "") + "-" + std::to_string(data) +
         (sharding == StateSharding::Zero3 ? "f" : "") + (checkpoint ? "-c" : "") + (sequence > 1 ? "-sp" : "");
}

//===----------------------------------------------------------------------===//
// What the profiles must have
//===----------------------------------------------------------------------===//

std::optional<CostModel> CostModel::make(HardwareProfile hardware, ComputationProfile computation, MemoryProfile memory, Settings settings,
                                         Report report) {
  bool ok = true;
  auto need = [&](bool isThere, StringRef path, const Twine &what) {
    if (!isThere)
      report("'" + path + "': " + what + " is missing, which " + Twine(hardware.nodes) + " x " + Twine(hardware.ranksPerNode) + " ranks need");
    ok &= isThere;
  };
  int64_t ranks = hardware.getRanks();
  for (int64_t group = 2; group <= ranks; group *= 2) {
    for (bool areNeighbours : {true, false})
      if (group < ranks || areNeighbours)
        need(hardware.allReduceBandwidth.count({group, areNeighbours}), hardware.paths.reductions,
             "\"allreduce_size_" + Twine(group) + "_consec_" + Twine(int(areNeighbours)) + "\"");
    need(hardware.sendBandwidth.count(group) || group > settings.layers, hardware.paths.sends, "\"pp_size_" + Twine(group) + "\"");
    if (group > settings.mostShare)
      continue;
    need(hardware.allReduceTime.count(group), hardware.paths.collectives, "\"allreduce_size_" + Twine(group) + "_...MB_time\"");
    need(hardware.allToAllTime.count(group), hardware.paths.collectives, "\"all2all_size_" + Twine(group) + "_...MB_time\"");
  }
  int64_t mostShare = std::min(ranks, settings.mostShare);
  auto needDegrees = [&](const MegabytesByDegree &degrees, const Twine &key, int64_t most) {
    for (int64_t share = 1; share <= most; share *= 2)
      if (!degrees.count(share)) {
        report("'" + memory.path + "': " + key + ": \"" + Twine(share) + "\" is missing, which degrees up to " + Twine(most) + " need");
        ok = false;
        return;
      }
  };
  for (const LayerMemory &layer : memory.layers)
    needDegrees(layer.activation, "\"tp_activation_per_bsz_dict\"", mostShare);
  for (auto [key, other] : {std::pair("other_memory_pp_off", &memory.whole), {"other_memory_pp_on_first", &memory.first}, {"other_memory_pp_on_last", &memory.last}}) {
    // Of the ranks of a pipeline, half are on a stage at most.
    int64_t most = other == &memory.whole ? mostShare : std::min(mostShare, ranks / 2);
    needDegrees(other->states, "\"" + Twine(key) + "...\": \"model_states\"", most);
    needDegrees(other->activation, "\"" + Twine(key) + "...\": \"activation\"", most);
  }
  // A line through times that fall, say, is below zero where there is little to compute.
  double least = 1 / static_cast<double>(std::min(ranks, settings.mostShare));
  for (const ForwardTime *time : {&computation.layers.front(), &computation.other})
    if ((*time)(least) < 0) {
      report("'" + computation.path + "': what it says of the time of batches is below 0 for " + formatv("{0:F3}", least).str() + " samples");
      ok = false;
    }
  if (!ok)
    return std::nullopt;
  CostModel model;
  model.hardware = std::move(hardware);
  model.computation = std::move(computation);
  model.memory = std::move(memory);
  model.settings = settings;
  return model;
}

CostModel CostModel::withOrder(PlanSchedule order) const {
  CostModel other = *this;
  other.settings.order = order;
  return other;
}

//===----------------------------------------------------------------------===//
// Shared by layers and ends
//===----------------------------------------------------------------------===//

/// ms for a MB that ranks reduce: one over the bus bandwidth.
double CostModel::getReductionTime(int64_t ranks, bool areNeighbours) const {
  if (ranks == 1)
    return 0;
  return 1 / hardware.allReduceBandwidth.at({ranks, areNeighbours || ranks == hardware.getRanks()});
}

double CostModel::getMessageMegabytes(int64_t localBatch) const {
  int64_t bytes = settings.mixedPrecision ? 2 : 4;
  return static_cast<double>(localBatch) * static_cast<double>(settings.sequence * settings.hidden * bytes) / bytesOfMegabyte;
}

std::optional<std::string> CostModel::describeInterpolation(const LayerStrategy &s, int64_t globalBatch, int64_t microBatches) const {
  int64_t share = s.getShare();
  if (share == 1)
    return std::nullopt;
  double megabytes = getMessageMegabytes(getLocalBatch(globalBatch, microBatches, s.data));
  const TimeTable &table = (s.tensor > 1 ? hardware.allReduceTime : hardware.allToAllTime).at(share);
  if (table.isMeasured(megabytes))
    return std::nullopt;
  std::string size = megabytes == std::floor(megabytes) ? std::to_string(static_cast<int64_t>(megabytes)) : formatv("{0:F2}", megabytes).str();
  return formatv("\"{0}_size_{1}_{2}MB_time\" was not measured: {3:F3} ms, by the line through {4} sizes", s.tensor > 1 ? "allreduce" : "all2all", share, size,
                 table.lookup(megabytes), table.size())
      .str();
}

/// Micro-batches whose activations a stage keeps at once.
int64_t CostModel::countInFlight(int64_t pipeline, int64_t stage, int64_t microBatches) const {
  if (pipeline == 1)
    return 1;
  return settings.order == PlanSchedule::GPipe ? microBatches : pipeline - stage;
}

/// The part of the 16 bytes of a parameter (weight, gradient and two moments in 32 bits) that a rank has. Of 8 units, each shared one is
/// 1/z and 3 in a thousand; with weights of 16 bits, one unit more or less is whole.
double CostModel::getStateShare(StateSharding sharding, int64_t replicas, int64_t microBatches) const {
  if (sharding == StateSharding::Replicated || replicas == 1)
    return 1;
  double shared = 1 / static_cast<double>(replicas) + 0.003;
  bool isZero2 = sharding == StateSharding::Zero2;
  if (!settings.mixedPrecision) {
    if (microBatches > 1 && settings.asyncReduction)
      return isZero2 ? 2 / 4. * shared + 2 / 4. : 3 / 4. * shared + 1 / 4.;
    if (isZero2)
      return 3 / 4. * shared + 1 / 4.;
    return microBatches == 1 ? shared : 5 / 4. * shared;
  }
  if (microBatches == 1)
    return isZero2 ? 7 / 8. * shared + 1 / 8. : shared;
  if (settings.asyncReduction)
    return isZero2 ? 6 / 8. * shared + 2 / 8. : 7 / 8. * shared + 1 / 8.;
  return (isZero2 ? 7 / 8. * shared + 1 / 8. : shared) * 5 / 4;
}

/// ms of a computation beside which `volume` MB are reduced: while both run, both are slower.
double CostModel::overlap(double volume, double perMegabyte, double computation) const {
  double slow = hardware.overlapSlowdown, reduction = volume * perMegabyte * slow, slowed = computation * slow;
  if (reduction > slowed)
    return slowed + (volume - slowed / (perMegabyte * slow)) * perMegabyte;
  if (reduction < slowed)
    return reduction + computation - reduction / slow;
  return slowed;
}

//===----------------------------------------------------------------------===//
// Layers
//===----------------------------------------------------------------------===//

void TimeParts::add(const TimeParts &other, double times) {
  forward += times * other.forward;
  backward += times * other.backward;
  recomputation += times * other.recomputation;
  exchange += times * other.exchange;
  gather += times * other.gather;
  send += times * other.send;
}

LayerCost CostModel::getLayerCost(const LayerStrategy &s, int64_t globalBatch, int64_t microBatches) const {
  const LayerMemory &layer = memory.layers.front();
  int64_t local = getLocalBatch(globalBatch, microBatches, s.data), share = s.getShare(), replicas = s.getReplicas();
  double half = settings.mixedPrecision ? 0.5 : 1;

  double forward = computation.layers.front()(static_cast<double>(local) / static_cast<double>(share));
  double backward = 2 * forward + (s.checkpoint ? forward : 0);
  double z = static_cast<double>(replicas), tensor = static_cast<double>(s.tensor);
  double volume = 2 * (z - 1) / z * (layer.parameters / tensor) * half;
  double perMegabyte = getReductionTime(replicas, /*areNeighbours=*/s.tensor == 1);
  double exchange = 0;
  if (share > 1) {
    double message = getMessageMegabytes(local);
    // Three gathers of attention and three of the MLP, each half of an all-reduce; or four all-to-alls.
    exchange = s.tensor > 1 ? 6 * (0.5 * hardware.allReduceTime.at(share).lookup(message)) : 4 * hardware.allToAllTime.at(share).lookup(message);
    exchange *= s.checkpoint ? 1.5 : 1;
  }
  double gather = s.sharding == StateSharding::Zero3 ? 0.5 * volume * perMegabyte : 0;
  double send = s.pipeline == 1 ? 0
                                : static_cast<double>(s.pipeline * 2 * local) * static_cast<double>(settings.sequence * settings.hidden * 4) / bytesOfMegabyte *
                                      half / hardware.sendBandwidth.at(s.pipeline) / static_cast<double>(settings.layers);
  // Ranks that share a sequence and no batch reduce gradients, too, which the predecessor leaves out.
  bool isReduced = settings.isCorrected ? replicas > 1 : s.data > 1;

  LayerCost cost;
  cost.parts = {forward / 1000, 2 * forward / 1000, (backward - 2 * forward) / 1000, exchange / 1000, gather / 1000, send / 1000};
  cost.reduction = isReduced ? volume * perMegabyte / 1000 : 0;
  cost.time = (forward + backward + exchange + gather + send) / 1000;
  cost.timeWithSync = (forward + (isReduced ? overlap(volume, perMegabyte, backward) : backward) + exchange + gather + send) / 1000;
  cost.states = 4 * layer.parameters / tensor * getStateShare(s.sharding, replicas, microBatches);
  double each = s.checkpoint ? layer.checkpoint / (s.sequence > 1 || settings.sequenceParallel ? static_cast<double>(share) : 1) : layer.activation.at(share);
  for (int64_t stage = 0; stage < s.pipeline; ++stage)
    cost.activation.push_back(each * static_cast<double>(local * countInFlight(s.pipeline, stage, microBatches)));
  return cost;
}

//===----------------------------------------------------------------------===//
// Embedding and head
//===----------------------------------------------------------------------===//

EndCost CostModel::getEndCost(const LayerStrategy &s, int64_t globalBatch, int64_t microBatches) const {
  int64_t local = getLocalBatch(globalBatch, microBatches, s.data), share = s.getShare(), replicas = s.getReplicas();
  double half = settings.mixedPrecision ? 0.5 : 1, z = static_cast<double>(replicas);
  double forward = computation.other(static_cast<double>(local) / static_cast<double>(share)) / (s.pipeline > 1 ? 2 : 1);
  double perMegabyte = getReductionTime(replicas, /*areNeighbours=*/s.tensor == 1) * (z - 1) / z;
  bool isZero3 = s.sharding == StateSharding::Zero3;
  double slow = hardware.overlapSlowdown;
  auto beside = [&](double communication, double computed) {
    double slowed = computed * slow;
    return slowed > communication ? communication + (slowed - communication) / slow : communication;
  };

  EndCost cost;
  cost.time.assign(s.pipeline, 0);
  cost.timeWithSync.assign(s.pipeline, 0);
  cost.memory.assign(s.pipeline, contextMegabytes);
  auto addTo = [&](size_t stage, const OtherMemory &other, int64_t inFlight, int64_t gathers) {
    double volume = other.states.at(s.tensor) / 4 * half;
    double exchange = s.tensor > 1 ? static_cast<double>(gathers) * 0.5 * hardware.allReduceTime.at(s.tensor).lookup(getMessageMegabytes(local)) : 0;
    // In volumes that a ring moves once. Both gathers are together what a layer's one is; the predecessor reduces a quarter of what a layer does.
    double gather = isZero3 ? 0.5 : 0, reduce = settings.isCorrected ? 2 : 0.5;
    for (bool isSync : {false, true}) {
      double gathered = beside(volume * perMegabyte * gather, forward);
      double reduced = beside(volume * perMegabyte * (gather + (isSync ? reduce : 0)), 2 * forward);
      (isSync ? cost.timeWithSync : cost.time)[stage] += (gathered + reduced + exchange) / 1000;
    }
    cost.memory[stage] += other.states.at(s.tensor) * getStateShare(s.sharding, replicas, microBatches) +
                          other.activation.at(share) * static_cast<double>(local * inFlight);
  };
  if (s.pipeline == 1) {
    addTo(0, memory.whole, 1, 2);
    return cost;
  }
  addTo(0, memory.first, countInFlight(s.pipeline, 0, microBatches), 1);
  addTo(s.pipeline - 1, memory.last, countInFlight(s.pipeline, s.pipeline - 1, microBatches), 1);
  return cost;
}

//===----------------------------------------------------------------------===//
// Steps
//===----------------------------------------------------------------------===//

double CostModel::getMoveTime(int64_t pipeline, int64_t from, int64_t to, int64_t globalBatch, int64_t microBatches) const {
  if (from == to)
    return 0;
  int64_t ranks = getRanks() / pipeline;
  auto timeOf = [&](int64_t share) {
    double k = static_cast<double>(share), bytes = settings.mixedPrecision ? 2 : 4;
    double rows = static_cast<double>(globalBatch) / static_cast<double>(microBatches) / (static_cast<double>(ranks) / k);
    double megabytes = rows * static_cast<double>(settings.sequence * settings.hidden) * bytes / bytesOfMegabyte;
    return (k - 1) / k * megabytes * getReductionTime(share, /*areNeighbours=*/true) / 1000;
  };
  int64_t larger = std::max(from, to);
  double least = timeOf(larger);
  for (int64_t by = 2 * larger; by <= std::min(ranks, settings.mostShare); by *= 2)
    least = std::min(least, 2 * timeOf(by)); // there and back
  return least;
}

int64_t CostModel::getBufferMegabytes(int64_t pipeline, int64_t largestShare, int64_t globalBatch, int64_t microBatches) const {
  if (!settings.sequenceParallel || !settings.memoryBuffer)
    return 0;
  double rows = static_cast<double>(globalBatch) / static_cast<double>(microBatches) /
                (static_cast<double>(getRanks()) / static_cast<double>(pipeline) / static_cast<double>(largestShare));
  return static_cast<int64_t>(rows * static_cast<double>(settings.hidden) * static_cast<double>(settings.sequence) * 4 / bytesOfMegabyte / 2);
}

double CostModel::getStepTime(ArrayRef<double> layersWithSync, ArrayRef<double> hiding, int64_t microBatches, ArrayRef<double> moves) {
  std::vector<double> stages(hiding);
  for (size_t stage = 0; stage < moves.size(); ++stage)
    stages[stage] += moves[stage];
  size_t count = stages.size();
  double sum = std::accumulate(stages.begin(), stages.end(), 0.0), first = stages.front();
  // The last stage is busy from when the first micro-batch reaches it; or the first one is, until the last micro-batch comes back.
  double bySlowLast = sum + stages.back() * static_cast<double>(microBatches - 1);
  double warmUp = static_cast<double>(std::min<int64_t>(count - 1, microBatches - 1)) * first, coolDown = sum - first;
  double bySlowFirst = std::max(warmUp / 3, coolDown / 3) + std::max(2 * warmUp / 3, 2 * coolDown / 3) +
                       first * static_cast<double>(std::max<int64_t>(0, microBatches + 1 - static_cast<int64_t>(count)));
  double exposed = 0, before = 0;
  for (auto [layers, stage] : llvm::zip(layersWithSync, hiding)) {
    before += stage;
    exposed = std::max(exposed, layers - before);
  }
  return std::max(bySlowLast, bySlowFirst) + exposed;
}
