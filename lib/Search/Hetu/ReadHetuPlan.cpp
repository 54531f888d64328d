//===- ReadHetuPlan.cpp ---------------------------------------------------===//

#include "galvatron/Search/Hetu/PlanJson.h"

#include "galvatron/Plan/Nearest.h"
#include "galvatron/Support/JsonFile.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Path.h"

#include <algorithm>

using namespace llvm;
using namespace galvatron;
using namespace galvatron::hetu;

static constexpr StringRef knownKeys[] = {"pp_deg",     "pp_division",     "pipeline_type", "chunks", "global_bsz", "tp_sizes_enc", "tp_consecutive_flags",
                                          "dp_types_enc", "use_sp",         "checkpoint",    "default_dp_type", "vtp", "vsp",       "embed_sdp",
                                          "vocab_sdp",  "cp_sizes_enc",    "vcp",           "ep_sizes_enc",    "tp_of_ep_sizes_enc", "world_size"};
static constexpr int64_t mostLayers = 1 << 16;

namespace {

/// How ranks share a layer, and what else is said of it.
struct Layer {
  int64_t shared = 1, context = 1, expert = 1, expertTensor = 1;
  bool isSequence = false, isConsecutive = true, isZero3 = false, isCheckpoint = false;
  bool operator==(const Layer &other) const {
    return shared == other.shared && context == other.context && expert == other.expert && expertTensor == other.expertTensor && isSequence == other.isSequence && isConsecutive == other.isConsecutive &&
           isZero3 == other.isZero3 && isCheckpoint == other.isCheckpoint;
  }
};

class Reader {
public:
  Reader(StringRef name, const json::Object &object, Report report, Report warn) : name(name), object(object), report(report), warn(warn) {}
  std::optional<Plan> read(std::optional<int64_t> worldSize);

private:
  void refuse(const Twine &message) {
    report(name + ": " + message);
    ok = false;
  }
  int64_t getInteger(StringRef key, int64_t otherwise, int64_t least, int64_t most);
  std::vector<int64_t> getList(StringRef key, int64_t otherwise, int64_t least, int64_t most);
  StringRef getName(StringRef key, ArrayRef<StringRef> known);
  int64_t getWorldSize(std::optional<int64_t> given);
  void readLayers();
  bool makeMesh(int64_t ranks);
  Strategy toStrategy(const Layer &layer) const;
  /// The axes whose place is from `begin` ranks on, counted from the innermost, to `end`.
  PlanAxes axesBetween(int64_t begin, int64_t end) const;

  StringRef name; ///< a file's has quotes around it
  const json::Object &object;
  Report report, warn;
  bool ok = true;
  std::vector<Layer> layers;
  Layer ends;
  bool isDefaultReplicated = false;
  int64_t inStage = 1; ///< ranks
  Plan plan;
};

int64_t Reader::getInteger(StringRef key, int64_t otherwise, int64_t least, int64_t most) {
  const json::Value *value = object.get(key);
  if (!value && otherwise >= least)
    return otherwise;
  std::optional<int64_t> number = value ? value->getAsInteger() : std::nullopt;
  if (!value)
    refuse("\"" + key + "\" is missing");
  else if (!number || *number < least || *number > most)
    refuse("\"" + key + "\": wanted a whole number from " + Twine(least) + " to " + Twine(most));
  return number.value_or(least);
}

/// A number for each layer, or for each stage.
std::vector<int64_t> Reader::getList(StringRef key, int64_t otherwise, int64_t least, int64_t most) {
  const json::Value *value = object.get(key);
  std::vector<int64_t> numbers;
  if (!value) {
    numbers.assign(layers.size(), otherwise);
    return numbers;
  }
  std::optional<StringRef> text = value->getAsString();
  SmallVector<StringRef> fields;
  if (text)
    text->split(fields, ',');
  for (StringRef field : fields) {
    int64_t number;
    if (field.trim().getAsInteger(10, number) || number < least || number > most) {
      numbers.clear();
      break;
    }
    numbers.push_back(number);
  }
  if (numbers.empty() || int64_t(numbers.size()) > mostLayers) {
    refuse("\"" + key + "\": wanted numbers from " + Twine(least) + " to " + Twine(most) + " with commas between, as a string");
    numbers.assign(layers.size(), least);
  }
  return numbers;
}

StringRef Reader::getName(StringRef key, ArrayRef<StringRef> known) {
  const json::Value *value = object.get(key);
  if (!value)
    return known.front();
  StringRef text = value->getAsString().value_or("");
  if (is_contained(known, text))
    return text;
  refuse("\"" + key + "\": wanted " + listQuoted(known, " or "));
  return known.front();
}

/// "galvatron_config_llama-7b_2nodes_8gpus_per_node_40GB_bf16.json" is of 16 ranks.
int64_t Reader::getWorldSize(std::optional<int64_t> given) {
  if (object.get("world_size")) {
    int64_t said = getInteger("world_size", 0, 1, maxRanks);
    if (ok && given && *given != said)
      refuse("\"world_size\" is " + Twine(said) + "; wanted a plan for " + Twine(*given) + " ranks");
    return said;
  }
  StringRef file = sys::path::filename(name);
  auto numberBefore = [&](StringRef what) {
    StringRef before = file.take_front(file.contains(what) ? file.find(what) : 0);
    int64_t number = 0;
    before.take_back(before.size() - before.rtrim("0123456789").size()).getAsInteger(10, number);
    return number;
  };
  int64_t nodes = numberBefore("nodes_"), each = numberBefore("gpus_per_node");
  bool isNamed = nodes >= 1 && each >= 1 && nodes <= maxRanks && each <= maxRanks && nodes * each <= maxRanks;
  if (isNamed && given && nodes * each != *given)
    warn(name + ": by its name a plan for " + Twine(nodes * each) + " ranks; it is taken for one of " + Twine(*given));
  if (isNamed || given)
    return given.value_or(nodes * each);
  refuse("\"world_size\" is missing, and its name does not say for how many ranks it is");
  return 1;
}

void Reader::readLayers() {
  std::vector<int64_t> shared = getList("tp_sizes_enc", 0, 1, maxRanks);
  if (!object.get("tp_sizes_enc"))
    refuse("\"tp_sizes_enc\" is missing");
  layers.resize(shared.size());
  auto each = [&](StringRef key, int64_t otherwise, int64_t least, int64_t most, function_ref<void(Layer &, int64_t)> set) {
    std::vector<int64_t> numbers = getList(key, otherwise, least, most);
    if (numbers.size() != layers.size())
      return refuse("\"" + key + "\" is of " + Twine(numbers.size()) + " layers, \"tp_sizes_enc\" of " + Twine(layers.size()));
    for (auto [layer, number] : zip_equal(layers, numbers))
      set(layer, number);
  };
  each("tp_sizes_enc", 1, 1, maxRanks, [](Layer &layer, int64_t value) { layer.shared = value; });
  each("tp_consecutive_flags", 1, 0, 1, [](Layer &layer, int64_t value) { layer.isConsecutive = value; });
  each("dp_types_enc", 0, 0, 1, [](Layer &layer, int64_t value) { layer.isZero3 = value; });
  each("use_sp", 0, 0, 1, [](Layer &layer, int64_t value) { layer.isSequence = value; });
  each("checkpoint", 0, 0, 1, [](Layer &layer, int64_t value) { layer.isCheckpoint = value; });
  each("cp_sizes_enc", 1, 1, maxRanks, [](Layer &layer, int64_t value) { layer.context = value; });
  each("ep_sizes_enc", 1, 1, maxRanks, [](Layer &layer, int64_t value) { layer.expert = value; });
  each("tp_of_ep_sizes_enc", 1, 1, maxRanks, [](Layer &layer, int64_t value) { layer.expertTensor = value; });
  ends.shared = getInteger("vtp", 1, 1, maxRanks);
  ends.isSequence = getInteger("vsp", 0, 0, 1);
  ends.context = getInteger("vcp", 1, 1, maxRanks);
  // Ranks that share nothing are not far apart either.
  for (Layer &layer : layers)
    layer.isConsecutive |= layer.shared == 1;
  // Its search writes one of them, its training reads the other.
  ends.isZero3 = getInteger("embed_sdp", 0, 0, 1) | getInteger("vocab_sdp", 0, 0, 1);
}

/// Axes so small that each strategy's degrees are products of neighbouring ones.
bool Reader::makeMesh(int64_t ranks) {
  if (ranks % plan.stages.count) {
    refuse(Twine(ranks) + " ranks are no multiple of \"pp_deg\", " + Twine(plan.stages.count));
    return false;
  }
  inStage = ranks / plan.stages.count;
  std::vector<int64_t> bounds{1, inStage}; // ranks that stand side by side within a place of an axis
  std::vector<Layer> all = layers;
  all.push_back(ends);
  for (auto [index, layer] : enumerate(all)) {
    int64_t both = layer.shared * layer.context;
    if (inStage % (layer.expert * layer.expertTensor)) {
      refuse("layer " + Twine(index) + ": experts over " + Twine(layer.expert) + " ranks, each over " + Twine(layer.expertTensor) + ", do not divide the " + Twine(inStage) +
             " ranks of a stage");
      return false;
    }
    bounds.insert(bounds.end(), {layer.expertTensor, inStage / layer.expert});
    if (inStage % both) {
      refuse((index < layers.size() ? "layer " + Twine(index) : Twine("embedding and head")) + ": degrees " + Twine(layer.shared) + " and " + Twine(layer.context) +
             " do not divide the " + Twine(inStage) + " ranks of a stage");
      return false;
    }
    bounds.insert(bounds.end(), {layer.isConsecutive ? layer.shared : inStage / layer.shared, layer.isConsecutive ? both : inStage / both});
  }
  llvm::sort(bounds);
  bounds.erase(std::unique(bounds.begin(), bounds.end()), bounds.end());
  std::vector<int64_t> sizes; // the innermost first
  for (size_t i = 1; i < bounds.size(); ++i) {
    if (bounds[i] % bounds[i - 1]) {
      refuse("degrees " + Twine(bounds[i - 1]) + " and " + Twine(bounds[i]) + " of different layers do not divide each other: no mesh has axes for both");
      return false;
    }
    int64_t rest = bounds[i] / bounds[i - 1];
    for (int64_t prime = 2; rest > 1; ++prime)
      for (; rest % prime == 0; rest /= prime)
        sizes.push_back(prime);
  }
  int64_t rest = plan.stages.count;
  for (int64_t prime = 2; rest > 1; ++prime)
    for (; rest % prime == 0; rest /= prime)
      sizes.push_back(prime);
  plan.mesh.assign(sizes.rbegin(), sizes.rend());
  return true;
}

PlanAxes Reader::axesBetween(int64_t begin, int64_t end) const {
  PlanAxes axes;
  int64_t place = 1;
  for (size_t axis = plan.mesh.size(); axis-- > 0; place *= plan.mesh[axis])
    if (place >= begin && place < end)
      axes.insert(axes.begin(), static_cast<unsigned>(axis));
  return axes;
}

Strategy Reader::toStrategy(const Layer &layer) const {
  Strategy strategy;
  // Outermost first: rows, context, what shares the layer; the last outermost where its ranks are far apart.
  int64_t both = layer.shared * layer.context, outside = inStage / layer.shared;
  (layer.isSequence ? strategy.sequence : strategy.tensor) = layer.isConsecutive ? axesBetween(1, layer.shared) : axesBetween(outside, inStage);
  strategy.context = layer.isConsecutive ? axesBetween(layer.shared, both) : axesBetween(inStage / both, outside);
  strategy.data = layer.isConsecutive ? axesBetween(both, inStage) : axesBetween(1, inStage / both);
  strategy.expert = axesBetween(inStage / layer.expert, inStage);
  strategy.expertTensor = axesBetween(1, layer.expertTensor);
  // The default is of ranks that split rows: others that have the same weights keep all of their state.
  bool hasReplicas = inStage / (layer.isSequence ? 1 : layer.shared) > 1, splitsRows = inStage > layer.shared * layer.context;
  strategy.zero = !hasReplicas ? 0 : layer.isZero3 ? 3 : isDefaultReplicated || !splitsRows ? 0 : 2;
  strategy.recompute = layer.isCheckpoint ? Recompute::Block : Recompute::None;
  return strategy;
}

std::optional<Plan> Reader::read(std::optional<int64_t> worldSize) {
  for (const auto &entry : object)
    if (StringRef key = entry.first; !is_contained(knownKeys, key))
      refuse("key \"" + key.take_front(64) + "\" is not known" + suggestNearest(key, knownKeys));
  plan.stages.count = getInteger("pp_deg", 0, 1, maxRanks);
  plan.globalBatch = getInteger("global_bsz", 0, 1, int64_t(1) << 40);
  plan.microBatches = getInteger("chunks", 0, 1, int64_t(1) << 40);
  plan.schedule = getName("pipeline_type", {"gpipe", "pipedream_flush"}) == "gpipe" && object.get("pipeline_type") ? PlanSchedule::GPipe : PlanSchedule::OneFOneB;
  StringRef dataType = getName("default_dp_type", {"ddp", "zero2", "zero3"});
  isDefaultReplicated = dataType == "ddp";
  readLayers();
  if (dataType == "zero3") {
    ends.isZero3 = true;
    for (Layer &layer : layers)
      layer.isZero3 = true;
  }
  int64_t ranks = getWorldSize(worldSize);
  if (!ok || !makeMesh(ranks))
    return std::nullopt;
  // Equal ones, and what is left over on the last stage, where the file does not say.
  int64_t count = static_cast<int64_t>(layers.size());
  if (plan.stages.count > count) {
    refuse("\"pp_deg\": " + Twine(plan.stages.count) + " stages of " + Twine(count) + " layers");
    return std::nullopt;
  }
  std::vector<int64_t> division(static_cast<size_t>(plan.stages.count), count / plan.stages.count);
  division.back() += count % plan.stages.count;
  if (object.get("pp_division"))
    division = getList("pp_division", 0, 1, mostLayers);
  int64_t first = 0;
  for (int64_t size : division) {
    if (plan.stages.count > 1)
      plan.stages.firstBlocks.push_back(first);
    first += size;
  }
  if (ok && (first != count || int64_t(division.size()) != plan.stages.count))
    refuse("\"pp_division\" has " + Twine(first) + " layers on " + Twine(division.size()) + " stages, wanted " + Twine(count) + " on " + Twine(plan.stages.count));
  if (!ok)
    return std::nullopt;
  plan.embedding = plan.head = toStrategy(ends);
  for (auto [index, layer] : enumerate(layers)) {
    if (index == 0 || !(layer == layers[index - 1]))
      plan.blocks.push_back({0, toStrategy(layer)});
    ++plan.blocks.back().count;
  }
  if (plan.blocks.size() > 1)
    for (size_t i = plan.blocks.size() - 1; i-- > 0;)
      if (plan.blocks[i].strategy == plan.blocks[i + 1].strategy) {
        plan.blocks[i].count += plan.blocks[i + 1].count;
        plan.blocks.erase(plan.blocks.begin() + static_cast<std::ptrdiff_t>(i) + 1);
      }
  if (*plan.globalBatch % *plan.microBatches)
    warn(name + ": \"chunks\": " + Twine(*plan.microBatches) + " micro-batches of " + Twine(*plan.globalBatch) + " samples are not equal; no schedule here runs such");
  if (!checkPlan(plan, [&](const Twine &message) { refuse(message); }))
    return std::nullopt;
  return std::move(plan);
}

} // namespace

std::optional<Plan> hetu::parseHetuPlan(const json::Object &object, StringRef name, std::optional<int64_t> worldSize, Report report, Report warn) {
  return Reader(name, object, report, warn).read(worldSize);
}

std::optional<Plan> hetu::readHetuPlan(StringRef path, std::optional<int64_t> worldSize, Report report, Report warn) {
  std::optional<json::Value> value = readJsonFile(path, "plan", report);
  if (!value)
    return std::nullopt;
  const json::Object *object = value->getAsObject();
  if (object && object->get("version") && !object->get("pp_deg")) {
    report("'" + path + "': no plan of Hetu-Galvatron, but one of galvatron-compile's, by its \"version\"");
    return std::nullopt;
  }
  if (object)
    return parseHetuPlan(*object, ("'" + path + "'").str(), worldSize, report, warn);
  report("'" + path + "': wanted an object, {...}");
  return std::nullopt;
}
